"""Event log, matrices, postings, popularity → candidates: what each query session may want.

All sources run in one pass over a shard of sessions; their union is ordered by the pre-score and
its best `max_candidates` are kept.
"""

from pathlib import Path

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray

from otto_pipeline.compute.kernels import inner_njit
from otto_pipeline.compute.threads import map_blocks
from otto_pipeline.events.hashing import draw
from otto_pipeline.folds import row_folds
from otto_pipeline.retrieval.best import NUMBER_MASK, best_first_key, sort_smallest
from otto_pipeline.retrieval.pre_ranker import NO_TREES, Trees, add_trees, open_pre_rankers
from otto_pipeline.retrieval.sources import (
    CANDIDATES,
    LIST_WEIGHTS,
    RANK_OFFSET,
    SOURCES,
    UNION_VERSION,
)
from otto_pipeline.retrieval.union import (
    UNRANKED,
    Sources,
    Workspace,
    clear_union,
    drop_ineligible,
    fill_union,
    make_workspace,
    open_sources,
)
from otto_pipeline.settings import Settings
from otto_pipeline.store.dataset import Dataset, Figures
from otto_pipeline.store.stage import Inputs, Stage

SESSIONS_PER_GB = 24_000
"""Query sessions with 100 candidates of one source that a stage holds, with features, in a GB."""


def sessions_in_shard(settings: Settings) -> int:
    """Query sessions of one shard: the setting, or fewer where the memory budget is small."""
    affordable = int(
        settings.memory_gb * SESSIONS_PER_GB * 100 / settings.max_candidates / len(SOURCES)
    )
    return max(1, min(settings.sessions_per_shard, affordable))


def query_sessions(sessions: Dataset, *columns: str) -> pl.DataFrame:
    """The sessions to be predicted, ascending: column session, and those named."""
    return sessions.scan().filter("query").select("session", *columns).collect()


