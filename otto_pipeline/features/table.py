"""Candidates, event log, matrices, embeddings, popularity → features, shard by shard: a row per
candidate.

Each family of features is a module with a declared list; this module evaluates the lists and puts
their columns beside each other. Missing values become each feature's sentinel.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from otto_pipeline.events.event_log import EventLog, open_event_log
from otto_pipeline.features.candidate import CANDIDATE_FEATURES
from otto_pipeline.features.feature import Feature
from otto_pipeline.features.item import ITEM_FEATURES
from otto_pipeline.features.moment import MOMENT_FEATURES, Shapes, at_moment, read_shapes
from otto_pipeline.features.session import SESSION_FEATURES
from otto_pipeline.features.session_item import SESSION_ITEM_FEATURES
from otto_pipeline.features.similarity import SIMILARITY_FEATURES, similarities
from otto_pipeline.retrieval.embeddings import EMBEDDINGS
from otto_pipeline.retrieval.neighbours import NeighbourTable, open_neighbours
from otto_pipeline.retrieval.popularity import DAY_SECONDS
from otto_pipeline.retrieval.vectors import read_vectors
from otto_pipeline.schemas import AID, SCORE_OF_LIST, SESSION, TYPES, WINDOWS, Column, Table
from otto_pipeline.settings import Settings
from otto_pipeline.store.dataset import Dataset, Figures
from otto_pipeline.store.stage import Inputs, Stage

FEATURES: tuple[Feature, ...] = (
    *CANDIDATE_FEATURES,
    *SESSION_FEATURES,
    *ITEM_FEATURES,
    *MOMENT_FEATURES,
    *SESSION_ITEM_FEATURES,
    *SIMILARITY_FEATURES,
)
"""All features in the order in which rankers see them."""

OF_CANDIDATES = (*CANDIDATE_FEATURES, *MOMENT_FEATURES, *SIMILARITY_FEATURES)
"""Those whose frames have the candidates' rows."""
FEATURE_NAMES = [feature.name for feature in FEATURES]
LABEL_NAMES = [f"label_{name}" for name in TYPES]

_BESIDE = (SESSION, AID, SCORE_OF_LIST)
_BESIDE_NAMES = [column.name for column in _BESIDE]
_COLUMNS = (*_BESIDE, *(feature.column for feature in FEATURES))
SUBMISSION_FEATURES = Table(
    "One candidate, with what a ranker knows of it.",
    _COLUMNS,
    ("session", "aid"),
    ("session",),
)
VALIDATION_FEATURES = Table(
    "One candidate, with what a ranker knows of it, and what came of it.",
    (
        *_COLUMNS,
        *(Column(f"label_{name}", pl.UInt8, f"Is a label of {name}.", le=1) for name in TYPES),
    ),
    ("session", "aid"),
    ("session",),
)


def features_table() -> str:
    """`FEATURES` as a Markdown table."""
    lines = [
        f"| `{column.name}` | {column.dtype} | {column.description} |"
        for column in (feature.column for feature in FEATURES)
    ]
    return "\n".join(["| feature | type | meaning |", "|---|---|---|", *lines])


def write_features(inputs: Inputs, shard: int, settings: Settings, path: Path) -> Figures:
    """Features of one shard of candidates; in the validation lane the three labels beside them."""
    log = open_event_log(inputs["event_log"])
    candidates = inputs["candidates"].read_shard(shard)
    tables = open_neighbours(inputs["neighbours"])
    vectors = tuple(read_vectors(inputs[one.name], log.n_items) for one in EMBEDDINGS)
    items, shapes = item_features(inputs["popularity"], log), read_shapes(inputs["popularity"])
    frame = features(log, candidates, items, shapes, tables, vectors, settings.threads)
    if "labels" in inputs:
        frame = add_labels(frame, inputs["labels"].scan())
    frame.write_parquet(path, use_pyarrow=False, statistics=False)
    return {"rows": frame.height}


