"""The seed's own way: pandas merges of the events with themselves, in chunks of sessions."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
import polars as pl

from bench.peers.ours import SEED
from otto_pipeline.events.event_log import EventLog
from otto_pipeline.retrieval.matrix import ALL, Matrix

PAIR = ["aid_x", "aid_y"]


@dataclass(frozen=True)
class Loaded:
    events: pd.DataFrame
    last_second: int


def load(log: EventLog) -> Loaded:
    sessions = np.repeat(np.arange(log.n_sessions, dtype=np.int32), np.diff(log.session_start))
    columns = {"aid": np.array(log.aid), "ts": np.array(log.ts), "type": np.array(log.type)}
    return Loaded(pd.DataFrame({"session": sessions, **columns}), log.last_second)


def compute(loaded: Loaded, option: str) -> dict[str, pd.DataFrame]:
    """`option` is the number of sessions in a chunk."""
    return {matrix.name: _matrix(loaded, matrix, int(option)) for matrix in SEED}


def frames(computed: Mapping[str, pd.DataFrame]) -> Mapping[str, pl.DataFrame]:
    return {
        name: pl.DataFrame(
            {
                "aid": frame["aid_x"].to_numpy(),
                "neighbour": frame["aid_y"].to_numpy(),
                "weight": frame["weight"].to_numpy(),
                "rank": frame.groupby("aid_x").cumcount().to_numpy() + 1,
            }
        )
        for name, frame in computed.items()
    }


def _matrix(loaded: Loaded, matrix: Matrix, sessions_per_chunk: int) -> pd.DataFrame:
    events = loaded.events
    if matrix.walk.types != ALL:
        events = events[events["type"].isin(matrix.walk.types)]
    events = events.groupby("session", sort=False).tail(matrix.last)
    sums = [
        _sums(chunk, matrix, loaded.last_second) for chunk in _chunks(events, sessions_per_chunk)
    ]
    total = pd.concat(sums).groupby(PAIR, sort=False, as_index=False)["weight"].sum()
    ordered = total.sort_values(["aid_x", "weight", "aid_y"], ascending=[True, False, True])
    return ordered.groupby("aid_x", sort=False).head(matrix.top_k)


def _chunks(events: pd.DataFrame, sessions_per_chunk: int) -> Iterator[pd.DataFrame]:
    sessions = events["session"].to_numpy()
    starts = np.arange(0, sessions[-1] + 1, sessions_per_chunk)
    bounds = [*np.searchsorted(sessions, starts), len(events)]
    return (events.iloc[begin:end] for begin, end in pairwise(bounds))


def _sums(events: pd.DataFrame, matrix: Matrix, last_second: int) -> pd.DataFrame:
    """The weight of each pair of items in a chunk of sessions."""
    pairs = events.merge(events, on="session")
    is_near = (pairs["ts_x"] - pairs["ts_y"]).abs() < matrix.max_seconds
    pairs = pairs[is_near & (pairs["aid_x"] != pairs["aid_y"])]
    if matrix.occurrences == "once":
        pairs = pairs.drop_duplicates(["session", *PAIR], keep="last")  # of x's latest event
    weights = np.array(matrix.type_weights, np.float64)[pairs["type_y"].to_numpy()]
    weights *= 1 + matrix.recency_gain * pairs["ts_x"].to_numpy() / last_second
    weighed = pairs[PAIR].assign(weight=weights)
    return weighed.groupby(PAIR, sort=False, as_index=False)["weight"].sum()
