"""The item in the last days of the lane's log: rates and ages that its length leaves as they are.

Frame: the table of popularity with `days` and `weeks` (length of the lane's log, days that have
begun as whole ones, 21 days at most) and `last_second` (its end).
"""

import polars as pl

from otto_pipeline.features.feature import amount, ratio, share
from otto_pipeline.schemas import TYPES, WINDOWS


def _events(window: str) -> pl.Expr:
    return pl.sum_horizontal(f"{name}_{window}" for name in TYPES)


_days_before = (pl.col("days").clip(upper_bound=WINDOWS["week"]) - 1).clip(lower_bound=0)
_weeks_before = (pl.col("weeks") - 1).clip(lower_bound=0)

ITEM_FEATURES = (
    *(
        amount(
            f"item_{name}_rate",
            f"{name.capitalize()} of the item a week, over the lane's last 21 days.",
            pl.col(f"{name}_21d") / pl.col("weeks"),
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
        "Events of the last seven of 21 days over those of an earlier week, both plus one.",
        (_events("week") + 1)
        / (ratio(_events("21d") - _events("week"), _weeks_before).fill_null(0) + 1),
    ),
    amount(
        "item_day_trend",
        "Events of the last of seven days over those of an earlier day, both plus one.",
        (_events("day") + 1)
        / (ratio(_events("week") - _events("day"), _days_before).fill_null(0) + 1),
    ),
    amount(
        "item_events_per_session",
        "Events of the item in a session with it, over the lane's last 21 days.",
        ratio(_events("21d"), pl.col("sessions_21d")),
    ),
    share(
        "item_reorder_share",
        "Share of its orders that follow one in the same session, over the lane's last 21 days.",
        ratio(pl.col("orders_again_21d"), pl.col("orders_21d")),
    ),
    amount(
        "item_carts_per_click",
        "Carts over clicks, over the lane's last 21 days.",
        ratio(pl.col("carts_21d"), pl.col("clicks_21d")),
    ),
    amount(
        "item_orders_per_click",
        "Orders over clicks, over the lane's last 21 days.",
        ratio(pl.col("orders_21d"), pl.col("clicks_21d")),
    ),
    amount(
        "item_orders_per_cart",
        "Orders over carts, over the lane's last 21 days.",
        ratio(pl.col("orders_21d"), pl.col("carts_21d")),
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
        "Hours from the item's last event to the end of the lane's log, 21 days at most.",
        pl.when(pl.col("last_seen") >= 0).then(
            ((pl.col("last_second") - pl.col("last_seen")) / 3600).clip(
                upper_bound=24 * WINDOWS["21d"]
            )
        ),
    ),
)
