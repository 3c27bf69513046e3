"""`otto validate`: a log in, findings with remedies and the plan of a rebuild out.

The log is in OTTO's form, or a shop's with its `log.yaml`, which is converted beside the store and
removed again; for CSV and Parquet files without one a declaration is proposed.
"""

import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from otto_pipeline.events.declaration_proposal import propose
from otto_pipeline.events.errors import LogError
from otto_pipeline.events.log_findings import Facts, Finding, SetAside, Status, findings_of
from otto_pipeline.events.log_profile import Profile, profile_log
from otto_pipeline.events.log_windows import Windows, windows_of
from otto_pipeline.events.raw import SUFFIXES, find_log_files, is_shop_log
from otto_pipeline.events.rebuild_plan import Plan, plan_rebuild
from otto_pipeline.events.shop_declaration import DECLARATION, TABLE_SUFFIXES
from otto_pipeline.events.shop_log import Converted, convert_shop_log
from otto_pipeline.settings import Settings

SHOWN_LINES = 3
UNUSABLE = "mend this first; nothing else was looked at"
MILLISECONDS = "`ts` has to be whole milliseconds since 1970, below the year 2100"
WORST: tuple[Status, ...] = ("FAIL", "WARN", "PASS")


@dataclass(frozen=True)
class Validation:
    """The findings of a log, and, where it can be read, windows and plan."""

    log: Path
    findings: list[Finding]
    windows: Windows | None = None
    plan: Plan | None = None

    @property
    def verdict(self) -> Status:
        """The worst status of all findings."""
        found = {finding.status for finding in self.findings}
        return next(status for status in WORST if status in found)


def validate_log(data: Path, settings: Settings) -> Validation:
    """Look at a log before anything is built from it."""
    proposal = _without_declaration(data)
    if proposal is not None:
        return Validation(data, [proposal])
    if is_declared(data):
        return _validate_shop_log(data, settings)
    other = _only_log_of_another_name(data)
    try:
        profile = profile_log(find_log_files(other or data), settings.seed)
    except LogError as error:
        return Validation(data, [_unreadable("format", error)])
    validation = _validate_profile(data, profile, _malformed_lines(profile), settings)
    if other is None:
        return validation
    return replace(validation, findings=[_name_it(other), *validation.findings])


def is_declared(data: Path) -> bool:
    """Whether a folder declares its log, be it beside another."""
    return (data / DECLARATION).is_file()


def as_json(validation: Validation) -> dict[str, Any]:
    """The validation as JSON values."""
    return {
        "log": str(validation.log),
        "verdict": validation.verdict,
        "findings": [asdict(finding) for finding in validation.findings],
        "windows": asdict(validation.windows) if validation.windows else None,
        "plan": asdict(validation.plan) if validation.plan else None,
    }


def as_text(validation: Validation) -> str:
    """The validation as lines to read."""
    lines = [f"{validation.log}", ""]
    for finding in validation.findings:
        lines.append(f"{finding.status}  {finding.check}: {finding.message}")
        lines += [f"      {line}" for line in _remedy(finding)]
    if validation.plan:
        lines += ["", "A rebuild is expected to take, on this machine:"]
        lines += [
            f"  {step.scale:<6} {step.events:>13,} events  {_duration(step.seconds):>8}  "
            f"{step.memory_gb:6.1f} GB memory  {step.disk_gb:7.2f} GB disk"
            for step in validation.plan.steps
        ]
    return "\n".join([*lines, "", f"verdict: {validation.verdict}"])


def _remedy(finding: Finding) -> list[str]:
    if not finding.remedy:
        return []
    first, *others = finding.remedy.splitlines()
    return [f"→ {first}", *(f"  {line}" for line in others)]


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _without_declaration(data: Path) -> Finding | None:
    """The finding that a declaration is missing, with one to start from."""
    if data.is_file() and data.name.endswith(TABLE_SUFFIXES):
        folder, tables = data.parent, [data]
    elif data.is_dir() and not is_declared(data) and not _has_otto_files(data):
        folder = data
        tables = sorted(path for path in data.iterdir() if path.name.endswith(TABLE_SUFFIXES))
    else:
        return None
    if not tables:
        return None
    try:
        declaration = propose(tables)
    except LogError as error:
        return _unreadable("format", error)
    return Finding(
        "mapping",
        "FAIL",
        f"{', '.join(path.name for path in tables)}: no {DECLARATION} says what the columns mean",
        f"check this proposal, save it as {folder / DECLARATION}, and validate the folder again:\n"
        f"{declaration}",
    )


def _has_otto_files(folder: Path) -> bool:
    try:
        return bool(find_log_files(folder))
    except LogError:
        return False


def _only_log_of_another_name(data: Path) -> Path | None:
    """The log of a folder whose only log is not called train."""
    if not data.is_dir() or _has_otto_files(data):
        return None
    logs = [path for path in data.iterdir() if path.name.endswith(SUFFIXES)]
    return logs[0] if len(logs) == 1 else None


def _name_it(log: Path) -> Finding:
    return Finding(
        "name",
        "WARN",
        f"the folder has no train.jsonl; its only log, {log.name}, was looked at",
        f"set OTTO_DATA_DIR={log}",
    )


def _validate_shop_log(folder: Path, settings: Settings) -> Validation:
    settings.store_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="validate-", dir=settings.store_dir) as scratch:
        try:
            is_shop_log(folder)
            converted = convert_shop_log(folder, Path(scratch), settings)
            profile = profile_log({"train": converted.train}, settings.seed)
        except LogError as error:
            return Validation(folder, [_unreadable("mapping", error)])
        profile.train.path = folder / DECLARATION
        return _validate_profile(folder, profile, _rejected_rows(converted), settings)


def _validate_profile(
    data: Path, profile: Profile, set_aside: SetAside, settings: Settings
) -> Validation:
    plan = plan_rebuild(profile.total("events"), settings)
    windows = windows_of(profile, settings.validation_days, settings.seed)
    facts = Facts(profile, set_aside, windows, plan, settings)
    return Validation(data, findings_of(facts), windows, plan)


def _unreadable(check: str, error: LogError) -> Finding:
    remedy = f"{MILLISECONDS}; {UNUSABLE}" if "].ts`" in str(error) else UNUSABLE
    return Finding(check, "FAIL", str(error), remedy)


def _malformed_lines(profile: Profile) -> SetAside:
    shown = [
        f"{file.path.name}, line {line}: {reason}"
        for file in profile.files
        for line, reason in file.shown
    ]
    return SetAside(
        "lines", profile.total("malformed"), profile.total("lines"), tuple(shown[:SHOWN_LINES])
    )


def _rejected_rows(converted: Converted) -> SetAside:
    first = pl.scan_parquet(converted.rejected).head(SHOWN_LINES).collect()
    shown = [f"{Path(file).name}, line {line}: {reason}" for file, line, reason in first.rows()]
    return SetAside("rows", converted.set_aside, converted.rows, tuple(shown))
