"""A lazy Polars join of the events with themselves."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from bench.peers.ours import SEED
from otto_pipeline.events.event_log import EventLog
from otto_pipeline.retrieval.matrix import Matrix


@dataclass(frozen=True)
class Loaded:
    events: pl.DataFrame
    last_second: int


def load(log: EventLog) -> Loaded:
    sessions = np.repeat(np.arange(log.n_sessions, dtype=np.int32), np.diff(log.session_start))
    columns = {"aid": np.array(log.aid), "ts": np.array(log.ts), "type": np.array(log.type)}
    return Loaded(pl.DataFrame({"session": sessions, **columns}), log.last_second)


def compute(loaded: Loaded, option: str) -> list[pl.DataFrame]:
    """`option` is the engine."""
    queries = [_matrix(loaded, matrix) for matrix in SEED]
    return [query.collect(engine=option) for query in queries]


def frames(computed: list[pl.DataFrame]) -> Mapping[str, pl.DataFrame]:
    return {matrix.name: frame for matrix, frame in zip(SEED, computed, strict=True)}


def _matrix(loaded: Loaded, matrix: Matrix) -> pl.LazyFrame:
    from_end = pl.int_range(pl.len(), 0, -1).over("session")
    events = (
        loaded.events.lazy()
        .filter(pl.col("type").is_in(matrix.walk.types))
        .filter(from_end <= matrix.last)
    )
    second, second_y = pl.col("ts"), pl.col("ts_y")
    pairs = events.join(events, on="session", suffix="_y").filter(
        (second - second_y).abs() < matrix.max_seconds, pl.col("aid") != pl.col("aid_y")
    )
    if matrix.occurrences == "once":
        pairs = pairs.group_by("session", "aid", "aid_y").agg(second.max())
        weight = 1 + matrix.recency_gain * second / loaded.last_second
    else:
        weight = pl.lit(list(matrix.type_weights)).list.get(pl.col("type_y"))
    return (
        pairs.group_by("aid", neighbour="aid_y")
        .agg(weight=weight.sum())
        .sort("aid", "weight", "neighbour", descending=[False, True, False])
        .with_columns(rank=pl.int_range(1, pl.len() + 1).over("aid"))
        .filter(pl.col("rank") <= matrix.top_k)
    )
