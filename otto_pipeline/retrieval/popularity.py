"""Event log → events of each item by type in the lane's last days, by hour and by weekday."""

from pathlib import Path
from typing import TypeVar

import numpy as np
import polars as pl
from numba import njit
from numba.extending import register_jitable
from numpy.typing import NDArray

from otto_pipeline.compute.kernels import prefetch
from otto_pipeline.events.eligibility import ORDER
from otto_pipeline.events.eligibility_file import SETTING
from otto_pipeline.events.errors import LogError
from otto_pipeline.events.event_log import EventLog, open_event_log
from otto_pipeline.retrieval.sources import POPULAR_ITEMS, POPULAR_LISTS, POPULAR_OFFSET
from otto_pipeline.schemas import HOUR_PARTS, POPULARITY, TYPES, WEEKDAYS, WINDOWS
from otto_pipeline.settings import Settings
from otto_pipeline.store.dataset import Dataset, Figures
from otto_pipeline.store.stage import Inputs, Stage

DAY_SECONDS = 86_400
IN_WINDOW = len(TYPES) + 1
SESSIONS = len(TYPES)
"""Counts of a window: events of each type, then sessions."""
AGAIN = IN_WINDOW * len(WINDOWS)
EVENTS = AGAIN + 1
BY_HOUR = EVENTS + 1
BY_WEEKDAY = BY_HOUR + HOUR_PARTS
COUNTED = BY_WEEKDAY + WEEKDAYS
"""Where the counts of an item are that belong to no window, and where they end."""
LAST_SEEN, SEEN_IN, ORDERED_IN = range(COUNTED, COUNTED + 3)
AHEAD = 8
"""So many events ahead their items are asked for."""

Seconds = TypeVar("Seconds", int, NDArray[np.int64])


def write_popularity(inputs: Inputs, _shard: int, _settings: Settings, path: Path) -> Figures:
    """One row for every item of the log; all windows end with the lane's last event."""
    log = open_event_log(inputs["event_log"])
    popularity(log).write_parquet(path)
    return {"last_second": log.last_second, "events": log.n_events}


def popularity(log: EventLog) -> pl.DataFrame:
    """The `POPULARITY` rows of a log."""
    starts = log.last_second - DAY_SECONDS * np.array([*WINDOWS.values()], np.int64)
    facts = _count(
        log.session_start, log.aid, log.ts, log.type, log.n_items, starts, log.first_ts // 1000
    )
    counts = facts[:, :COUNTED].view(np.uint32)
    columns = [column for column in POPULARITY.columns if column.dtype == pl.UInt32]
    return pl.DataFrame(
        {
            "aid": np.arange(log.n_items, dtype=np.int32),
            **{column.name: counts[:, place] for place, column in enumerate(columns)},
            "by_hour": counts[:, BY_HOUR:BY_WEEKDAY],
            "by_weekday": counts[:, BY_WEEKDAY:],
            "last_seen": facts[:, LAST_SEEN],
        },
        schema=POPULARITY.empty().schema,
    )


@register_jitable
def hour_part(second: Seconds) -> Seconds:
    """Which of the `HOUR_PARTS` of the day a moment is in; seconds since 1970, UTC."""
    return second % DAY_SECONDS // (DAY_SECONDS // HOUR_PARTS)


@register_jitable
def weekday(second: Seconds) -> Seconds:
    """Day of the week of a moment, 0 is Monday; seconds since 1970, a Thursday, UTC."""
    return (second // DAY_SECONDS + 3) % WEEKDAYS


def popular_items(popularity: Dataset, denied: NDArray[np.bool_]) -> pl.DataFrame:
    """Allowed items that are best in `POPULAR_LISTS` together, ties by item: columns aid, score.

    Where none was seen in the last week, those of the most events in all.

    Raises:
        LogError: every item that the lane has seen is denied.
    """
    allowed = popularity.read("aid", *POPULAR_LISTS, "events").filter(pl.Series(~denied))
    score = pl.sum_horizontal(_reciprocal_rank(*weighted) for weighted in POPULAR_LISTS.items())
    popular = allowed.select("aid", score=score).filter(pl.col("score") > 0)
    if popular.is_empty():
        popular = allowed.select("aid", score="events").filter(pl.col("score") > 0)
    if popular.is_empty() and denied.any():
        raise LogError(
            f"{SETTING}: denies every item of {popularity.folder.parent.name}'s log at its end, so "
            "there is nothing to recommend; allow some items, or leave the file out"
        )
    best = popular.sort(["score", "aid"], descending=[True, False]).head(POPULAR_ITEMS)
    return best.cast({"score": pl.Float64})


def _reciprocal_rank(name: str, weight: float) -> pl.Expr:
    """What a list adds to the score of its items; 0 for those that are not in it. The table is
    ordered by item, so that the smaller of two equals comes first.
    """
    rank = (-pl.col(name).cast(pl.Int64)).rank("ordinal")
    return pl.when(pl.col(name) > 0).then(weight / (POPULAR_OFFSET + rank)).otherwise(0.0)


@njit(cache=True, nogil=True)
def _count(
    session_start: NDArray[np.int64],
    aid: NDArray[np.int32],
    ts: NDArray[np.int32],
    type_: NDArray[np.uint8],
    n_items: int,
    starts: NDArray[np.int64],
    first_second: int,
) -> NDArray[np.int32]:
    """One pass over the events; 128 bytes an item, side by side, as each event waits for its item.

    i32[items, 32]: for each window the types and the sessions, the longest last, the other counts
    from `AGAIN` on, the time of the last event (−1: none), and two that serve the pass: the last
    session that was met with the item, and with an order of it. The log is read from its end, so
    that an item's first event that is met is in every window that holds one of the session's.
    """
    facts = np.zeros((n_items, ORDERED_IN + 1), np.int32)
    facts[:, LAST_SEEN:] = -1
    flat = facts.reshape(-1)
    for session in range(len(session_start) - 2, -1, -1):
        for event in range(session_start[session + 1] - 1, session_start[session] - 1, -1):
            ahead = aid[max(event - AHEAD, 0)] * np.int64(facts.shape[1])
            prefetch(flat, ahead)
            prefetch(flat, ahead + facts.shape[1] // 2)
            of_item, second = facts[aid[event]], ts[event]
            of_item[EVENTS] += 1
            of_item[LAST_SEEN] = max(of_item[LAST_SEEN], second)
            if second < starts[-1]:
                continue
            for window in range(len(starts)):
                if second >= starts[window]:
                    of_item[IN_WINDOW * window + type_[event]] += 1
                    of_item[IN_WINDOW * window + SESSIONS] += of_item[SEEN_IN] != session
            of_item[SEEN_IN] = session
            if type_[event] == ORDER:
                of_item[AGAIN] += of_item[ORDERED_IN] == session
                of_item[ORDERED_IN] = session
            of_item[BY_HOUR + hour_part(first_second + second)] += 1
            of_item[BY_WEEKDAY + weekday(first_second + second)] += 1
    return facts


POPULARITY_STAGE = Stage(write=write_popularity, version="2")
