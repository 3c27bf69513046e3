"""What malformed lines cost, and what `otto validate` takes, on a log of 1 GB, into RESULTS.md.

    python -m bench bad_lines

A clean log and the same with one malformed line in 10,000 are ingested in turns.
"""

import statistics
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

from bench.command import run
from bench.generate import OTTO, scratch
from bench.harness import costs
from bench.results import write_section
from bench.stage import STEPS, Cost
from otto_pipeline.events.generate import default_items, generate_log
from otto_pipeline.settings import load_settings
from otto_pipeline.store.dataset import Dataset

SESSIONS = 1_090_000
EVERY = 10_000
TURNS = 3
INGEST = [step for step in STEPS if step.startswith("log/")]

DAMAGES: tuple[Callable[[bytes], bytes], ...] = (
    lambda line: line[: len(line) // 2] + b"\n",
    lambda line: line.replace(b'"clicks"', b'"views"', 1),
    lambda line: line.replace(b'"ts":', b'"ts":-', 1),
    lambda line: line.replace(b'"aid"', b'"item"', 1),
)


def spoil(log: Path, spoilt: Path) -> list[int]:
    """Write a log with every 10,000th line damaged; the numbers of those lines."""
    numbers = []
    damages = cycle(DAMAGES)
    with log.open("rb") as lines, spoilt.open("wb") as out:
        for number, line in enumerate(lines, 1):
            is_bad = number % EVERY == 0
            out.write(next(damages)(line) if is_bad else line)
            if is_bad:
                numbers.append(number)
    return numbers


def ingest(log: Path) -> dict[str, Cost]:
    """Cost of each step from the raw log to its statistics."""
    environment = {"OTTO_DATA_DIR": str(log), "OTTO_STORE_DIR": str(log / "store")}
    return dict(costs(INGEST, "full", environment))


def validate(log: Path) -> str:
    """What looking at a log took."""
    return str(run(OTTO, "validate", str(log), OTTO_STORE_DIR=str(log / "store")))


def set_aside(log: Path) -> list[int]:
    """Numbers of the lines in quarantine."""
    return Dataset(log / "store/full/log/quarantine").read("line")["line"].to_list()


def main() -> None:
    with scratch() as name:
        clean, bad = Path(name) / "clean", Path(name) / "bad"
        clean.mkdir()
        bad.mkdir()
        generate_log(
            clean,
            sessions=SESSIONS,
            test_sessions=0,
            items=default_items(SESSIONS),
            seed=42,
            threads=load_settings().threads,
        )
        spoilt = spoil(clean / "train.jsonl", bad / "train.jsonl")
        size = (clean / "train.jsonl").stat().st_size / 1e6
        ingest(clean)  # so that the first turn is none with kernels to compile
        turns = [(ingest(clean), ingest(bad)) for _ in range(TURNS)]
        looked = f"`otto validate`: clean {validate(clean)}; with bad lines {validate(bad)}."
        found = set_aside(bad)
    missed = f"{len(found):,} of {len(spoilt):,} bad lines are in quarantine by their number"
    assert found == spoilt, missed
    text = [
        f"{size:,.0f} MB, {SESSIONS:,} sessions; one line in {EVERY:,} cut off, with an unknown "
        f"type, a negative time or a missing field. Medians of {TURNS} turns. {missed}.",
        "",
        "| step | clean: wall s | CPU s | with bad lines: wall s | CPU s | more: wall | CPU |",
        "|---|---|---|---|---|---|---|",
        *(_row(path, [path], turns) for path in INGEST),
        _row("all", INGEST, turns),
        "",
        looked,
    ]
    write_section("Bad lines", "python -m bench bad_lines", "\n".join(text))


def _row(title: str, steps: list[str], turns: list[tuple[dict[str, Cost], ...]]) -> str:
    clean, bad = (
        [
            statistics.median(sum(getattr(found[step], name) for step in steps) for found in log)
            for name in ("seconds", "cpu_seconds")
        ]
        for log in zip(*turns, strict=True)
    )
    more = [f"{b / c - 1:+.0%}" for c, b in zip(clean, bad, strict=True)]
    shown = [f"{seconds:.2f}" for seconds in (*clean, *bad)]
    return f"| {title} | {' | '.join([*shown, *more])} |"