def features(
    log: EventLog,
    candidates: pl.DataFrame,
    items: pl.DataFrame,
    shapes: Shapes,
    tables: tuple[NeighbourTable, ...],
    vectors: tuple[NDArray[np.float32], ...],
    threads: int,
) -> pl.DataFrame:
    """Key columns, the list's score and `FEATURES` of candidates, in their order.

    `tables` and `vectors` are as `similarities` says.
    """
    similar = similarities(log, candidates, tables, vectors, threads)
    beside = [candidates, at_moment(log, candidates, shapes), similar]
    events = visible_events(log, candidates["session"].unique().sort().to_numpy())
    return (
        pl.concat(beside, how="horizontal")
        .lazy()
        .select(*_BESIDE_NAMES, *(f.of_rows() for f in OF_CANDIDATES))
        .join(
            _by(events, ["session"], SESSION_FEATURES),
            on="session",
            how="left",
            maintain_order="left",
        )
        .join(items.lazy(), on="aid", how="left", maintain_order="left")
        .join(
            _by(events, ["session", "aid"], SESSION_ITEM_FEATURES),
            on=["session", "aid"],
            how="left",
            maintain_order="left",
        )
        .select(*_BESIDE_NAMES, *(feature.filled() for feature in FEATURES))
        .collect()
    )


def item_features(popularity: Dataset, log: EventLog) -> pl.DataFrame:
    """`ITEM_FEATURES` of every item."""
    days = min(log.last_second // DAY_SECONDS + 1, WINDOWS["21d"])
    facts = {"days": days, "weeks": days / WINDOWS["week"], "last_second": log.last_second}
    counts = popularity.scan().with_columns(
        pl.col(pl.UInt32).cast(pl.Int64), **{name: pl.lit(value) for name, value in facts.items()}
    )
    return counts.select("aid", *(feature.of_rows() for feature in ITEM_FEATURES)).collect()


def visible_events(log: EventLog, sessions: NDArray[np.int32]) -> pl.LazyFrame:
    """Events of the given sessions in order, with what the families' frames hold."""
    start, stop = log.session_start[sessions], log.session_start[sessions + 1]
    size = stop - start
    events = np.repeat(stop - np.cumsum(size), size) + np.arange(size.sum())
    frame = pl.LazyFrame(
        {
            "session": np.repeat(sessions, size),
            "aid": log.aid[events],
            "second": log.ts[events],
            "type": log.type[events].astype(np.int8),
            "place": np.repeat(stop, size) - events - 1,
            "session_size": np.repeat(size, size),
        }
    )
    last = pl.col("second").max().over("session")
    return frame.with_columns(
        minutes_ago=(last - pl.col("second")) / 60,
        clock=((pl.col("second").cast(pl.Int64) + log.first_ts // 1000) // 3600) % 24,
    )


def add_labels(frame: pl.DataFrame, labels: pl.LazyFrame) -> pl.DataFrame:
    """Three columns u8: whether the candidate is a label of clicks, carts, orders."""
    sessions = frame["session"]
    first, last = (sessions.min(), sessions.max()) if frame.height else (0, -1)
    in_range = labels.filter(pl.col("session").is_between(first, last)).collect()
    for name in TYPES:
        of_type = in_range.filter(pl.col("type") == name).select(
            "session", "aid", pl.lit(1, pl.UInt8).alias(f"label_{name}")
        )
        frame = frame.join(of_type, on=["session", "aid"], how="left", maintain_order="left")
    return frame.with_columns(pl.col(LABEL_NAMES).fill_null(0))


def _by(events: pl.LazyFrame, keys: list[str], family: Iterable[Feature]) -> pl.LazyFrame:
    return events.group_by(keys, maintain_order=True).agg(f.of_rows() for f in family)


def _same_shards_as_candidates(inputs: Inputs, _settings: Settings) -> int:
    return len(inputs["candidates"].files)


FEATURES_STAGE = Stage(
    write=write_features, shards=_same_shards_as_candidates, version=f"4 {' '.join(FEATURE_NAMES)}"
)
