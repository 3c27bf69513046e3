"""What the session already did with a candidate.

Frame: the session's visible events of that item in order (`place` counts from the session's end, 0
is its last event; `minutes_ago` before the session's last event; `type`; `session_size` events of
the session), one session and item at a time. A candidate that the session has not met has counts of
zero.
"""

import polars as pl

from otto_pipeline.features.feature import Feature, amount, share
from otto_pipeline.schemas import TYPES

SESSION_ITEM_FEATURES = (
    *(
        Feature(
            f"own_{name}",
            f"{name.capitalize()} of the item in the session.",
            (pl.col("type") == code).sum(),
            pl.Int8,
            missing=0,
        )
        for code, name in enumerate(TYPES)
    ),
    share(
        "own_share",
        "The item's share of the session's events.",
        pl.len() / pl.col("session_size").first(),
        missing=0,
    ),
    Feature(
        "own_last_place",
        "Events after the item's last one in the session.",
        pl.col("place").min(),
        pl.Int16,
    ),
    Feature(
        "own_first_place",
        "Events after the item's first one in the session.",
        pl.col("place").max(),
        pl.Int16,
    ),
    amount(
        "own_minutes_ago",
        "Minutes from the item's last event to the session's last.",
        pl.col("minutes_ago").min(),
    ),
    amount(
        "own_span",
        "Minutes from the item's first to its last event in the session.",
        pl.col("minutes_ago").max() - pl.col("minutes_ago").min(),
    ),
    Feature(
        "own_last_type",
        "Type of the item's last event in the session.",
        pl.col("type").last(),
        pl.Int8,
    ),
    *(
        amount(
            f"own_minutes_since_{name}",
            f"Minutes from the item's last of {name} to the session's last event.",
            pl.col("minutes_ago").filter(pl.col("type") == code).min(),
        )
        for code, name in enumerate(TYPES)
    ),
)
