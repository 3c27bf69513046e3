"""How near a candidate is to the items of its session, by matrices and by vectors.

For candidate y and the session's distinct items x these are means of s(x, y), weighted by 2^r − 1
with r from .1 to 1 at the latest event (OTTO.md §2.3), and s of the latest item: for matrices in
both directions, for vectors beside the largest. An item's place is that of its latest event.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray

from otto_pipeline.compute.kernels import inner_njit
from otto_pipeline.compute.threads import map_blocks
from otto_pipeline.events.event_log import EventLog
from otto_pipeline.features.feature import PARTS
from otto_pipeline.retrieval.neighbours import NeighbourTable, share_of

AGGREGATES = ("recent", "last", "back")
COSINES = ("mean", "max", "last")

Kernel = Callable[[int, int], NDArray]


def shares(
    log: EventLog, candidates: pl.DataFrame, tables: tuple[NeighbourTable, ...], threads: int
) -> NDArray[np.int16]:
    """For each matrix and each of `AGGREGATES` the candidates' similarities, i16 [m · a, rows].

    `candidates` has the columns session and aid, a session's rows together.
    """
    session, start, aid = _by_session(candidates)
    kernel = partial(
        _shares_of_block,
        *(session, start, aid, log.session_start, log.aid, tables, log.n_items),
    )
    empty = np.empty((len(tables) * len(AGGREGATES), 0), np.int16)
    return _joined(kernel, empty, log, session, start, threads)


def cosines(
    log: EventLog, candidates: pl.DataFrame, vectors: NDArray[np.float32], threads: int
) -> NDArray[np.int16]:
    """The candidates' cosines with the session's items by `COSINES`, in `PARTS`, i16 [3, rows].

    `vectors` f32 [items, d] have length 1, or 0 and a cosine of 0 with all. The mean is weighted by
    recency.
    """
    session, start, aid = _by_session(candidates)
    kernel = partial(
        _cosines_of_block,
        *(session, start, aid, log.session_start, log.aid, vectors),
    )
    empty = np.empty((len(COSINES), 0), np.int16)
    return _joined(kernel, empty, log, session, start, threads)


def _by_session(
    candidates: pl.DataFrame,
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int32]]:
    """The sessions, where the rows of each begin (and the last ends), and the items."""
    rows = candidates["session"].to_numpy()
    first = np.flatnonzero(np.diff(rows, prepend=-1))
    return rows[first], np.append(first, len(rows)), candidates["aid"].to_numpy(writable=True)


def _joined(
    kernel: Kernel,
    empty: NDArray,
    log: EventLog,
    session: NDArray[np.int32],
    start: NDArray[np.int64],
    threads: int,
) -> NDArray:
    cost = np.diff(log.session_start)[session] + np.diff(start)
    return np.concatenate([empty, *map_blocks(kernel, cost, threads)], axis=1)


@inner_njit
def _weigh_items(
    begin: int,
    end: int,
    aid: NDArray[np.int32],
    place_of: NDArray[np.int32],
    items: NDArray[np.int32],
    weights: NDArray[np.float64],
) -> int:
    """Write the session's items, the latest first, and their weights; return their number.

    The weights sum to one. `place_of` is −1 for every item, before and after.
    """
    size, total = 0, 0.0
    for event in range(end - 1, begin - 1, -1):
        item = aid[event]
        if place_of[item] < 0:
            place_of[item] = size
            items[size] = item
            recency = 1.0 if end - begin == 1 else 0.1 + 0.9 * (event - begin) / (end - begin - 1)
            weights[size] = 2**recency - 1
            total += weights[size]
            size += 1
    for place in range(size):
        place_of[items[place]] = -1
        weights[place] /= total
    return size


@njit(cache=True, nogil=True)
def _shares_of_block(
    session: NDArray[np.int32],
    start: NDArray[np.int64],
    candidate: NDArray[np.int32],
    session_start: NDArray[np.int64],
    aid: NDArray[np.int32],
    tables: tuple[NeighbourTable, ...],
    n_items: int,
    first: int,
    last: int,
) -> NDArray:
    """`shares` of the candidates of sessions number first … last−1; 8 bytes an item and thread.

    Walks the row of each of the session's items, and adds to those neighbours that are candidates.
    """
    offset = start[first]
    out = np.zeros((len(tables) * len(AGGREGATES), start[last] - offset), np.int16)
    row_of = np.full(n_items, -1, np.int32)
    place_of = np.full(n_items, -1, np.int32)
    longest, most = 0, 0
    for number in range(first, last):
        events = session_start[session[number] + 1] - session_start[session[number]]
        longest = max(longest, events)
        most = max(most, start[number + 1] - start[number])
    items = np.empty(longest, np.int32)
    weights = np.empty(longest)
    value = np.empty((len(AGGREGATES), most))
    for number in range(first, last):
        begin, rows = start[number], start[number + 1] - start[number]
        events = session_start[session[number]], session_start[session[number] + 1]
        size = _weigh_items(*events, aid, place_of, items, weights)
        for row in range(rows):
            row_of[candidate[begin + row]] = row
        for index in range(len(tables)):
            table = tables[index]
            value[:, :rows] = 0
            _add_rows(
                table.start, table.neighbour, table.share, items, size, weights, row_of, value
            )
            for row in range(rows):
                value[2, row] = share_of(table, candidate[begin + row], items[0])
                for kind in range(len(AGGREGATES)):
                    part = np.sqrt(min(value[kind, row], 1.0)) * PARTS
                    out[index * len(AGGREGATES) + kind, begin - offset + row] = np.int16(part + 0.5)
        for row in range(rows):
            row_of[candidate[begin + row]] = -1
    return out


@inner_njit
def _add_rows(
    table_start: NDArray[np.int64],
    neighbour: NDArray[np.int32],
    share: NDArray[np.float32],
    items: NDArray[np.int32],
    size: int,
    weights: NDArray[np.float64],
    row_of: NDArray[np.int32],
    value: NDArray[np.float64],
) -> None:
    """Add what the rows of the session's items say of its candidates."""
    for place in range(size):
        for entry in range(table_start[items[place]], table_start[items[place] + 1]):
            row = row_of[neighbour[entry]]
            if row < 0:
                continue
            value[0, row] += weights[place] * share[entry]
            if place == 0:
                value[1, row] = share[entry]