def _shards(inputs: Inputs, settings: Settings) -> int:
    queries = inputs["sessions"].total("queries")
    return max(1, -(-queries // sessions_in_shard(settings)))


def write_candidates(inputs: Inputs, shard: int, settings: Settings, path: Path) -> Figures:
    """Candidates of one range of query sessions, best first."""
    sessions = query_sessions(inputs["sessions"], "hash")
    part = sessions.slice(shard * sessions_in_shard(settings), sessions_in_shard(settings))
    pre_rankers = open_pre_rankers(inputs["pre_rankers"])
    draws = draw(part["hash"], settings.seed, "folds").to_numpy()
    frame, figures = candidates(
        open_sources(inputs, settings),
        part["session"].to_numpy(),
        settings.max_candidates,
        settings.threads,
        pre_rankers,
        row_folds(draws, max(1, len(pre_rankers.leaf))),
    )
    frame.write_parquet(path)
    return {"sessions": part.height, "candidates": frame.height, **figures}


def candidates(
    sources: Sources,
    queries: NDArray[np.int32],
    max_candidates: int,
    threads: int,
    pre_rankers: Trees = NO_TREES,
    model_of: NDArray[np.int64] | None = None,
) -> tuple[pl.DataFrame, Figures]:
    """The `CANDIDATES` rows of sessions, and figures: how many items were removed as not eligible,
    and the processor's cycles by source.

    queries[i] is ordered by the pre-ranker model_of[i], all by the list where there is none.
    """
    weights = np.array([LIST_WEIGHTS[source] for source in SOURCES])
    models = np.zeros(len(queries), np.int64) if model_of is None else model_of

    def kernel(first: int, last: int) -> tuple:
        work = make_workspace(sources)
        of_all = (queries, sources, weights, pre_rankers, models, max_candidates)
        return *_candidates_of_block(*of_all, work, first, last), work.cycles

    cost = np.diff(sources.session_start)[queries] + len(sources.popular)
    frames, removed, cycles = [CANDIDATES.empty()], 0, np.zeros(len(SOURCES), np.int64)
    for *columns, removed_of_block, cycles_of_block in map_blocks(kernel, cost, threads):
        frames.append(_frame(*columns))
        removed += removed_of_block
        cycles += cycles_of_block
    by_source = dict(zip(SOURCES, cycles.tolist(), strict=True))
    return pl.concat(frames), {"ineligible_removed": removed, "cycles": by_source}


def _frame(
    session: NDArray[np.int32],
    aid: NDArray[np.int32],
    ranks: NDArray[np.uint16],
    scores: NDArray[np.float32],
    list_score: NDArray[np.float32],
    pre_score: NDArray[np.float32],
) -> pl.DataFrame:
    columns: dict[str, NDArray] = {"session": session, "aid": aid}
    for index, source in enumerate(SOURCES):
        columns[f"{source}_rank"] = ranks[index]
        columns[f"{source}_score"] = scores[index]
    columns |= {"list_score": list_score, "pre_score": pre_score}
    frame = pl.DataFrame(columns, schema=CANDIDATES.empty().schema)
    return frame.with_columns(
        pl.when(pl.col(f"{source}_rank") < UNRANKED)
        .then(pl.col(f"{source}_{kind}"))
        .alias(f"{source}_{kind}")
        for source in SOURCES
        for kind in ("score", "rank")
    )


@njit(cache=True, nogil=True)
def _candidates_of_block(
    queries: NDArray[np.int32],
    sources: Sources,
    list_weights: NDArray[np.float64],
    pre_rankers: Trees,
    model_of: NDArray[np.int64],
    max_candidates: int,
    work: Workspace,
    first: int,
    last: int,
) -> tuple[NDArray, NDArray, NDArray, NDArray, NDArray, NDArray, int]:
    """Candidates of queries first … last−1, and how many items were not eligible."""
    n_sources = len(list_weights)
    largest = work.fact.shape[1]
    list_score, pre_score = np.empty(largest, np.float32), np.empty(largest, np.float32)
    rows = (last - first) * min(max_candidates, largest)
    out_session = np.empty(rows, np.int32)
    out_aid = np.empty(rows, np.int32)
    out_ranks = np.empty((n_sources, rows), np.uint16)
    out_scores = np.empty((n_sources, rows), np.float32)
    out_list_score, out_pre_score = np.empty(rows, np.float32), np.empty(rows, np.float32)
    row, removed = 0, 0
    for query in range(first, last):
        union, slots = fill_union(queries[query], sources, work)
        size = drop_ineligible(queries[query], union, sources, work)
        removed += union - size
        _score_by_list(list_weights, work.fact, size, list_score)
        if len(pre_rankers.leaf) == 0:
            pre_score[:size] = list_score[:size]
        else:
            pre_score[:size] = 0
            add_trees(model_of[query], pre_rankers, work.fact, size, pre_score)
        for place in range(size):
            work.key[place] = best_first_key(pre_score[place], work.aid[work.member[place]])
        for number in range(sort_smallest(work.key, size, max_candidates)):
            slot = work.slot_of[work.key[number] & NUMBER_MASK]
            place = work.place_of[slot]
            out_session[row] = queries[query]
            out_aid[row] = work.aid[slot]
            out_list_score[row], out_pre_score[row] = list_score[place], pre_score[place]
            for source in range(n_sources):
                out_ranks[source, row] = work.fact[source, place]
                out_scores[source, row] = work.score[source, slot]
            row += 1
        clear_union(slots, work)
    return (
        out_session[:row],
        out_aid[:row],
        out_ranks[:, :row],
        out_scores[:, :row],
        out_list_score[:row],
        out_pre_score[:row],
        removed,
    )


@inner_njit
def _score_by_list(
    list_weights: NDArray[np.float64],
    fact: NDArray[np.uint16],
    size: int,
    score: NDArray[np.float32],
) -> None:
    """The list that needs no labels: history first, then the sum of reciprocal ranks."""
    for place in range(size):
        score[place] = fact[0, place] < UNRANKED
    for source in range(len(list_weights)):
        weight = list_weights[source]
        for place in range(size):
            rank = fact[source, place]
            score[place] += weight / (RANK_OFFSET + rank) if rank < UNRANKED else 0.0


CANDIDATES_STAGE = Stage(
    write=write_candidates,
    version=f"5 {LIST_WEIGHTS} {RANK_OFFSET} {UNION_VERSION}",
    shards=_shards,
    settings=("max_candidates", "seed", "exclude_ordered"),
    layout=("sessions_per_shard", "memory_gb"),
)
