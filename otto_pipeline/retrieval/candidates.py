"""Event log, matrices, popularity → candidates: for each query session the items it may want.

All sources run in one pass over a shard of sessions; their union is ordered by the list that needs
no labels (history first, then the sum of reciprocal ranks) and its best `max_candidates` are kept.
"""

from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray

from otto_pipeline.compute.threads import map_blocks
from otto_pipeline.events.eligibility import ORDER, Eligibility, open_eligibility
from otto_pipeline.events.event_log import EventLog, open_event_log
from otto_pipeline.retrieval.neighbours import NeighbourTable, open_neighbours
from otto_pipeline.retrieval.popularity import popular_items
from otto_pipeline.retrieval.session_knn import (
    CONSTANTS,
    NEIGHBOURS,
    Postings,
    add_items_of_session,
    make_similarities,
    most_similar,
    open_postings,
)
from otto_pipeline.retrieval.sources import (
    CANDIDATES,
    LIST_WEIGHTS,
    POPULAR_ITEMS,
    RANK_OFFSET,
    SOURCE_LIMIT,
    SOURCES,
)
from otto_pipeline.settings import Settings
from otto_pipeline.store.dataset import Dataset, Figures
from otto_pipeline.store.stage import Inputs, Stage

TYPE_WEIGHTS = np.array([1.0, 3.0, 6.0])
"""Weight of a click, cart, order of the session's own (OTTO.md, seed)."""
SESSIONS_PER_GB = 24_000
"""Query sessions with 100 candidates of one source that a stage holds, with features, in a GB."""


def sessions_in_shard(settings: Settings) -> int:
    """Query sessions of one shard: the setting, or fewer where the memory budget is small."""
    affordable = int(
        settings.memory_gb * SESSIONS_PER_GB * 100 / settings.max_candidates / len(SOURCES)
    )
    return max(1, min(settings.sessions_per_shard, affordable))


def query_sessions(sessions: Dataset) -> NDArray[np.int32]:
    """The sessions to be predicted, ascending."""
    return sessions.scan().filter("query").select("session").collect()["session"].to_numpy()


