"""Recall@20 on real logs, over several cut seeds, into RESULTS.md.

    python -m bench real_logs ../shared/data

Every log is rebuilt from its JSONL through its validation scores once for each seed. A session's
hits and labels are summed over the seeds; intervals resample sessions.
"""

import json
import tempfile
from pathlib import Path

import polars as pl

from bench.results import write_section
from bench.stage import STEPS, manifests_of
from otto_pipeline.evaluation.bootstrap import intervals
from otto_pipeline.evaluation.official import official_score
from otto_pipeline.evaluation.recall import hits_by_system
from otto_pipeline.evaluation.report import read_report
from otto_pipeline.events.official import official_split
from otto_pipeline.metrics import count_hits, recalls, scores
from otto_pipeline.orchestration.assets import ARTIFACTS
from otto_pipeline.schemas import TYPES
from otto_pipeline.settings import load_settings
from otto_pipeline.store.dataset import Dataset

VALIDATION_DAYS = {
    "otto_official_20": "2",
    "jd_hup_appliances": "7",
    "retailrocket_5k_visitors": "28",
    "rees46_oct01_head": "0.02",
}
SUBMITTED = "jd_hup_appliances"
SEEDS = (1, 2, 3, 4, 5)
SCORES = next(artifact for artifact in ARTIFACTS if artifact.path == "validation/scores")


def rebuild(log: Path, days: str, seed: int, store: Path, submission: bool = False) -> Path:
    """Build all up to the validation report or the submission; return the scale's folder."""
    settings = load_settings(
        {
            "OTTO_DATA_DIR": str(log),
            "OTTO_STORE_DIR": str(store),
            "OTTO_SEED": str(seed),
            "OTTO_VALIDATION_DAYS": days,
        }
    )
    for name, artifacts in STEPS.items():
        if submission or not name.startswith("submission/"):
            manifests_of(artifacts, "full", settings)
    return store / "full"


def by_session(root: Path) -> dict[str, pl.DataFrame]:
    """Hits and labels of each session and type, of each system."""
    inputs = {name: Dataset(root / path) for name, path in SCORES.inputs.items()}
    labels = inputs["labels"].read()
    return {system: count_hits(labels, hits) for system, hits in hits_by_system(inputs, labels)}


def measure(log: Path, days: str) -> tuple[str, dict[str, list[int]]]:
    """Table of one log, and what its reports note, with the seeds that did."""
    counts: dict[str, list[pl.DataFrame]] = {}
    notes: dict[str, list[int]] = {}
    for seed in SEEDS:
        with tempfile.TemporaryDirectory() as store:
            root = rebuild(log, days, seed, Path(store))
            for system, rows in by_session(root).items():
                counts.setdefault(system, []).append(rows)
            report = read_report(Dataset(root / "validation/report"))
            for note in report["notes"]:
                notes.setdefault(note, []).append(seed)
    lines = [
        "| system | clicks | carts | orders | total | 95 % of total |",
        "|---|---|---|---|---|---|",
        *(_line(system, pl.concat(frames)) for system, frames in counts.items()),
    ]
    return "\n".join(lines), notes


def _line(system: str, rows: pl.DataFrame) -> str:
    summed = rows.group_by("session", "type").agg(pl.col("hits").sum(), pl.col("labels").sum())
    recall = scores(recalls(summed))
    low, high = intervals(summed, seed=0)["total"]
    shown = ["–" if recall[name] is None else f"{recall[name]:.4f}" for name in (*TYPES, "total")]
    return f"| {system} | {' | '.join(shown)} | {low:.4f}–{high:.4f} |"


def submit(log: Path, days: str) -> str:
    """Split a log outside, predict the truncated sessions, score the file by the official rules."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        official_split(log, data, days=float(days), seed=42)
        root = rebuild(data, days, 42, Path(folder) / "store", submission=True)
        csv = Dataset(root / "submission/submission").files[0]
        found = official_score(data / "test_labels.jsonl", csv)
        lines = csv.read_text().splitlines()
    shown = "\n".join(line[:90] + ("…" if len(line) > 90 else "") for line in lines[:4])
    return (
        f"`otto split --days {days} --seed 42`, `make run`, `otto score` on {log.name}: "
        f"`{json.dumps(found)}`. {len(lines) - 1:,} lines, of which the first are\n\n"
        f"```\n{shown}\n```"
    )


def _listed(seeds: list[int]) -> str:
    return ", ".join(map(str, seeds))


def main(data: str) -> None:
    """`data` is the folder of the logs, one folder each."""
    text = [
        "Cut seeds 1–5 pooled: a session's hits and labels are summed over the seeds, 95 % "
        "intervals by resampling sessions. Out-of-fold where a type has a ranker. "
        "`candidates: x` is what source x has in the shortlist."
    ]
    for name, days in VALIDATION_DAYS.items():
        table, notes = measure(Path(data) / name / f"{name}.jsonl.gz", days)
        noted = "\n".join(f"- {note} (seeds {_listed(seeds)})" for note, seeds in notes.items())
        text.append(f"### {name}, validation window {days} days\n\n{table}\n\n{noted}".strip())
    text.append("### A log split outside, and its submission")
    text.append(
        submit(Path(data) / SUBMITTED / f"{SUBMITTED}.jsonl.gz", VALIDATION_DAYS[SUBMITTED])
    )
    write_section("Real logs", "python -m bench real_logs ../shared/data", "\n\n".join(text))
