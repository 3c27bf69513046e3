"""The merged list of candidates beside the seed's two ways of making one, into RESULTS.md.

    python -m bench candidates ../shared/data

On each log all sources propose once, without a cut; then the lists are made from their ranks, for
the same sessions: the shipped order (out-of-fold), the seed's priority merge of the same sources,
and history with the seed's three matrices alone.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from bench.matrices import GENERATED, SEED, built_lane, ensure_generated, table
from bench.real_logs import SEEDS, VALIDATION_DAYS
from bench.results import write_section
from bench.stage import STEPS
from otto_pipeline.evaluation.bootstrap import gains, intervals
from otto_pipeline.evaluation.found_labels import sampled_labels
from otto_pipeline.events.hashing import draw
from otto_pipeline.folds import row_folds
from otto_pipeline.metrics import count_hits, recalls, scores
from otto_pipeline.orchestration.building import inputs_of
from otto_pipeline.retrieval.candidates import candidates, query_sessions
from otto_pipeline.retrieval.embeddings import EMBEDDINGS
from otto_pipeline.retrieval.matrices import MATRICES
from otto_pipeline.retrieval.pre_ranker import open_pre_rankers
from otto_pipeline.retrieval.sources import (
    HISTORY,
    POPULARITY,
    RANK_OFFSET,
    SECOND_HOP,
    SESSION_KNN,
    SOURCE_LIMIT,
)
from otto_pipeline.retrieval.union import LARGEST_UNION, open_sources
from otto_pipeline.schemas import TYPES
from otto_pipeline.settings import Settings, load_settings
from otto_pipeline.store.stage import Inputs

PRIORITY = (
    HISTORY,
    *(matrix.name for matrix in MATRICES),
    SECOND_HOP,
    *(embedding.name for embedding in EMBEDDINGS),
    SESSION_KNN,
    POPULARITY,
)
"""One source after the other, each with its items that are not yet in the list."""
SEED_SOURCES = (HISTORY, *SEED)
LABEL = ("session", "type", "aid")
SESSIONS_AT_ONCE = 1_000
TARGETS = (*TYPES, "total")
BARRED = ("jd_hup_appliances", "generated")
"""Logs on which the merged list has to win; on the others it must not clearly lose."""
AIM = 1.05
"""Recall@200 over that of the seed's sources."""


def found_labels(log: Path, seed: int, days: str) -> pl.DataFrame:
    """Labels of at most 20,000 query sessions of a log, with the place of each in each list."""
    with built_lane(log, seed, days) as lane:
        settings = load_settings({"OTTO_SEED": str(seed)})
        inputs = inputs_of(STEPS["validation/found_labels"][0], lane.parent)
        inputs |= inputs_of(STEPS["validation/candidates"][0], lane.parent)
        labels = sampled_labels(inputs, settings).select(LABEL)
        found = [
            labels.join(places(union), on=["session", "aid"])
            for union in unions(inputs, labels, settings)
        ]
        return labels.join(pl.concat(found), on=LABEL, how="left")


def unions(inputs: Inputs, labels: pl.DataFrame, settings: Settings) -> Iterator[pl.DataFrame]:
    """The uncut candidates of the sessions of these labels, in the shipped order, in parts."""
    sources, pre_rankers = open_sources(inputs, settings), open_pre_rankers(inputs["pre_rankers"])
    sessions = query_sessions(inputs["sessions"], "hash").join(labels, "session", how="semi")
    for part in sessions.iter_slices(SESSIONS_AT_ONCE):
        draws = draw(part["hash"], settings.seed, "folds").to_numpy()
        folds = row_folds(draws, max(1, len(pre_rankers.leaf)))
        queries = part["session"].to_numpy()
        yield candidates(sources, queries, LARGEST_UNION, settings.threads, pre_rankers, folds)[0]


def places(union: pl.DataFrame) -> pl.DataFrame:
    """Place from 1 of each item of whole unions, best first, in each list; null: not in it."""
    lists = {
        "merged": pl.int_range(pl.len()),
        "priority": by_priority(PRIORITY),
        "seed by priority": by_priority(SEED_SOURCES),
        "seed by reciprocal ranks": by_reciprocal_ranks(SEED_SOURCES),
    }
    return union.select(
        "session",
        "aid",
        *(order.rank("ordinal").over("session").alias(name) for name, order in lists.items()),
    )


