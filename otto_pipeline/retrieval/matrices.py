"""The co-visitation matrices: one line of declaration each.

A matrix counts pairs x → y inside one session, x ≠ y, of events of the given types among the
session's last `last_events` of those types, less than `max_seconds` apart. A pair weighs
`type_weights[type of y]`, times 1…4 by the age of x in the lane's log where `by_recency`; a
(session, x, y) counts with each of its occurrences, or only `once`, with x's latest. Each item
keeps its `top_k` heaviest neighbours.
"""

from dataclasses import dataclass

DAY_SECONDS = 86_400
CLICKS, CARTS, ORDERS = 0, 1, 2


@dataclass(frozen=True)
class Matrix:
    """One co-visitation matrix; `source` says where its definition comes from."""

    name: str
    source: str
    types: tuple[int, ...]
    last_events: int
    max_seconds: int
    type_weights: tuple[int, int, int]
    by_recency: bool
    once: bool
    top_k: int


MATRICES = (
    Matrix(
        name="time",
        source='OTTO.md catalogue, seed "time"; recent pairs weigh up to four times as much',
        types=(CLICKS, CARTS, ORDERS),
        last_events=30,
        max_seconds=DAY_SECONDS,
        type_weights=(1, 1, 1),
        by_recency=True,
        once=True,
        top_k=20,
    ),
    Matrix(
        name="cart_order",
        source='OTTO.md catalogue, seed "cart-order"; y weighs by its type',
        types=(CLICKS, CARTS, ORDERS),
        last_events=30,
        max_seconds=DAY_SECONDS,
        type_weights=(1, 6, 3),
        by_recency=False,
        once=False,
        top_k=15,
    ),
    Matrix(
        name="buy2buy",
        source='OTTO.md catalogue, seed "buy2buy"; carts and orders of two weeks',
        types=(CARTS, ORDERS),
        last_events=30,
        max_seconds=14 * DAY_SECONDS,
        type_weights=(1, 1, 1),
        by_recency=False,
        once=False,
        top_k=15,
    ),
)
"""The matrices that a run builds, in the order of their columns."""
