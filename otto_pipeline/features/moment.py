"""The item at the moment of the query: whether this is its time of the day, its day of the week.

Frame: `at_moment`, of a candidate the item's events of 21 days at the hour and weekday of the
session's last event (`events_hour`, `events_weekday`), and in a mean part of the day and day of the
week (`mean_hour`, `mean_weekday`).
"""

from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from otto_pipeline.events.event_log import EventLog
from otto_pipeline.features.feature import amount
from otto_pipeline.retrieval.popularity import hour_part, weekday
from otto_pipeline.store.dataset import Dataset

MOMENT_FEATURES = (
    amount(
        "moment_hour",
        "Events of the item in the three hours of the day that hold the session's last event, over "
        "those in mean three hours, both plus one.",
        (pl.col("events_hour") + 1) / (pl.col("mean_hour") + 1),
    ),
    amount(
        "moment_weekday",
        "Events of the item on the weekday of the session's last event, over those on a mean day, "
        "both plus one.",
        (pl.col("events_weekday") + 1) / (pl.col("mean_weekday") + 1),
    ),
)


class Shapes(NamedTuple):
    """Events of all items of the log by hour u32[items, 8] and by weekday u32[items, 7]."""

    by_hour: NDArray[np.uint32]
    by_weekday: NDArray[np.uint32]


def read_shapes(popularity: Dataset) -> Shapes:
    """The shapes in a table of popularity."""
    return Shapes(*(popularity.read(name)[name].to_numpy() for name in Shapes._fields))


def at_moment(log: EventLog, candidates: pl.DataFrame, shapes: Shapes) -> pl.DataFrame:
    """What `MOMENT_FEATURES` are made from, of candidates in their order."""
    last_event = log.session_start[candidates["session"].to_numpy() + 1] - 1
    moment = log.ts[last_event] + np.int64(log.first_ts // 1000)
    item = candidates["aid"].to_numpy()
    return pl.DataFrame(
        {
            "events_hour": shapes.by_hour[item, hour_part(moment)],
            "mean_hour": shapes.by_hour.mean(axis=1)[item],
            "events_weekday": shapes.by_weekday[item, weekday(moment)],
            "mean_weekday": shapes.by_weekday.mean(axis=1)[item],
        }
    )