@njit(cache=True, nogil=True)
def _cosines_of_block(
    session: NDArray[np.int32],
    start: NDArray[np.int64],
    candidate: NDArray[np.int32],
    session_start: NDArray[np.int64],
    aid: NDArray[np.int32],
    vectors: NDArray[np.float32],
    first: int,
    last: int,
) -> NDArray:
    """`cosines` of the candidates of sessions number first … last−1."""
    offset = start[first]
    out = np.zeros((len(COSINES), start[last] - offset), np.int16)
    place_of = np.full(len(vectors), -1, np.int32)
    longest = 0
    for number in range(first, last):
        events = session_start[session[number] + 1] - session_start[session[number]]
        longest = max(longest, events)
    items = np.empty(longest, np.int32)
    weights = np.empty(longest)
    for number in range(first, last):
        events = session_start[session[number]], session_start[session[number] + 1]
        size = _weigh_items(*events, aid, place_of, items, weights)
        for row in range(start[number], start[number + 1]):
            mean, largest, latest = 0.0, -1.0, 0.0
            for place in range(size):
                value = _cosine(vectors, items[place], candidate[row])
                mean += weights[place] * value
                largest = max(largest, value)
                if place == 0:
                    latest = value
            out[0, row - offset] = _in_parts(mean)
            out[1, row - offset] = _in_parts(largest)
            out[2, row - offset] = _in_parts(latest)
    return out


@inner_njit
def _cosine(vectors: NDArray[np.float32], x: int, y: int) -> float:
    product = 0.0
    for k in range(vectors.shape[1]):
        product += vectors[x, k] * vectors[y, k]
    return product


@inner_njit
def _in_parts(cosine: float) -> int:
    return int(np.rint(min(max(cosine, -1.0), 1.0) * PARTS))
