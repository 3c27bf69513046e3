"""The session so far.

Frame: its visible events in order (`aid`, `second` since the log's first event, `type` 0 clicks, 1
carts, 2 orders, `clock` hour of the day), one session at a time.
"""

import polars as pl

from otto_pipeline.features.feature import Feature, amount, ratio, share
from otto_pipeline.schemas import TYPES

_minutes = (pl.col("second").max() - pl.col("second").min()) / 60

SESSION_FEATURES = (
    Feature("session_events", "Events of the session.", pl.len(), pl.Int16),
    Feature("session_items", "Distinct items of the session.", pl.col("aid").n_unique(), pl.Int16),
    *(
        Feature(
            f"session_{name}",
            f"{name.capitalize()} of the session.",
            (pl.col("type") == code).sum(),
            dtype,
        )
        for code, (name, dtype) in enumerate(zip(TYPES, (pl.Int16, pl.Int8, pl.Int8), strict=True))
    ),
    amount("session_minutes", "Minutes from its first to its last event.", _minutes),
    amount(
        "session_minutes_per_event", "Mean minutes between events.", ratio(_minutes, pl.len() - 1)
    ),
    amount(
        "session_last_gap",
        "Minutes between its last two events.",
        (pl.col("second").get(-1) - pl.col("second").get(-2, null_on_oob=True)) / 60,
    ),
    Feature("session_last_type", "Type of its last event.", pl.col("type").last(), pl.Int8),
    Feature("session_last_hour", "Hour of its last event, UTC.", pl.col("clock").last(), pl.Int8),
    share(
        "session_new_share",
        "Distinct items per event: 1 where nothing was seen twice.",
        pl.col("aid").n_unique() / pl.len(),
    ),
)
