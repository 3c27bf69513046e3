"""The generated shop's parameters, each group with the statistics that it is calibrated to.

The statistics are those of https://github.com/otto-de/recsys-dataset and of public contest
solutions; `events/statistics.py` measures them.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

START_MS = 1_659_304_800_000
"""2022-07-31 22:00:00 UTC, midnight of a Monday in the shop's time zone (UTC+2)."""
DAY_MS = 86_400_000
WEEKS = 5
TRAIN, TEST = range(0, 28), range(28, 35)
"""The periods in days since the start; the sessions of each begin and end inside it."""
CLICK, CART, ORDER = 0, 1, 2
HOURLY = (
    *(0.35, 0.18, 0.10, 0.07, 0.08, 0.18, 0.42, 0.68, 0.88, 1.02, 1.10, 1.12),
    *(1.12, 1.14, 1.14, 1.15, 1.18, 1.25, 1.38, 1.62, 1.88, 1.95, 1.50, 0.85),
)
"""Activity per local hour: low at night, highest in the evening."""
DAILY = (1.00, 0.98, 0.97, 0.97, 0.93, 0.95, 1.20)
"""Activity per weekday, Monday first."""
ITEM_EVENTS = {-4.9: 3, 0: 20, 0.674: 56, 1.282: 183, 1.645: 398, 4.9: 129_004}
"""Events of OTTO's items, by their place among all as a normal score: 0 is the median."""


class Shop(NamedTuple):
    """The parameters; a tuple of numbers, so that kernels take it."""

    # visits per user, rates gamma distributed: share of train's sessions that begin in its last
    # week (.14), mean events per session (train 16.8, test 8.3)
    visit_shape: float = 0.5
    visit_days: float = 16.0
    # events per visit, log-normal over visits and over users: events per session
    # (50/75/90/95 %: train 6/15/39/68, test 4/8/18/28)
    visit_log_events_mean: float = 1.08
    visit_log_events_sd: float = 0.7
    user_log_events_sd: float = 1.09
    max_events: int = 500
    # milliseconds between the events of a visit, log-normal: pages are left soon, with some pauses
    gap_log_ms_mean: float = 10.6
    gap_log_ms_sd: float = 1.3
    # item popularity, as `ITEM_EVENTS` to a power, as walks even it out, and its drift per week;
    # share of items that are new after the first week
    popularity_power: float = 1.15
    drift_log_sd: float = 0.28
    new_items: float = 0.08
    # where a click goes, each a share of what the ones before leave: recall@20 of history for
    # clicks (.32), and what co-visitation adds to it (16-19 %); other values on a later visit
    revisit: float = 0.27
    return_revisit: float = 0.4
    revisit_recency: float = 1.6
    next_on_shelf: float = 0.21
    shelf_reach: float = 0.35
    shelf_disorder: float = 1.0
    next_in_topic: float = 0.45
    next_in_related_topic: float = 0.3
    topic_log_items_mean: float = 4.8
    topic_log_items_sd: float = 0.6
    # carts, the user's intent gamma distributed: share of events (.078), sessions with carts after
    # the cut (17 %), how many (2.2), recall of history (.31); last events that are carts (.038)
    intent_shape: float = 0.28
    cart_new: float = 0.26
    cart_revisited: float = 0.14
    cart_patience: float = 1.6
    cart_leaving: float = 0.4
    # orders, decided at a visit's last events: share of events (.0235), sessions with orders after
    # the cut (8 %), how many (1.85), recall of history (.60)
    checkout_events: int = 7
    checkout: float = 0.16
    order_next: float = 0.84
    basket: int = 8
    basket_forgotten: float = 0.85
    # a session's first event is a cart, an order (.0029, .0014)
    first_cart: float = 0.0029
    first_order: float = 0.0014


SHOP = Shop()
