"""Event log → events of each item, of each type, in all and in the lane's last seven days."""

from pathlib import Path

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray

from otto_pipeline.events.eligibility_file import SETTING
from otto_pipeline.events.errors import LogError
from otto_pipeline.events.event_log import open_event_log
from otto_pipeline.retrieval.sources import POPULAR_ITEMS
from otto_pipeline.schemas import POPULARITY, TYPES
from otto_pipeline.settings import Settings
from otto_pipeline.store.dataset import Dataset, Figures
from otto_pipeline.store.stage import Inputs, Stage

WEEK_SECONDS = 7 * 86_400


def write_popularity(inputs: Inputs, _shard: int, _settings: Settings, path: Path) -> Figures:
    """One row for every item of the log; the week ends with the lane's last event."""
    log = open_event_log(inputs["event_log"])
    week_start = log.last_second - WEEK_SECONDS
    counts, week, sessions_week, last_seen = _count(
        log.session_start, log.aid, log.ts, log.type, log.n_items, week_start
    )
    frame = pl.DataFrame(
        {
            "aid": np.arange(log.n_items, dtype=np.int32),
            **{name: counts[:, code] for code, name in enumerate(TYPES)},
            **{f"{name}_week": week[:, code] for code, name in enumerate(TYPES)},
            "sessions_week": sessions_week,
            "last_seen": last_seen,
        },
        schema=POPULARITY.empty().schema,
    )
    frame.write_parquet(path)
    return {"last_second": log.last_second, "events": log.n_events}


def popular_items(popularity: Dataset, denied: NDArray[np.bool_]) -> pl.DataFrame:
    """Allowed items of the most sessions of the lane's last seven days: columns aid, score.

    Where none was seen in these, those of the most events in all.

    Raises:
        LogError: every item that the lane has seen is denied.
    """
    allowed = popularity.read("aid", "sessions_week", *TYPES).filter(pl.Series(~denied))
    popular = allowed.select("aid", score="sessions_week").filter(pl.col("score") > 0)
    if popular.is_empty():
        popular = allowed.select("aid", score=pl.sum_horizontal(TYPES)).filter(pl.col("score") > 0)
    if popular.is_empty() and denied.any():
        raise LogError(
            f"{SETTING}: denies every item of {popularity.folder.parent.name}'s log at its end, so "
            "there is nothing to recommend; allow some items, or leave the file out"
        )
    best = popular.sort(["score", "aid"], descending=[True, False]).head(POPULAR_ITEMS)
    return best.cast({"score": pl.Float64})


@njit(cache=True, nogil=True)
def _count(
    session_start: NDArray[np.int64],
    aid: NDArray[np.int32],
    ts: NDArray[np.int32],
    type_: NDArray[np.uint8],
    n_items: int,
    week_start: int,
) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """One pass over the events; 40 bytes an item, one random access an event."""
    counts = np.zeros((n_items, 3), np.uint32)
    week = np.zeros((n_items, 3), np.uint32)
    sessions_week = np.zeros(n_items, np.uint32)
    last_seen = np.full(n_items, -1, np.int32)
    counted_for = np.full(n_items, -1, np.int64)  # the last session that counted for the item
    for session in range(len(session_start) - 1):
        for event in range(session_start[session], session_start[session + 1]):
            item = aid[event]
            counts[item, type_[event]] += 1
            last_seen[item] = max(last_seen[item], ts[event])
            if ts[event] >= week_start:
                week[item, type_[event]] += 1
                if counted_for[item] != session:
                    counted_for[item] = session
                    sessions_week[item] += 1
    return counts, week, sessions_week, last_seen


POPULARITY_STAGE = Stage(write=write_popularity)
