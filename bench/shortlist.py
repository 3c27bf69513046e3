"""How many candidates of a session go on to the rankers, into RESULTS.md.

    python -m bench shortlist ../shared/data

For each OTTO_MAX_CANDIDATES everything from the candidates on is built anew, the rankers included.
Seeds are those on which choices are made, never those whose scores are quoted.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from bench.candidates import shown
from bench.command import run
from bench.generate import OTTO, scratch
from bench.matrices import table
from bench.results import write_section
from bench.stage import STEPS, manifests_of, rebuild
from otto_pipeline.evaluation.bootstrap import gains, intervals
from otto_pipeline.evaluation.recall import IN_CANDIDATES, PIPELINE, hits_by_system
from otto_pipeline.metrics import count_hits, recalls, scores
from otto_pipeline.orchestration.building import inputs_of
from otto_pipeline.settings import load_settings

SIZES = (40, 60, 80, 100, 150, 200)
SESSIONS = "130000"
"""Sessions of the generated log."""
SEEDS, GENERATED_SEEDS = (11, 12, 13, 14, 15), (11, 12)
"""Cut seeds; a session's hits and labels are summed over them."""
LAST = "validation/predictions"
NOT_READ = ("submission/", "validation/rankers/")
LEARNING = ("features", "training_rows", "fold_rankers", "fold_scores", "blend")
"""What is timed: the artifacts of the validation lane that begin so."""


@dataclass(frozen=True)
class Point:
    """What came of one length of the shortlist on one cut seed.

    Of the labels the rows of `metrics.hits_by_session` that the pipeline hits, that the shortlist
    holds, and that the pipeline hits with the longest list and this one holds; and CPU seconds.
    """

    pipeline: pl.DataFrame
    shortlist: pl.DataFrame
    of_longest: pl.DataFrame
    seconds: float


def measured(log: Path, seed: int) -> dict[int, Point]:
    """The points of a log and cut seed, by length."""
    points = {}
    with scratch() as store:
        for size in reversed(SIZES):
            seconds = build(log, Path(store), seed, size)
            inputs = inputs_of(STEPS["validation/scores"][0], Path(store) / "full")
            labels = inputs["labels"].read()
            hits = dict(hits_by_system(inputs, labels))
            if size == SIZES[-1]:
                top = hits[PIPELINE]
            kept = top.join(hits[IN_CANDIDATES], on=["session", "type", "aid"], how="semi")
            found = (hits[PIPELINE], hits[IN_CANDIDATES], kept)
            points[size] = Point(*(count_hits(labels, rows) for rows in found), seconds)
    return points


def build(log: Path, store: Path, seed: int, size: int) -> float:
    """Build the validation lane up to its predictions; the CPU seconds of `LEARNING`."""
    settings = load_settings(
        {
            "OTTO_DATA_DIR": str(log),
            "OTTO_STORE_DIR": str(store),
            "OTTO_SEED": str(seed),
            "OTTO_MAX_CANDIDATES": str(size),
        }
    )
    seconds = 0.0
    for name, artifacts in STEPS.items():
        if name.startswith(NOT_READ):
            continue
        if name.startswith(tuple(f"validation/{one}" for one in LEARNING)):
            seconds += rebuild(artifacts, "full", settings).cpu_seconds
        else:
            manifests_of(artifacts, "full", settings)
        if name == LAST:
            break
    return seconds


def rows(by_seed: list[dict[int, Point]]) -> Iterator[list[str]]:
    """Lines of the table; differences are to the longest list."""
    longest = together(points[SIZES[-1]].pipeline for points in by_seed)
    best = scores(recalls(longest))["total"]
    for size in SIZES:
        points = [one[size] for one in by_seed]
        hits = together(point.pipeline for point in points)
        kept = together(point.of_longest for point in points)
        yield [
            str(size),
            shown(scores(recalls(together(point.shortlist for point in points)))["total"]),
            *(shown(value) for value in scores(recalls(hits)).values()),
            *changes(hits, longest, best),
            changes(kept, longest, best)[0],
            f"{sum(point.seconds for point in points) / len(points):.0f}",
        ]


def changes(hits: pl.DataFrame, longest: pl.DataFrame, best: float) -> tuple[str, str]:
    """The total's difference to that of the longest list, as a share of it, and its interval."""
    change = gains(hits, longest)
    low, high = intervals(change, seed=0)["total"]
    return (
        f"{scores(recalls(change))['total'] / best:+.2%}",
        f"{low / best:+.2%} – {high / best:+.2%}",
    )


def together(counts: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Hits and labels of each session and type, summed over seeds."""
    summed = pl.concat(counts).group_by("session", "type")
    return summed.agg(pl.col("hits").sum(), pl.col("labels").sum())


HEAD = [
    "candidates",
    "recall of the shortlist",
    "clicks",
    "carts",
    "orders",
    "total",
    f"to {SIZES[-1]}",
    "95 %",
    f"rankers of {SIZES[-1]}",
    "CPU s",
]


def main(data: str) -> None:
    """`data` is the folder of the real logs."""
    jd = Path(data) / "jd_hup_appliances/jd_hup_appliances.jsonl.gz"
    made = table(HEAD, [*rows([measured(jd, seed) for seed in SEEDS])])
    text = [
        "Recall of the shortlist (of at most 20 labels a session and type), and recall@20 "
        "of the pipeline, out-of-fold, by `OTTO_MAX_CANDIDATES`. "
        f"“To {SIZES[-1]}”: the relative difference with its 95 % interval, paired by session; the "
        "rankers are fitted anew for each length, and what differs by that alone is in it. "
        f"“Rankers of {SIZES[-1]}”: what at most is lost of what they hit when items beyond the "
        "length are taken out of their top 20 and nothing takes their places. CPU seconds of "
        "features and training, of one cut seed.",
        f"### Shortlist on jd_hup_appliances, cut seeds 11–15 pooled\n\n{made}",
    ]
    with scratch() as folder:
        log = Path(folder) / "log"
        size = ("--sessions", SESSIONS, "--test-sessions", "0")
        run(OTTO, "generate", *size, "--out", str(log))
        made = table(HEAD, [*rows([measured(log, seed) for seed in GENERATED_SEEDS])])
        text.append(f"### Shortlist on {int(SESSIONS):,} generated sessions\n\n{made}")
    write_section("Shortlist", f"python -m bench shortlist {data}", "\n\n".join(text))