def _shards(inputs: Inputs, settings: Settings) -> int:
    queries = inputs["sessions"].total("queries")
    return max(1, -(-queries // sessions_in_shard(settings)))


def write_candidates(inputs: Inputs, shard: int, settings: Settings, path: Path) -> Figures:
    """Candidates of one range of query sessions, best first."""
    size = sessions_in_shard(settings)
    queries = query_sessions(inputs["sessions"])[shard * size : (shard + 1) * size]
    frame, removed = candidates_of(inputs, queries, settings.max_candidates, settings)
    frame.write_parquet(path)
    return {"sessions": len(queries), "candidates": frame.height, "ineligible_removed": removed}


def candidates_of(
    inputs: Inputs, queries: NDArray[np.int32], max_candidates: int, settings: Settings
) -> tuple[pl.DataFrame, int]:
    """What `candidates` makes of the inputs of `CANDIDATES_STAGE` for some query sessions."""
    log = open_event_log(inputs["event_log"])
    eligibility = open_eligibility(inputs["eligibility"], log, settings)
    return candidates(
        log,
        queries,
        open_neighbours(inputs["neighbours"]),
        open_postings(inputs["postings"]),
        popular_items(inputs["popularity"], eligibility.denied),
        eligibility,
        max_candidates,
        settings.threads,
    )


def candidates(
    log: EventLog,
    queries: NDArray[np.int32],
    tables: tuple[NeighbourTable, ...],
    postings: Postings,
    popular: pl.DataFrame,
    eligibility: Eligibility,
    max_candidates: int,
    threads: int,
) -> tuple[pl.DataFrame, int]:
    """The `CANDIDATES` rows of the given sessions: one table per matrix, popular items by score.

    And how many items of the sessions' unions were removed as they are not eligible.
    """
    kernel = partial(
        _candidates_of_block,
        queries,
        log.session_start,
        log.aid,
        log.type,
        tables,
        postings,
        popular["aid"].to_numpy(),
        popular["score"].to_numpy(),
        TYPE_WEIGHTS,
        np.array([LIST_WEIGHTS[source] for source in SOURCES]),
        log.n_items,
        eligibility.denied,
        eligibility.exclude_ordered,
        max_candidates,
    )
    cost = np.diff(log.session_start)[queries] + len(popular)
    frames, removed = [CANDIDATES.empty()], 0
    for *columns, removed_of_block in map_blocks(kernel, cost, threads):
        frames.append(_frame(*columns))
        removed += removed_of_block
    return pl.concat(frames), removed


def _frame(
    session: NDArray[np.int32],
    aid: NDArray[np.int32],
    ranks: NDArray[np.uint16],
    scores: NDArray[np.float32],
    pre_score: NDArray[np.float32],
) -> pl.DataFrame:
    columns: dict[str, NDArray] = {"session": session, "aid": aid}
    for index, source in enumerate(SOURCES):
        columns[f"{source}_rank"] = ranks[index]
        columns[f"{source}_score"] = scores[index]
    columns["pre_score"] = pre_score
    frame = pl.DataFrame(columns, schema=CANDIDATES.empty().schema)
    return frame.with_columns(
        pl.when(pl.col(f"{source}_rank") > 0)
        .then(pl.col(f"{source}_{kind}"))
        .alias(f"{source}_{kind}")
        for source in SOURCES
        for kind in ("score", "rank")
    )


@njit(cache=True, nogil=True)
def _candidates_of_block(
    queries: NDArray[np.int32],
    session_start: NDArray[np.int64],
    aid: NDArray[np.int32],
    type_: NDArray[np.uint8],
    tables: tuple[NeighbourTable, ...],
    postings: Postings,
    popular: NDArray[np.int32],
    popular_score: NDArray[np.float64],
    type_weights: NDArray[np.float64],
    list_weights: NDArray[np.float64],
    n_items: int,
    denied: NDArray[np.bool_],
    exclude_ordered: bool,
    max_candidates: int,
    first: int,
    last: int,
) -> tuple[NDArray, NDArray, NDArray, NDArray, NDArray, int]:
    """Candidates of queries first … last−1, and how many items were not eligible.

    A session's union lies in slots 0, 1, …; `slot_of[item]` is its slot, −1 outside the union: 24
    bytes an item and thread. All sums of one session are made here, in one order, so that they do
    not depend on blocks or threads.
    """
    n_sources = len(list_weights)
    slot_of = np.full(n_items, -1, np.int32)
    items = np.empty(n_items, np.int32)
    n_sessions = len(session_start) - 1
    similar = make_similarities()
    neighbours, similarities = np.empty(NEIGHBOURS, np.int64), np.empty(NEIGHBOURS)
    knn_score, added, visit = np.zeros(n_items), np.zeros(n_items, np.int64), 0
    rows = (last - first) * max_candidates
    out_session = np.empty(rows, np.int32)
    out_aid = np.empty(rows, np.int32)
    out_ranks = np.zeros((n_sources, rows), np.uint16)
    out_scores = np.zeros((n_sources, rows), np.float32)
    out_pre_score = np.empty(rows, np.float32)
    row, n_removed = 0, 0
    for query in range(first, last):
        session = queries[query]
        begin, end = session_start[session], session_start[session + 1]
        own = _own_items(begin, end, aid, slot_of, items)
        size = _add_neighbours(items, own, tables, slot_of)
        kept = most_similar(
            session, n_sessions, items, own, postings, similar, neighbours, similarities
        )
        for number in range(kept):
            visit += 1
            size = add_items_of_session(
                session_start[neighbours[number]],
                session_start[neighbours[number] + 1],
                similarities[number],
                own,
                aid,
                slot_of,
                items,
                size,
                knn_score,
                added,
                visit,
            )
        for item in popular:
            size = _add(item, slot_of, items, size)
        scores = np.zeros((n_sources, size), np.float64)
        scores[n_sources - 2] = knn_score[:size]
        knn_score[:size] = 0
        _score_history(begin, end, aid, type_, type_weights, slot_of, scores[0])
        for number in range(len(tables)):
            _score_neighbours(items, scores[0], tables[number], slot_of, scores[1 + number])
        for place in range(len(popular)):
            scores[n_sources - 1, slot_of[popular[place]]] = popular_score[place]
        by_item = np.argsort(items[:size])
        ranks = _ranks(scores, by_item)
        pre_score = _list_score(ranks, list_weights)
        removed = denied[items[:size]]
        if exclude_ordered:
            _remove_ordered(begin, end, aid, type_, slot_of, removed)
        n_removed += removed.sum()
        best = _best_first(pre_score, by_item[~removed[by_item]])[:max_candidates]
        for slot in best:
            out_session[row] = session
            out_aid[row] = items[slot]
            out_pre_score[row] = pre_score[slot]
            for source in range(n_sources):
                out_ranks[source, row] = ranks[source, slot]
                out_scores[source, row] = scores[source, slot]
            row += 1
        for slot in range(size):
            slot_of[items[slot]] = -1
    return (
        out_session[:row],
        out_aid[:row],
        out_ranks[:, :row],
        out_scores[:, :row],
        out_pre_score[:row],
        n_removed,
    )


@njit(cache=True, nogil=True)
def _own_items(
    begin: int,
    end: int,
    aid: NDArray[np.int32],
    slot_of: NDArray[np.int32],
    items: NDArray[np.int32],
) -> int:
    """Give the session's own items the first slots, the latest first; return how many."""
    size = 0
    for event in range(end - 1, begin - 1, -1):
        size = _add(aid[event], slot_of, items, size)
    return size


@njit(cache=True, nogil=True)
def _add_neighbours(
    items: NDArray[np.int32],
    own: int,
    tables: tuple[NeighbourTable, ...],
    slot_of: NDArray[np.int32],
) -> int:
    """Give the neighbours of the session's own items slots; return the union's size."""
    size = own
    for table in tables:
        for slot in range(own):
            x = items[slot]
            for place in range(table.start[x], table.start[x + 1]):
                size = _add(table.neighbour[place], slot_of, items, size)
    return size


@njit(cache=True, nogil=True, inline="always")
def _add(item: int, slot_of: NDArray[np.int32], items: NDArray[np.int32], size: int) -> int:
    if slot_of[item] >= 0:
        return size
    slot_of[item] = size
    items[size] = item
    return size + 1


@njit(cache=True, nogil=True)
def _score_history(
    begin: int,
    end: int,
    aid: NDArray[np.int32],
    type_: NDArray[np.uint8],
    type_weights: NDArray[np.float64],
    slot_of: NDArray[np.int32],
    score: NDArray[np.float64],
) -> None:
    """Add (2^r − 1) × type weight for each event; r grows from .1 to 1 at the latest (seed)."""
    for event in range(begin, end):
        recency = 1.0 if end - begin == 1 else 0.1 + 0.9 * (event - begin) / (end - begin - 1)
        score[slot_of[aid[event]]] += (2**recency - 1) * type_weights[type_[event]]


@njit(cache=True, nogil=True)
def _score_neighbours(
    items: NDArray[np.int32],
    own_score: NDArray[np.float64],
    table: NeighbourTable,
    slot_of: NDArray[np.int32],
    score: NDArray[np.float64],
) -> None:
    """Add, for each neighbour of each of the session's items, its share × the item's score."""
    for slot in range(len(own_score)):
        if own_score[slot] == 0:
            break  # the session's own items have the first slots
        x = items[slot]
        for place in range(table.start[x], table.start[x + 1]):
            score[slot_of[table.neighbour[place]]] += own_score[slot] * table.share[place]


@njit(cache=True, nogil=True)
def _ranks(scores: NDArray[np.float64], by_item: NDArray[np.int64]) -> NDArray[np.uint16]:
    """Rank of each slot in each source, from 1; 0 where it is not among the source's proposals."""
    ranks = np.zeros(scores.shape, np.uint16)
    for source in range(scores.shape[0]):
        proposed = by_item[scores[source][by_item] > 0]
        best = _best_first(scores[source], proposed)[:SOURCE_LIMIT]
        for place in range(len(best)):
            ranks[source, best[place]] = place + 1
    return ranks


@njit(cache=True, nogil=True)
def _remove_ordered(
    begin: int,
    end: int,
    aid: NDArray[np.int32],
    type_: NDArray[np.uint8],
    slot_of: NDArray[np.int32],
    removed: NDArray[np.bool_],
) -> None:
    """Remove the items that the session has ordered, unless nothing else would be left."""
    others = ~removed
    for event in range(begin, end):
        if type_[event] == ORDER:
            others[slot_of[aid[event]]] = False
    if others.any():
        removed[:] = ~others


@njit(cache=True, nogil=True)
def _best_first(score: NDArray[np.float64], by_item: NDArray[np.int64]) -> NDArray[np.int64]:
    """Slots by falling score, ties by item."""
    return by_item[np.argsort(-score[by_item], kind="mergesort")]


@njit(cache=True, nogil=True)
def _list_score(
    ranks: NDArray[np.uint16], list_weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The list that needs no labels: history first, then the sum of reciprocal ranks."""
    score = np.zeros(ranks.shape[1])
    for slot in range(ranks.shape[1]):
        if ranks[0, slot] > 0:
            score[slot] = 1.0
        for source in range(ranks.shape[0]):
            if ranks[source, slot] > 0:
                score[slot] += list_weights[source] / (RANK_OFFSET + ranks[source, slot])
    return score


CANDIDATES_STAGE = Stage(
    write=write_candidates,
    version=f"2 {LIST_WEIGHTS} {RANK_OFFSET} {SOURCE_LIMIT} {POPULAR_ITEMS} {CONSTANTS}",
    shards=_shards,
    settings=("max_candidates", "exclude_ordered"),
    layout=("sessions_per_shard", "memory_gb"),
)
