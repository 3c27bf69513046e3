"""What training sessions that are cut bring to small shops, into RESULTS.md.

    python -m bench halves ../shared/data

On each log the validation lane is built with the halves; then everything that comes of them is
built anew as if no target lacked labels. Seeds are those on which choices are made, never those
whose scores are quoted.
"""

from pathlib import Path
from unittest.mock import patch

import polars as pl

from bench.beside import built_steps, lane_settings
from bench.candidates import TARGETS, shown
from bench.command import run
from bench.generate import OTTO, scratch
from bench.matrices import table
from bench.results import write_section
from bench.shortlist import together
from bench.stage import STEPS, rebuild
from otto_pipeline.evaluation.bootstrap import gains, intervals
from otto_pipeline.events import halves
from otto_pipeline.metrics import hits_by_session, recalls, scores
from otto_pipeline.schemas import TYPES
from otto_pipeline.settings import Settings
from otto_pipeline.store.dataset import Dataset

JD = "jd_hup_appliances"
VALIDATION_DAYS = ("7", "2")
"""Windows of the real log: the whole, and a smaller shop."""
SESSIONS = "3000"
"""Sessions of the generated log."""
HEAD = ["log", "", *TARGETS, "95 % of total"]
SEEDS = range(11, 16)
"""Cut seeds; a session's hits and labels are summed over them."""
LEARNT = (
    "validation/training",
    "validation/fold_rankers/",
    "validation/fold_scores/",
    "validation/blend",
    "validation/predictions",
)
OF_HALVES = tuple(
    name for name in STEPS if name.startswith(("validation/cut_sessions", "half_", *LEARNT))
)


def hits(settings: Settings) -> pl.DataFrame:
    """What the pipeline hits, by session and type."""
    lane = settings.store_dir / "full/validation"
    return hits_by_session(Dataset(lane / "labels").read(), Dataset(lane / "predictions").read())


def with_and_without(settings: Settings) -> tuple[pl.DataFrame, pl.DataFrame, int]:
    """Hits with halves and without, and how many sessions are cut."""
    for _step in built_steps(settings):
        continue
    cut = Dataset(settings.store_dir / "full/validation/cut_sessions").manifest.rows
    with_halves = hits(settings)
    with patch.object(halves, "lacking_sessions", lambda _labelled: dict.fromkeys(TYPES, 0)):
        for name in OF_HALVES:
            rebuild(STEPS[name], "full", settings)
    return with_halves, hits(settings), cut


def measure(title: str, log: Path, days: str, folder: Path) -> list[list[str]]:
    """Rows of the table, of one log."""
    found = []
    for seed in SEEDS:
        found.append(with_and_without(lane_settings(log, seed, days, folder / str(seed))))
    one, other = (together(rows[number] for rows in found) for number in (0, 1))
    cut = sum(rows[2] for rows in found) / len(found)
    return [
        _line(f"{title}, {days} days", f"with halves ({cut:.0f} sessions cut)", one),
        _line("", "without", other),
        _line("", "difference", gains(one, other)),
    ]


def _line(log: str, system: str, by_session: pl.DataFrame) -> list[str]:
    recall = scores(recalls(by_session))
    low, high = intervals(by_session, seed=0)["total"]
    return [log, system, *(shown(recall[name]) for name in TARGETS), f"{low:.4f}–{high:.4f}"]


def main(data: str) -> None:
    """`data` is the folder of the real logs."""
    jd = Path(data) / JD / f"{JD}.jsonl.gz"
    with scratch() as name:
        folder = Path(name)
        generated = folder / "log"
        size = ("--sessions", SESSIONS, "--test-sessions", "0")
        run(OTTO, "generate", *size, "--out", str(generated))
        lines = measure(f"{SESSIONS} generated sessions", generated, "7", folder / "generated")
        for days in VALIDATION_DAYS:
            lines += measure(JD, jd, days, folder / f"jd{days}")
    text = (
        "Recall@20, out-of-fold, cut seeds 11–15 pooled: a session's hits and labels are summed "
        "over the seeds. 95 % intervals by resampling sessions; that of the difference is paired."
    )
    write_section("Halves", f"python -m bench halves {data}", f"{text}\n\n{table(HEAD, lines)}")
