"""Session kNN: what the most similar other sessions hold.

The neighbours of a session are those that share items with it, the rarer and the more recent in
the session the more similar; their items count the more, the nearer they are to the last shared
one (VMIS-kNN, Kersbergen et al. 2022, with the weights of STAN, Garg et al. 2019; in the exact
form of RANKING.md). In goes the event log, out come `Postings`: which sessions hold each item.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray

from otto_pipeline.compute.kernels import inner_njit
from otto_pipeline.events.event_log import open_event_log
from otto_pipeline.retrieval.best import (
    NUMBER_MASK,
    best_first_key,
    score_of_key,
    sort_smallest,
)
from otto_pipeline.schemas import POSTINGS
from otto_pipeline.settings import Settings
from otto_pipeline.store.arrays import Layout, map_arrays
from otto_pipeline.store.dataset import Dataset, Figures
from otto_pipeline.store.stage import Inputs, Stage

LATEST = 500
"""Sessions that an item's posting list keeps: the last in the log's order, which is that of time in
OTTO's. A popular item has far more."""
OWN_ITEMS = 30
"""Items of a session by which its neighbours are looked for, its latest."""
NEIGHBOURS = 150
ITEM_DECAY = 0.5
"""The item of recency rank k (latest: 0) counts 1 / (1 + this × k)."""
LENGTH_OFFSET = 5
"""A neighbour's similarity is divided by √(this + its events)."""
DISTANCE_DECAY = 1.0
"""An item d runs from the last shared item counts 1 / (1 + this × d)."""
LENGTH_BITS = 12
LENGTH_MASK = 2**LENGTH_BITS - 1
TABLE_BITS = (2 * OWN_ITEMS * LATEST - 1).bit_length()
"""Of the hash table of similarities, which is at most half full."""
CONSTANTS = (OWN_ITEMS, NEIGHBOURS, ITEM_DECAY, LENGTH_OFFSET, DISTANCE_DECAY)
"""What decides the scores beside the postings."""
SPREAD = 0x2545F4914F6CDD1D
"""An odd number that spreads sessions over the table."""


class Postings(NamedTuple):
    """Item x is in the sessions entry[start[x] : start[x+1]], in order, of `sessions[x]` in all.

    An entry is session × 4096 + its number of events, at most 4095.
    """

    start: NDArray[np.int64]
    entry: NDArray[np.int64]
    sessions: NDArray[np.int32]


class Similarities(NamedTuple):
    """Working memory of a thread: a hash table of sessions (−1: free), where it is filled, and keys
    to sort them by.
    """

    session: NDArray[np.int64]
    similarity: NDArray[np.float64]
    filled: NDArray[np.int64]
    key: NDArray[np.int64]


def _layout(items: int, entries: int) -> Layout:
    return {
        "start": (np.int64, items + 1),
        "entry": (np.int64, entries),
        "sessions": (np.int32, items),
    }


def open_postings(dataset: Dataset) -> Postings:
    """Map the arrays of a dataset that `POSTINGS_STAGE` wrote."""
    return Postings(*map_arrays(dataset.files[0], _layout(**dataset.figures())))


def write_postings(inputs: Inputs, _shard: int, _settings: Settings, path: Path) -> Figures:
    """The postings of the lane's log."""
    log = open_event_log(inputs["event_log"])
    made = postings(log.session_start, log.aid, log.n_items)
    with path.open("wb") as file:
        for array in made:
            file.write(array.data)
    return {"items": log.n_items, "entries": len(made.entry)}


@njit(cache=True, nogil=True)
def postings(session_start: NDArray[np.int64], aid: NDArray[np.int32], n_items: int) -> Postings:
    """The latest sessions of each item: two passes over the events, 24 bytes an item."""
    sessions = np.zeros(n_items, np.int32)
    latest = np.full(n_items, -1, np.int64)
    for session in range(len(session_start) - 1):
        for event in range(session_start[session], session_start[session + 1]):
            if latest[aid[event]] != session:
                latest[aid[event]] = session
                sessions[aid[event]] += 1
    start = np.zeros(n_items + 1, np.int64)
    start[1:] = np.cumsum(np.minimum(sessions, LATEST))
    entry = np.empty(start[-1], np.int64)
    seen = np.zeros(n_items, np.int32)
    latest[:] = -1
    for session in range(len(session_start) - 1):
        begin, end = session_start[session], session_start[session + 1]
        for event in range(begin, end):
            item = aid[event]
            if latest[item] == session:
                continue
            latest[item] = session
            place = seen[item] - max(sessions[item] - LATEST, 0)
            seen[item] += 1
            if place >= 0:
                length = min(end - begin, LENGTH_MASK)
                entry[start[item] + place] = np.int64(session) << LENGTH_BITS | length
    return Postings(start, entry, sessions)


