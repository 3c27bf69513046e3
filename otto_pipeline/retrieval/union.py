"""What all sources propose to one session: the union, with each source's scores and ranks.

The kernel is called for one query session after the other on a thread's `Workspace`; who calls it
chooses among the union. All sums of one session are made here, in one order, so that they do not
depend on shards, blocks or threads.
"""

from typing import NamedTuple

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray

from otto_pipeline.compute.kernels import cycles, inner_njit, prefetch
from otto_pipeline.events.eligibility import ORDER, Eligibility, open_eligibility
from otto_pipeline.events.event_log import EventLog, open_event_log
from otto_pipeline.retrieval.best import NUMBER_MASK, best_first_key, sort_smallest
from otto_pipeline.retrieval.neighbours import NeighbourTable, open_neighbours
from otto_pipeline.retrieval.popularity import popular_items
from otto_pipeline.retrieval.session_knn import (
    NEIGHBOURS,
    Postings,
    Similarities,
    add_items_of_session,
    make_similarities,
    most_similar,
    open_postings,
)
from otto_pipeline.retrieval.sources import HOP_SOURCES, HOP_TABLE, SOURCE_LIMIT, SOURCES
from otto_pipeline.settings import Settings
from otto_pipeline.store.stage import Inputs

TYPE_WEIGHTS = (1.0, 3.0, 6.0)
"""Weight of a click, cart, order of the session's own (OTTO.md, seed)."""
# Kernels are compiled once and kept on disk, while settings choose the sources: nothing below that
# a kernel reads depends on how many there are. Sources are counted from the end, as facts are.
SECOND_HOP, SESSION_KNN, POPULARITY = -3, -2, -1
OWN_ITEMS, EVENTS = -2, -1
BESIDE_TABLES, SESSION_FACTS = 4, 2
"""Sources that are no tables of neighbours; facts that are no ranks."""
FACTS = (*(f"{source}_rank" for source in SOURCES), "own_items", "events")
"""What is known of each item of the union: its rank in each source, and how many distinct items and
events the session has."""
UNRANKED = SOURCE_LIMIT + 1
"""Rank of an item that is not among the source's best."""
ORDERED, DENIED = -2, -3
"""Marks of slots that are not eligible."""
LARGEST_UNION = len(SOURCES) * SOURCE_LIMIT
"""Items of the union of this process's sources; kernels take the workspace's size."""
LARGEST_FACT = 2**16 - 1
PREFETCHED = 3
"""So many similar sessions ahead their items are asked for."""


class Sources(NamedTuple):
    """What stands behind the sources, the sessions' own events, and what is not eligible."""

    session_start: NDArray[np.int64]
    aid: NDArray[np.int32]
    type: NDArray[np.uint8]
    tables: tuple[NeighbourTable, ...]
    hop_table: int
    postings: Postings
    popular: NDArray[np.int32]
    popular_score: NDArray[np.float64]
    denied: NDArray[np.bool_]
    exclude_ordered: bool


class Workspace(NamedTuple):
    """Working memory of a thread.

    Items that a source meets lie in slots 0, 1, …, the session's own first, the latest first:
    `aid[slot]`, `score[source, slot]` (0: not proposed); `slot_of[aid]` is −1 elsewhere. Those
    among the best of a source are the union: `member[place]` is a slot, `fact[:, place]` what
    `FACTS` says of it; `place_of[slot]` is −1 elsewhere. `cycles[source]` is what the source has
    taken of the processor's time so far.
    """

    slot_of: NDArray[np.int32]
    aid: NDArray[np.int32]
    score: NDArray[np.float64]
    key: NDArray[np.int64]
    place_of: NDArray[np.int32]
    member: NDArray[np.int32]
    fact: NDArray[np.uint16]
    similarities: Similarities
    neighbour: NDArray[np.int64]
    similarity: NDArray[np.float64]
    mark: NDArray[np.int64]
    cycles: NDArray[np.int64]


def sources_of(
    log: EventLog,
    tables: tuple[NeighbourTable, ...],
    postings: Postings,
    popular: pl.DataFrame,
    eligibility: Eligibility,
) -> Sources:
    """The sources of a log: a table per matrix, and the popular items with their scores."""
    return Sources(
        log.session_start,
        log.aid,
        log.type,
        tables,
        HOP_TABLE,
        postings,
        popular["aid"].to_numpy(),
        popular["score"].to_numpy(),
        eligibility.denied,
        eligibility.exclude_ordered,
    )


def open_sources(inputs: Inputs, settings: Settings) -> Sources:
    """Map what stands behind the sources of a lane, from the datasets by their names.

    In a lane without an input `eligibility` no item is denied.
    """
    log = open_event_log(inputs["event_log"])
    eligibility = open_eligibility(inputs.get("eligibility"), log, settings)
    return sources_of(
        log,
        open_neighbours(inputs["neighbours"]),
        open_postings(inputs["postings"]),
        popular_items(inputs["popularity"], eligibility.denied),
        eligibility,
    )


