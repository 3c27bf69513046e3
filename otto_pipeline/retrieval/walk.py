"""The events that a walk visits, packed for kernels that jump from session to session.

`words` holds the sessions one after the other: a header, then the session's events in order.
One jump to a session then costs one or two cache lines, where columns would cost one each.

    header   bits 0–11 events that follow, 12–43 events of the whole session, 44 is it a query
    event    bits 0–1 type, 2–32 second of the log, 33–62 item
"""

from functools import partial
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from otto_pipeline.compute.threads import map_blocks
from otto_pipeline.events.errors import LogError
from otto_pipeline.events.event_log import EventLog
from otto_pipeline.retrieval.matrix import MOST_EVENTS, Walk

PLACE_BITS = 12
PLACE_MASK = 2**PLACE_BITS - 1
LENGTH_MASK = 2**32 - 1
QUERY_BIT = 44
SECOND_MASK = 2**31 - 1
ITEM_SHIFT = 33
MOST_ITEMS = 2**30


class PackedWalk(NamedTuple):
    """`words` as described above; `runs` as in `Walk`."""

    words: NDArray[np.int64]
    runs: bool
    n_items: int


class Occurrences(NamedTuple):
    """Where the items first … last−1 occur in a walk.

    `occurrence[start[i] : start[i + 1]]` are those of item first + i, the latest first, each
    (place of the session's header in words) × 4096 + place of the event in the session, from 1.
    `visited[i]` is the number of events that its sessions hold, once for each of its occurrences:
    a bound on its pairs.
    """

    start: NDArray[np.int64]
    occurrence: NDArray[np.int64]
    visited: NDArray[np.int64]


def pack(log: EventLog, walk: Walk, queries: NDArray[np.bool_], threads: int) -> PackedWalk:
    """The walk's events of every session of the log; `queries[session]`: is it to be predicted.

    8 bytes an event and session.

    Raises:
        LogError: the log has more items than a word can name.
    """
    if log.n_items > MOST_ITEMS:
        raise LogError(
            f"the log has {log.n_items:,} items, and co-visitation can tell {MOST_ITEMS:,} apart; "
            "take a smaller scale, or leave out items that are hardly seen"
        )
    wanted = np.zeros(3, np.bool_)
    wanted[list(walk.types)] = True
    events = (log.session_start, log.aid, log.ts, log.type, wanted)
    cost = np.diff(log.session_start) + 1
    kept = np.concatenate(
        [
            np.zeros(0, np.int64),
            *map_blocks(partial(_count_kept, *events, walk.last, walk.runs), cost, threads),
        ]
    )
    header = np.concatenate([np.zeros(1, np.int64), np.cumsum(kept + (kept > 0))])
    words = np.empty(header[-1], np.int64)
    for _ in map_blocks(partial(_pack, *events, queries, kept, header, words), cost, threads):
        pass
    return PackedWalk(words, walk.runs, log.n_items)


def occurrences(packed: PackedWalk, first: int, last: int, threads: int) -> Occurrences:
    """Where the items first … last−1 occur."""
    counted = _count_occurrences(packed.words, first, last)
    start = np.concatenate([np.zeros(1, np.int64), np.cumsum(counted)])
    occurrence = np.empty(start[-1], np.int64)
    visited = np.zeros(last - first, np.int64)
    fill = partial(_fill_occurrences, packed.words, first, start[1:].copy(), occurrence, visited)
    for _ in map_blocks(fill, counted, threads, blocks=threads):
        pass
    return Occurrences(start, occurrence, visited)


def count_events(packed: PackedWalk) -> NDArray[np.int64]:
    """Events of each item in the walk."""
    return _count_occurrences(packed.words, 0, packed.n_items)


@njit(cache=True, nogil=True)
def _count_kept(
    session_start: NDArray[np.int64],
    aid: NDArray[np.int32],
    ts: NDArray[np.int32],
    type_: NDArray[np.uint8],
    wanted: NDArray[np.bool_],
    last_positions: int,
    runs: bool,
    first: int,
    last: int,
) -> NDArray[np.int64]:
    """How many events of the sessions first … last−1 the walk holds."""
    kept = np.zeros(last - first, np.int64)
    for session in range(first, last):
        positions = 0
        item = -1
        for event in range(session_start[session + 1] - 1, session_start[session] - 1, -1):
            if not wanted[type_[event]]:
                continue
            positions += not runs or aid[event] != item
            item = aid[event]
            if positions > last_positions or kept[session - first] == MOST_EVENTS:
                break
            kept[session - first] += 1
    return kept


@njit(cache=True, nogil=True)
def _pack(
    session_start: NDArray[np.int64],
    aid: NDArray[np.int32],
    ts: NDArray[np.int32],
    type_: NDArray[np.uint8],
    wanted: NDArray[np.bool_],
    queries: NDArray[np.bool_],
    kept: NDArray[np.int64],
    header: NDArray[np.int64],
    words: NDArray[np.int64],
    first: int,
    last: int,
) -> None:
    """Write the words of the sessions first … last−1, from the last event to the header."""
    for session in range(first, last):
        if kept[session] == 0:
            continue
        begin, event = session_start[session], session_start[session + 1]
        length = np.int64(event - begin)
        place = header[session] + kept[session]
        words[header[session]] = (
            kept[session] | length << PLACE_BITS | np.int64(queries[session]) << QUERY_BIT
        )
        while place > header[session]:
            event -= 1
            if wanted[type_[event]]:
                second, item = np.int64(ts[event]), np.int64(aid[event])
                words[place] = item << ITEM_SHIFT | second << 2 | type_[event]
                place -= 1


@njit(cache=True, nogil=True)
def _count_occurrences(words: NDArray[np.int64], first: int, last: int) -> NDArray[np.int64]:
    counted = np.zeros(last - first, np.int64)
    header = 0
    while header < len(words):
        events = words[header] & PLACE_MASK
        for place in range(header + 1, header + events + 1):
            item = words[place] >> ITEM_SHIFT
            if first <= item < last:
                counted[item - first] += 1
        header += events + 1
    return counted


@njit(cache=True, nogil=True)
def _fill_occurrences(
    words: NDArray[np.int64],
    base: int,
    before: NDArray[np.int64],
    occurrence: NDArray[np.int64],
    visited: NDArray[np.int64],
    first: int,
    last: int,
) -> None:
    """Those of the items base + first … base + last−1: a counting sort of the walk's events."""
    header = 0
    while header < len(words):
        events = words[header] & PLACE_MASK
        for place in range(1, events + 1):
            item = (words[header + place] >> ITEM_SHIFT) - base
            if first <= item < last:
                before[item] -= 1
                occurrence[before[item]] = header << PLACE_BITS | place
                visited[item] += events
        header += events + 1