def make_similarities() -> Similarities:
    """Empty working memory."""
    places = 2**TABLE_BITS
    return Similarities(
        np.full(places, -1, np.int64),
        np.zeros(places),
        np.empty(places, np.int64),
        np.empty(places, np.int64),
    )


@njit(cache=True, nogil=True)
def most_similar(
    session: int,
    n_sessions: int,
    own: NDArray[np.int32],
    n_own: int,
    table: Postings,
    found: Similarities,
    neighbours: NDArray[np.int64],
    similarities: NDArray[np.float64],
) -> int:
    """Write the most similar sessions to one whose items are own[:n_own], the latest first.

    Returns their number; the most similar first, in single precision, ties to the later session.
    The session itself is not among them.
    """
    filled = 0
    for k in range(min(n_own, OWN_ITEMS)):
        x = own[k]
        rarity = np.log(1 + n_sessions / (1 + table.sessions[x]))
        weight = rarity / (1 + ITEM_DECAY * k)
        for number in range(table.start[x], table.start[x + 1]):
            other = table.entry[number]
            if other >> LENGTH_BITS == session:
                continue
            place = _place(other, found.session)
            if found.session[place] < 0:
                found.session[place] = other
                found.similarity[place] = 0
                found.filled[filled] = place
                filled += 1
            found.similarity[place] += weight
    for number in range(filled):
        place = found.filled[number]
        other = found.session[place]
        value = found.similarity[place] / np.sqrt(LENGTH_OFFSET + (other & LENGTH_MASK))
        found.key[number] = best_first_key(value, NUMBER_MASK - (other >> LENGTH_BITS))
        found.session[place] = -1
    kept = sort_smallest(found.key, filled, NEIGHBOURS)
    for number in range(kept):
        neighbours[number] = NUMBER_MASK - (found.key[number] & NUMBER_MASK)
        similarities[number] = score_of_key(found.key[number])
    return kept


@inner_njit
def _place(key: int, keys: NDArray[np.int64]) -> int:
    """Where a key is, or is to be put (linear probing)."""
    place = ((key >> LENGTH_BITS) * SPREAD >> 20) & (len(keys) - 1)
    while keys[place] >= 0 and keys[place] != key:
        place = (place + 1) & (len(keys) - 1)
    return place


@inner_njit
def add_items_of_session(
    begin: int,
    end: int,
    similarity: float,
    n_own: int,
    aid: NDArray[np.int32],
    slot_of: NDArray[np.int32],
    items: NDArray[np.int32],
    size: int,
    score: NDArray[np.float64],
    added: NDArray[np.int64],
    visit: int,
) -> int:
    """Add the items of a neighbour, events begin … end−1, to the scores; return the union's size.

    Each item counts once, at its nearest place after the last shared item, else before it. An
    item without a slot gets the next; slots below n_own are the session's own items.
    """
    last = end - 1
    while not 0 <= slot_of[aid[last]] < n_own:
        last -= 1
    for step in (1, -1):
        runs, before, event = 0, aid[last], last
        while begin <= event < end:
            runs += aid[event] != before
            before = aid[event]
            event += step
            slot = slot_of[before]
            if slot < 0:
                slot = size
                slot_of[before] = slot
                items[slot] = before
                size += 1
            if added[slot] != visit:
                added[slot] = visit
                score[slot] += similarity / (1 + DISTANCE_DECAY * runs)
    return size


def frames(dataset: Dataset) -> list[pl.LazyFrame]:
    """The postings as a table, one row for each item, for the check of the contract."""
    table = open_postings(dataset)
    return [
        pl.LazyFrame(
            {
                "aid": np.arange(len(table.sessions), dtype=np.int32),
                "sessions": table.sessions,
                "kept": np.diff(table.start).astype(np.int32),
            },
            schema=POSTINGS.empty().schema,
        )
    ]


POSTINGS_STAGE = Stage(write=write_postings, version=f"2 {LATEST}", file="postings.bin")