def make_workspace(sources: Sources) -> Workspace:
    """Working memory as large as the log has items; pages count once they are touched."""
    n_items, n_sources = len(sources.postings.sessions), len(sources.tables) + BESIDE_TABLES
    largest = n_sources * SOURCE_LIMIT
    return Workspace(
        np.full(n_items, -1, np.int32),
        np.empty(n_items, np.int32),
        np.zeros((n_sources, n_items)),
        np.empty(n_items, np.int64),
        np.full(n_items, -1, np.int32),
        np.empty(largest, np.int32),
        np.empty((n_sources + SESSION_FACTS, largest), np.uint16),
        make_similarities(),
        np.empty(NEIGHBOURS, np.int64),
        np.empty(NEIGHBOURS),
        np.full(n_items, -1, np.int64),
        np.zeros(n_sources, np.int64),
    )


@njit(cache=True, nogil=True)
def fill_union(session: int, sources: Sources, work: Workspace) -> tuple[int, int]:
    """Fill the workspace for a session; return the sizes of its union and of its slots.

    `clear_union` is due before the next session.
    """
    began = cycles()
    own = _add_history(session, sources, work)
    began = _charge(0, began, work)
    near = _add_first_hop(own, sources.tables, work)
    began = cycles()  # the first hop has charged each of its tables
    slots = _add_second_hop(own, near, sources.tables[sources.hop_table], work)
    began = _charge(SECOND_HOP, began, work)
    slots = _add_similar_sessions(session, own, slots, sources, work)
    began = _charge(SESSION_KNN, began, work)
    slots = _add_popular(slots, sources, work)
    began = _charge(POPULARITY, began, work)
    size = 0
    for source in range(len(work.score)):
        last = near if source < len(work.score) + SECOND_HOP else slots
        size = _rank(source, last, size, work)
        began = _charge(source, began, work)
    events = sources.session_start[session + 1] - sources.session_start[session]
    work.fact[OWN_ITEMS, :size] = min(own, LARGEST_FACT)
    work.fact[EVENTS, :size] = min(events, LARGEST_FACT)
    return size, slots


@inner_njit
def _charge(source: int, began: int, work: Workspace) -> int:
    """Add the cycles since `began` to the source's; return where the counter is."""
    now = cycles()
    work.cycles[source] += now - began
    return now


@inner_njit
def drop_ineligible(session: int, size: int, sources: Sources, work: Workspace) -> int:
    """Take out of the union what may not be recommended to the session; return its new size.

    Items that the session has ordered stay where nothing else would be left.
    """
    denied, ordered = 0, 0
    for place in range(size):
        if sources.denied[work.aid[work.member[place]]]:
            work.mark[work.member[place]] = DENIED
            denied += 1
    if sources.exclude_ordered:
        ordered = _mark_ordered(session, sources, work)
    dropped = ORDERED if denied + ordered < size else DENIED
    kept = 0
    for place in range(size):
        slot = work.member[place]
        if work.mark[slot] > dropped:
            work.member[kept] = slot
            for fact in range(len(work.score)):
                work.fact[fact, kept] = work.fact[fact, place]
            work.place_of[slot] = kept
            kept += 1
    return kept


@inner_njit
def _mark_ordered(session: int, sources: Sources, work: Workspace) -> int:
    """Mark members of the union that the session has ordered; return how many were not denied."""
    found = 0
    for event in range(sources.session_start[session], sources.session_start[session + 1]):
        slot = work.slot_of[sources.aid[event]]
        is_member = work.place_of[slot] >= 0 and work.mark[slot] > ORDERED
        if sources.type[event] == ORDER and is_member:
            work.mark[slot] = ORDERED
            found += 1
    return found


@inner_njit
def clear_union(slots: int, work: Workspace) -> None:
    """Make the workspace ready for the next session."""
    for slot in range(slots):
        work.slot_of[work.aid[slot]] = -1
        work.place_of[slot] = -1
        work.mark[slot] = -1
    for source in range(len(work.score)):
        for slot in range(slots):
            work.score[source, slot] = 0


@inner_njit
def _slot(item: int, size: int, work: Workspace) -> int:
    """The item's slot, the next one (`size`) where it had none."""
    slot = work.slot_of[item]
    if slot < 0:
        slot = size
        work.slot_of[item] = slot
        work.aid[slot] = item
    return slot


@inner_njit
def _add_history(session: int, sources: Sources, work: Workspace) -> int:
    """Score own items (2^r − 1) × type weight for each event; r grows from .1 to 1 at the latest
    (OTTO.md, seed).
    """
    begin, end = sources.session_start[session], sources.session_start[session + 1]
    size = 0
    for event in range(end - 1, begin - 1, -1):
        size = max(size, _slot(sources.aid[event], size, work) + 1)
    for event in range(begin, end):
        recency = 1.0 if end - begin == 1 else 0.1 + 0.9 * (event - begin) / (end - begin - 1)
        weight = TYPE_WEIGHTS[sources.type[event]]
        work.score[0, work.slot_of[sources.aid[event]]] += (2**recency - 1) * weight
    return size


