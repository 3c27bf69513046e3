"""The item in the lane's log, as rates that do not depend on how long the log is.

Frame: the table of popularity with `weeks` (length of the lane's log) and `last_second` (its end).
"""

import polars as pl

from otto_pipeline.features.feature import amount, ratio
from otto_pipeline.schemas import TYPES

_all = pl.sum_horizontal(pl.col(name) for name in TYPES)
_all_week = pl.sum_horizontal(pl.col(f"{name}_week") for name in TYPES)
_earlier_weeks = (pl.col("weeks") - 1).clip(lower_bound=0)

ITEM_FEATURES = (
    *(
        amount(
            f"item_{name}_rate",
            f"{name.capitalize()} of the item a week, over the lane's log.",
            pl.col(name) / pl.col("weeks"),
            missing=0,
        )
        for name in TYPES
    ),
    *(
        amount(
            f"item_{name}_week",
            f"{name.capitalize()} of the item in the lane's last seven days.",
            pl.col(f"{name}_week"),
            missing=0,
        )
        for name in TYPES
    ),
    amount(
        "item_sessions_week",
        "Sessions with the item in the lane's last seven days.",
        pl.col("sessions_week"),
        missing=0,
    ),
    amount(
        "item_trend",
        "Events of the last seven days over those of an earlier week, both plus one.",
        (_all_week + 1) / (ratio(_all - _all_week, _earlier_weeks).fill_null(0) + 1),
    ),
    amount(
        "item_carts_per_click",
        "Carts over clicks, over the lane's log.",
        ratio(pl.col("carts"), pl.col("clicks")),
    ),
    amount(
        "item_orders_per_click",
        "Orders over clicks, over the lane's log.",
        ratio(pl.col("orders"), pl.col("clicks")),
    ),
    amount(
        "item_orders_per_cart",
        "Orders over carts, over the lane's log.",
        ratio(pl.col("orders"), pl.col("carts")),
    ),
    amount(
        "item_carts_per_click_week",
        "Carts over clicks, in the lane's last seven days.",
        ratio(pl.col("carts_week"), pl.col("clicks_week")),
    ),
    amount(
        "item_orders_per_click_week",
        "Orders over clicks, in the lane's last seven days.",
        ratio(pl.col("orders_week"), pl.col("clicks_week")),
    ),
    amount(
        "item_hours_unseen",
        "Hours from the item's last event to the end of the lane's log.",
        pl.when(pl.col("last_seen") >= 0).then(
            (pl.col("last_second") - pl.col("last_seen")) / 3600
        ),
    ),
)
