"""What a co-visitation matrix is: a declaration of which pairs of events count, and how much.

A matrix counts pairs of events x → y of one session. Its *walk* says which events are there at
all: those of the types that it reads, the last ones of each session, with their positions.
"""

import re
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

CLICKS, CARTS, ORDERS = 0, 1, 2
ALL, BUYS = (CLICKS, CARTS, ORDERS), (CARTS, ORDERS)
HOUR, DAY = 3_600, 86_400
NO_LIMIT = 2**31 - 1
MOST_EVENTS = 4_095
"""Events of a session that a walk can hold."""
NEGLIGIBLE = 2.0**-22
"""A weight below this is 0."""
LONGEST = 10_000 * DAY
"""Of what a decay goes by."""
MOST_WEIGHT = 100
"""Of a type and of recency; sums of 2^29 pairs of such weights still fit."""
MOST_NEIGHBOURS = 65_535
RESERVED = (
    *("aid", "neighbour", "event_log", "sessions"),
    *("history", "second_hop", "session_knn", "popularity", "list", "pre", "all"),
)
"""What a matrix cannot be called: other inputs, sources and columns beside it have these names."""
MODES = ("sum", "max", "once", "once_per_type")
NORMALISATIONS = ("none", "row", "cosine", "log_cosine")


@dataclass(frozen=True)
class Decay:
    """How a weight falls with a distance d: seconds, positions, or a session's events.

    `halves`: 2^(−d / by), by ≥ 1. `geometric`: by^(d − 1), by ≤ 1. `reciprocal`: 1/d. `log2`:
    1/log2(d + by), by ≥ 1. `log`: 1/ln(d + by), by ≥ 2. `none`: 1. In `geometric`, `reciprocal`
    and `log2` a d of 0 counts as 1.
    """

    kind: Literal["none", "halves", "geometric", "reciprocal", "log", "log2"] = "none"
    by: float = 1.0

    def __post_init__(self) -> None:
        least, most = {"geometric": (1e-9, 1), "log": (2, LONGEST)}.get(self.kind, (1, LONGEST))
        if self.kind not in get_args(Decay.__annotations__["kind"]):
            raise ValueError(f"decay {self.kind!r}: there is no such kind")
        if not least <= self.by <= most:
            raise ValueError(f"decay {self.kind!r}: by={self.by} must be {least} … {most}")

    def table(self, longest: int) -> NDArray[np.float64]:
        """The weight at d = 0 … longest; its last value holds for all that is longer.

        Shorter where the weight is constant or becomes negligible.
        """
        if self.kind == "none":
            return np.ones(1)
        if self.kind == "halves":
            longest = min(longest, int(-np.log2(NEGLIGIBLE) * self.by) + 1)
        d = np.arange(longest + 1, dtype=np.float64)
        from_one = np.maximum(d, 1)
        values = {
            "halves": lambda: np.exp2(-d / self.by),
            "geometric": lambda: self.by ** (from_one - 1),
            "reciprocal": lambda: 1 / from_one,
            "log": lambda: 1 / np.log(d + self.by),
            "log2": lambda: 1 / np.log2(from_one + self.by),
        }[self.kind]()
        return np.where(values < NEGLIGIBLE, 0.0, values)


CONSTANT = Decay()


@dataclass(frozen=True)
class Walk:
    """The events that matrices look at: `types`, of each session the last `last` positions.

    A position is an event, or a run of events of the same item where `runs`. At most 4,095 events.
    """

    types: tuple[int, ...]
    last: int
    runs: bool