@njit(cache=True, nogil=True)
def _add_first_hop(own: int, tables: tuple[NeighbourTable, ...], work: Workspace) -> int:
    """Score the neighbours of own items by each matrix: Σ share / (1 + k), where k is the recency
    rank of the own item, which is its slot (RANKING.md, `share`).
    """
    size, began = own, cycles()
    for number in range(len(tables)):
        for slot in range(own):
            size = _add_row(work.aid[slot], 1 / (1 + slot), 1 + number, size, tables[number], work)
        began = _charge(1 + number, began, work)
    return size


@inner_njit
def _add_row(
    x: int, weight: float, source: int, size: int, table: NeighbourTable, work: Workspace
) -> int:
    for place in range(table.start[x], table.start[x + 1]):
        slot = _slot(table.neighbour[place], size, work)
        size = max(size, slot + 1)
        work.score[source, slot] += weight * table.share[place]
    return size


@njit(cache=True, nogil=True)
def _add_second_hop(own: int, size: int, table: NeighbourTable, work: Workspace) -> int:
    """Score the neighbours of the best new items of the first hop: Σ score in that × share.

    1st place in the contest: such chains were its strongest features for orders (OTTO.md, §2).
    """
    first_hop = work.score[SECOND_HOP]  # until it is overwritten with what it leads to
    for slot in range(own, size):
        for source in range(1, len(work.score) + SECOND_HOP):
            first_hop[slot] += work.score[source, slot]
    weights = np.empty(_best_first(first_hop, own, size, HOP_SOURCES, work))
    for place in range(len(weights)):
        weights[place] = first_hop[work.slot_of[work.key[place] & NUMBER_MASK]]
    first_hop[own:size] = 0
    for place in range(len(weights)):
        x = work.key[place] & NUMBER_MASK
        size = _add_row(x, weights[place], SECOND_HOP, size, table, work)
    return size


@inner_njit
def _add_similar_sessions(
    session: int, own: int, size: int, sources: Sources, work: Workspace
) -> int:
    n_sessions = len(sources.session_start) - 1
    kept = most_similar(
        session,
        n_sessions,
        work.aid,
        own,
        sources.postings,
        work.similarities,
        work.neighbour,
        work.similarity,
    )
    for number in range(kept):
        prefetch(sources.session_start, work.neighbour[number])
    for number in range(kept):
        prefetch(sources.aid, sources.session_start[work.neighbour[number] + 1] - 1)
    for number in range(kept):
        _prefetch_slots(number + PREFETCHED, kept, sources, work)
        size = add_items_of_session(
            sources.session_start[work.neighbour[number]],
            sources.session_start[work.neighbour[number] + 1],
            work.similarity[number],
            own,
            sources.aid,
            work.slot_of,
            work.aid,
            size,
            work.score[SESSION_KNN],
            work.mark,
            number,
        )
    return size


@inner_njit
def _prefetch_slots(number: int, kept: int, sources: Sources, work: Workspace) -> None:
    """Ask for the slots of the items of a similar session that will be looked at soon."""
    if number < kept:
        session = work.neighbour[number]
        for event in range(sources.session_start[session], sources.session_start[session + 1]):
            prefetch(work.slot_of, sources.aid[event])


@inner_njit
def _add_popular(size: int, sources: Sources, work: Workspace) -> int:
    for place in range(len(sources.popular)):
        slot = _slot(sources.popular[place], size, work)
        size = max(size, slot + 1)
        work.score[POPULARITY, slot] = sources.popular_score[place]
    return size


@njit(cache=True, nogil=True)
def _rank(source: int, slots: int, size: int, work: Workspace) -> int:
    """Rank the best of a source among slots 0 … slots−1, and take them into the union.

    Returns the union's size.
    """
    ranked = _best_first(work.score[source], 0, slots, SOURCE_LIMIT, work)
    for number in range(ranked):
        slot = work.slot_of[work.key[number] & NUMBER_MASK]
        place = work.place_of[slot]
        if place < 0:
            place = size
            work.place_of[slot] = place
            work.member[place] = slot
            work.fact[: len(work.score), place] = UNRANKED
            size += 1
        work.fact[source, place] = number + 1
    return size


@njit(cache=True, nogil=True)
def _best_first(
    score: NDArray[np.float64], first: int, last: int, wanted: int, work: Workspace
) -> int:
    """Write the best items of slots first … last−1 that have a score > 0 into the bits of `key`.

    By falling score in single precision, ties by item; returns how many they are.
    """
    count = 0
    for slot in range(first, last):
        if score[slot] > 0:
            work.key[count] = best_first_key(score[slot], work.aid[slot])
            count += 1
    return sort_smallest(work.key, count, wanted)