def by_priority(sources: Sequence[str]) -> pl.Expr:
    """Order of the seed's merge: by the first source that proposes an item, then its rank there."""
    return pl.min_horizontal(
        pl.lit(number * (SOURCE_LIMIT + 1), pl.Int32) + pl.col(f"{source}_rank")
        for number, source in enumerate(sources)
    )


def by_reciprocal_ranks(sources: Sequence[str]) -> pl.Expr:
    """Order of the list that needs no labels: history first, then by the sum of 1 / (10 + rank)."""
    ranks = [pl.col(f"{source}_rank") for source in sources]
    total = pl.sum_horizontal((1 / (RANK_OFFSET + rank)).fill_null(0) for rank in ranks)
    score = total + pl.col(f"{HISTORY}_rank").is_not_null()
    return pl.when(score > 0).then(-score)


def hits(found: list[pl.DataFrame], name: str, at: int) -> pl.DataFrame:
    """Hits and labels of each session and type in the first places of a list, over all seeds."""
    counts = [count_hits(labels, labels.filter(pl.col(name) <= at), at) for labels in found]
    summed = pl.concat(counts).group_by("session", "type")
    return summed.agg(pl.col("hits").sum(), pl.col("labels").sum())


def compared(log: str, found: list[pl.DataFrame], other: str, at: int) -> Iterator[str]:
    """Recall of the merged list and of another, what is gained, and whether that is enough."""
    ours, theirs = hits(found, "merged", at), hits(found, other, at)
    gain = scores(recalls(gains(ours, theirs)))
    bounds = intervals(gains(ours, theirs), seed=0)
    of_ours, of_theirs = scores(recalls(ours)), scores(recalls(theirs))
    rows = [
        ["merged", *(shown(of_ours[name]) for name in TARGETS)],
        [other, *(shown(of_theirs[name]) for name in TARGETS)],
        ["difference", *(shown(gain[name], "+") for name in TARGETS)],
        [
            "95 %",
            *(
                " – ".join(shown(end, "+") for end in bounds[name] if end is not None)
                for name in TARGETS
            ),
        ],
    ]
    yield table([f"recall@{at}", *TARGETS], rows)
    yield verdict(log, of_ours["total"], of_theirs["total"], bounds["total"][1], at)


def verdict(log: str, ours: float, theirs: float, high: float, at: int) -> str:
    """Whether the merged list reaches its bar."""
    ratio = f"{ours / theirs:.4f} times the other"
    if log not in BARRED:
        clearly = "wholly below zero: **missed**" if high < 0 else "not wholly below zero: met"
        return f"{ratio}; the interval of the difference is {clearly}."
    least = theirs * (AIM if at > 100 else 1)
    if ours >= least:
        return f"{ratio}; at least {least:.4f} is asked for: met."
    return f"{ratio}; at least {least:.4f} is asked for: **missed** by {least - ours:.4f}."


def shown(value: float | None, sign: str = "") -> str:
    return "–" if value is None else f"{value:{sign}.4f}"


def of_log(log: str, found: list[pl.DataFrame]) -> str:
    """The text on one log."""
    seed_lists = ("seed by priority", "seed by reciprocal ranks")
    better = max(seed_lists, key=lambda name: scores(recalls(hits(found, name, 200)))["total"])
    sessions = sum(labels["session"].n_unique() for labels in found)
    return "\n\n".join(
        [
            f"{sessions:,} sessions with labels; one counts once for each seed.",
            *compared(log, found, "priority", 100),
            *compared(log, found, better, 200),
        ]
    )


def main(data: str) -> None:
    """`data` is the folder of the real logs."""
    ensure_generated()
    text = [
        "The merged list in the shipped order (out-of-fold where a pre-ranker is learnt) beside "
        "the seed's priority merge of the same sources (recall@100), and beside history with the "
        "seed's three matrices alone (recall@200; the better of their priority merge and of their "
        "list by reciprocal ranks). Differences with 95 % intervals, paired by session.",
        "### Real logs: candidates, cut seeds 1–5 pooled",
    ]
    for name, days in VALIDATION_DAYS.items():
        log = Path(data) / name / f"{name}.jsonl.gz"
        found = [found_labels(log, seed, days) for seed in SEEDS]
        text.append(f"#### {name}, validation window {days} days\n\n{of_log(name, found)}")
    text.append(
        "### A generated log: candidates, 1,290,000 sessions\n\n"
        + of_log("generated", [found_labels(GENERATED, 42, "7")])
    )
    write_section("Candidates", f"python -m bench candidates {data}", "\n\n".join(text))