@dataclass(frozen=True)
class Matrix:
    """One co-visitation matrix; every field has the default that restricts and weighs nothing.

    Attributes:
        name: Its name: of the asset, of the columns of candidates.
        source: Where its definition comes from.
        source_types: Types that x may have.
        type_weights: Weight of y by its type; y of a type with weight 0 does not count.
        forward: Only pairs in which y comes after x.
        last: Positions of a session that count, its latest.
        runs: Positions are runs of events of one item, not events.
        distances: Least and largest |position of y − position of x|. Least 1: never the same.
        max_seconds: Only pairs less than so many seconds apart.
        last_days: Only events of the last so many days of the log.
        queries_only: Only sessions that are to be predicted.
        session_events: Least and largest number of events of the session.
        recency_gain: x weighs 1 + this × (its time since the log's start / length of the log).
        by_time: Decay with the seconds between x and y.
        by_distance: Decay with the distance of their positions.
        by_length: Decay with the number of events of the session.
        backward: Factor of a pair in which y comes before x.
        occurrences: How the pairs of one (session, x, y) count: the `sum` of all, the `max`imum,
            `once` (x's latest event that has a pair, with the nearest y after it, else before it),
            or `once_per_type` of y. A pair whose weight rounds to 0 is none.
        self_pairs: Whether y may be the same item as x.
        normalisation: `none`; `row`: ÷ the sum of the row; `cosine`: ÷ √(n_x n_y); `log_cosine`:
            ÷ log √(n_x n_y + 2), where n counts an item's events in the walk, whatever else
            restricts the matrix.
        top_k: Neighbours that each item keeps.
    """

    name: str
    source: str
    source_types: tuple[int, ...] = ALL
    type_weights: tuple[float, float, float] = (1, 1, 1)
    forward: bool = False
    last: int = 30
    runs: bool = False
    distances: tuple[int, int] = (1, NO_LIMIT)
    max_seconds: int = NO_LIMIT
    last_days: float | None = None
    queries_only: bool = False
    session_events: tuple[int, int] = (1, NO_LIMIT)
    recency_gain: float = 0.0
    by_time: Decay = CONSTANT
    by_distance: Decay = CONSTANT
    by_length: Decay = CONSTANT
    backward: float = 1.0
    occurrences: Literal["sum", "max", "once", "once_per_type"] = "sum"
    self_pairs: bool = False
    normalisation: Literal["none", "row", "cosine", "log_cosine"] = "none"
    top_k: int = 40

    def __post_init__(self) -> None:
        for name, is_right, wanted in (
            ("name", re.fullmatch("[a-z][a-z0-9_]*", self.name), "small letters, digits, _"),
            ("name", self.name not in RESERVED, "none of " + ", ".join(RESERVED)),
            ("source_types", set(self.source_types) <= set(ALL) and self.source_types, "types"),
            ("type_weights", min(self.type_weights) >= 0, "0 or more"),
            ("type_weights", 0 < max(self.type_weights) <= MOST_WEIGHT, f"up to {MOST_WEIGHT}"),
            ("last", 1 <= self.last <= MOST_EVENTS, f"1 … {MOST_EVENTS}"),
            ("distances", 1 <= self.distances[0] <= self.distances[1], "1 ≤ least ≤ largest"),
            ("max_seconds", self.max_seconds >= 1, "1 or more"),
            ("last_days", self.last_days is None or self.last_days > 0, "more than 0"),
            (
                "session_events",
                1 <= self.session_events[0] <= self.session_events[1],
                "1 ≤ least ≤ most",
            ),
            ("recency_gain", 0 <= self.recency_gain <= MOST_WEIGHT, f"0 … {MOST_WEIGHT}"),
            ("backward", 0 <= self.backward <= 1, "0 … 1"),
            ("occurrences", self.occurrences in MODES, f"one of {MODES}"),
            ("normalisation", self.normalisation in NORMALISATIONS, f"one of {NORMALISATIONS}"),
            ("top_k", 1 <= self.top_k <= MOST_NEIGHBOURS, f"1 … {MOST_NEIGHBOURS}"),
        ):
            if not is_right:
                value = getattr(self, name)
                raise ValueError(f"matrix {self.name!r}: {name}={value!r} must be {wanted}")

    @property
    def walk(self) -> Walk:
        """The events that it looks at."""
        targets = {type_ for type_, weight in enumerate(self.type_weights) if weight > 0}
        return Walk(tuple(sorted(targets.union(self.source_types))), self.last, self.runs)
