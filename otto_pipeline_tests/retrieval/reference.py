"""What every field of `Matrix` means, by brute force: each pair of events of each session.

Weights are computed in the order in which the kernel does it, so that results are equal, not close.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
import polars as pl
from numpy.typing import NDArray

from otto_pipeline.events.event_log import EventLog
from otto_pipeline.retrieval.matrix import DAY, MOST_EVENTS, NEGLIGIBLE, Decay, Matrix
from otto_pipeline.schemas import COVISITATION

ONE = 2**20
LONGEST_TIME, LONGEST = 28 * DAY, 4_095


@dataclass(frozen=True)
class Event:
    """An event of a walk: `place` counts the session's events in it, `position` what counts."""

    item: int
    second: int
    type: int
    place: int
    position: int


@dataclass(frozen=True)
class Session:
    """A session in a walk, and what the walk leaves of it."""

    events: list[Event]
    n_events: int
    is_query: bool


@dataclass(frozen=True)
class Pair:
    """A pair x → y that counts, with its weight in fixed point."""

    x: int
    y: int
    type_y: int
    amount: int


def reference(log: EventLog, queries: NDArray[np.bool_], matrix: Matrix) -> pl.DataFrame:
    """The `COVISITATION` rows of a matrix."""
    sessions = [_session(log, queries, matrix, number) for number in range(log.n_sessions)]
    n_of = Counter(event.item for session in sessions for event in session.events)
    sums: dict[int, Counter[int]] = defaultdict(Counter)
    for session in sessions:
        for (x, y), amount in _amounts(session, matrix, log.last_second).items():
            sums[x][y] += amount
    rows = []
    for x, row in sorted(sums.items()):
        scores = {y: _score(row, x, y, n_of, matrix) for y in row}
        best = sorted(row, key=lambda y: (-scores[y], y))[: matrix.top_k]
        rows += [(x, y, scores[y], rank) for rank, y in enumerate(best, start=1)]
    return pl.DataFrame(rows, schema=COVISITATION.empty().schema, orient="row")


def _session(log: EventLog, queries: NDArray[np.bool_], matrix: Matrix, number: int) -> Session:
    begin, end = (int(event) for event in log.session_start[number : number + 2])
    kept = [event for event in range(begin, end) if log.type[event] in matrix.walk.types]
    events: list[Event] = []
    for place, event in enumerate(kept):
        item = int(log.aid[event])
        position = place
        if matrix.runs and events:
            position = events[-1].position + (item != events[-1].item)
        events.append(Event(item, int(log.ts[event]), int(log.type[event]), place, position))
    last = [event for event in events if event.position > events[-1].position - matrix.last]
    return Session(last[-MOST_EVENTS:], end - begin, bool(queries[number]))


def _amounts(session: Session, matrix: Matrix, last_second: int) -> dict[tuple[int, int], int]:
    """What a session adds to each x → y."""
    found: dict[tuple[int, int], list[Pair]] = defaultdict(list)
    for pair in _pairs(session, matrix, last_second):
        if pair.amount > 0:
            found[pair.x, pair.y].append(pair)
    return {items: _total(pairs, matrix) for items, pairs in found.items()}


def _total(pairs: list[Pair], matrix: Matrix) -> int:
    match matrix.occurrences:
        case "sum":
            return sum(pair.amount for pair in pairs)
        case "max":
            return max(pair.amount for pair in pairs)
        case "once":
            return pairs[0].amount
        case "once_per_type":
            first_of_type = {pair.type_y: pair.amount for pair in reversed(pairs)}
            return sum(first_of_type.values())


def _pairs(session: Session, matrix: Matrix, last_second: int) -> Iterator[Pair]:
    """x's latest event first; with each the nearest y after it first, then those before it."""
    for x in reversed(session.events):
        after = (y for y in session.events if y.place > x.place)
        before = (y for y in reversed(session.events) if y.place < x.place)
        for y in chain(after, before):
            if _counts(x, y, session, matrix, last_second):
                amount = int(_weight(x, y, session, matrix, last_second) * ONE + 0.5)
                yield Pair(x.item, y.item, y.type, amount)


def _counts(x: Event, y: Event, session: Session, matrix: Matrix, last_second: int) -> bool:
    days = math.inf if matrix.last_days is None else matrix.last_days
    least, largest = matrix.distances
    fewest, most = matrix.session_events
    return (
        x.type in matrix.source_types
        and matrix.type_weights[y.type] > 0
        and (not matrix.forward or y.place > x.place)
        and least <= abs(y.position - x.position) <= largest
        and abs(y.second - x.second) < matrix.max_seconds
        and last_second - min(x.second, y.second) <= days * DAY
        and (not matrix.queries_only or session.is_query)
        and fewest <= session.n_events <= most
        and (matrix.self_pairs or y.item != x.item)
    )


def _weight(x: Event, y: Event, session: Session, matrix: Matrix, last_second: int) -> float:
    weight = 1 + matrix.recency_gain / max(last_second, 1) * x.second
    weight *= _decayed(matrix.by_length, session.n_events, LONGEST)
    if y.place < x.place:
        weight *= matrix.backward
    weight *= matrix.type_weights[y.type]
    weight *= _decayed(matrix.by_time, abs(y.second - x.second), LONGEST_TIME)
    return weight * _decayed(matrix.by_distance, abs(y.position - x.position), LONGEST)


def _decayed(decay: Decay, distance: int, longest: int) -> float:
    d, by = min(distance, longest), decay.by
    match decay.kind:
        case "none":
            weight = 1.0
        case "halves":
            weight = 2 ** (-d / by)
        case "geometric":
            weight = by ** (d - 1)
        case "reciprocal":
            weight = 1 / max(d, 1)
        case "log":
            weight = 1 / math.log(d + by)
        case "log2":
            weight = 1 / math.log2(max(d, 1) + by)
    return weight if weight >= NEGLIGIBLE else 0.0


def _score(row: Counter[int], x: int, y: int, n_of: Counter[int], matrix: Matrix) -> float:
    match matrix.normalisation:
        case "none":
            return row[y] / ONE
        case "row":
            return row[y] / row.total()
        case "cosine":
            return row[y] / ONE / math.sqrt(n_of[x] * n_of[y])
        case "log_cosine":
            return row[y] / ONE / math.log(math.sqrt(n_of[x] * n_of[y] + 2))
