"""Event log → co-visitation matrices: each item's heaviest neighbours.

For each item x walk its occurrences, for each occurrence its neighbours inside the window, add
their weights into a dense accumulator, keep the top k. No pair is ever materialised. Weights are
integers (fixed point), so a sum does not depend on the order in which sessions, shards or threads
are done; ties go to the smaller item index.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray

from otto_pipeline.compute.threads import map_blocks
from otto_pipeline.events.event_log import EventLog, open_event_log
from otto_pipeline.retrieval.matrices import MATRICES, Matrix
from otto_pipeline.schemas import COVISITATION
from otto_pipeline.settings import Settings
from otto_pipeline.store.dataset import Figures
from otto_pipeline.store.stage import Inputs, Stage

ONE = 2**20
"""The weight 1 in fixed point."""
RECENCY_GAIN = 3
"""A pair at the end of the log weighs 1 + this, one at its beginning 1."""


def covisitation_stage(matrix: Matrix) -> Stage:
    """The stage that builds one matrix; its shards are ranges of items."""
    return Stage(
        write=partial(write_matrix, matrix),
        version=f"1 {replace(matrix, source='')}",
        shards=_shards,
        layout=("items_per_shard",),
    )


def _shards(inputs: Inputs, settings: Settings) -> int:
    items = inputs["event_log"].figures()["items"]
    return max(1, -(-items // settings.items_per_shard))


def write_matrix(
    matrix: Matrix, inputs: Inputs, shard: int, settings: Settings, path: Path
) -> Figures:
    """Neighbours of the items of one range."""
    log = open_event_log(inputs["event_log"])
    first = shard * settings.items_per_shard
    last = min(first + settings.items_per_shard, log.n_items)
    frame = neighbours(log, matrix, first, last, settings.threads)
    frame.write_parquet(path)
    return {"items": frame["aid"].n_unique(), "neighbours": frame.height}


def write_matrices(
    inputs: Inputs, shard: int, settings: Settings, paths: Mapping[str, Path]
) -> dict[str, Figures]:
    """Neighbours of the items of one range, in each of the named matrices, in one pass."""
    named = {matrix.name: matrix for matrix in MATRICES}
    return {
        name: write_matrix(named[name], inputs, shard, settings, path)
        for name, path in paths.items()
    }


def neighbours(log: EventLog, matrix: Matrix, first: int, last: int, threads: int) -> pl.DataFrame:
    """The `COVISITATION` rows of items first … last−1."""
    start, aid, ts, type_ = _window(
        log.session_start, log.aid, log.ts, log.type, _type_mask(matrix), matrix.last_events
    )
    occurrence_start, occurrences = _index(aid, first, last)
    session_of = np.repeat(np.arange(len(start) - 1, dtype=np.int32), np.diff(start))
    kernel = partial(
        _neighbours_of_block,
        start,
        aid,
        ts,
        type_,
        session_of,
        occurrence_start,
        occurrences,
        first,
        log.n_items,
        matrix.max_seconds,
        np.array(matrix.type_weights, np.int64),
        RECENCY_GAIN * ONE / max(log.last_second, 1) if matrix.by_recency else 0.0,
        matrix.once,
        matrix.top_k,
    )
    frames = [_frame(*block) for block in map_blocks(kernel, np.diff(occurrence_start), threads)]
    return pl.concat([COVISITATION.empty(), *frames])


def _frame(
    aid: NDArray[np.int32],
    neighbour: NDArray[np.int32],
    weight: NDArray[np.int64],
    rank: NDArray[np.uint16],
) -> pl.DataFrame:
    columns = {
        "aid": aid,
        "neighbour": neighbour,
        "weight": (weight / ONE).astype(np.float32),
        "rank": rank,
    }
    return pl.DataFrame(columns, schema=COVISITATION.empty().schema)


def _type_mask(matrix: Matrix) -> NDArray[np.bool_]:
    mask = np.zeros(3, np.bool_)
    mask[list(matrix.types)] = True
    return mask


@njit(cache=True, nogil=True)
def _window(
    session_start: NDArray[np.int64],
    aid: NDArray[np.int32],
    ts: NDArray[np.int32],
    type_: NDArray[np.uint8],
    wanted: NDArray[np.bool_],
    last_events: int,
) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """The log cut to each session's last events of the wanted types, as CSR arrays."""
    sessions = len(session_start) - 1
    start = np.zeros(sessions + 1, np.int64)
    for session in range(sessions):
        kept = 0
        for event in range(session_start[session], session_start[session + 1]):
            kept += wanted[type_[event]]
        start[session + 1] = start[session] + min(kept, last_events)
    out_aid = np.empty(start[-1], np.int32)
    out_ts = np.empty(start[-1], np.int32)
    out_type = np.empty(start[-1], np.uint8)
    for session in range(sessions):
        place = start[session + 1]
        event = session_start[session + 1] - 1
        while place > start[session]:
            if wanted[type_[event]]:
                place -= 1
                out_aid[place] = aid[event]
                out_ts[place] = ts[event]
                out_type[place] = type_[event]
            event -= 1
    return start, out_aid, out_ts, out_type


@njit(cache=True, nogil=True)
def _index(
    aid: NDArray[np.int32], first: int, last: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where each item of a range occurs: CSR of event numbers, ascending (a counting sort)."""
    start = np.zeros(last - first + 1, np.int64)
    for event in range(len(aid)):
        if first <= aid[event] < last:
            start[aid[event] - first + 1] += 1
    start = np.cumsum(start)
    occurrences = np.empty(start[-1], np.int64)
    place = start[:-1].copy()
    for event in range(len(aid)):
        if first <= aid[event] < last:
            item = aid[event] - first
            occurrences[place[item]] = event
            place[item] += 1
    return start, occurrences


@njit(cache=True, nogil=True)
def _neighbours_of_block(
    session_start: NDArray[np.int64],
    aid: NDArray[np.int32],
    ts: NDArray[np.int32],
    type_: NDArray[np.uint8],
    session_of: NDArray[np.int32],
    occurrence_start: NDArray[np.int64],
    occurrences: NDArray[np.int64],
    first_item: int,
    n_items: int,
    max_seconds: int,
    type_weights: NDArray[np.int64],
    recency: float,
    once: bool,
    top_k: int,
    first: int,
    last: int,
) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Top neighbours of the items first … last−1 of the range.

    Per thread 20 bytes an item of the log; per pair one random access to the accumulator (two
    where pairs count once).
    """
    sums = np.zeros(n_items, np.int64)
    counted_for = np.zeros(n_items, np.int32)  # the visit of x to a session that counted y
    touched = np.empty(n_items, np.int32)
    rows = (last - first) * top_k
    out_aid = np.empty(rows, np.int32)
    out_neighbour = np.empty(rows, np.int32)
    out_weight = np.empty(rows, np.int64)
    out_rank = np.empty(rows, np.uint16)
    row = 0
    visit = 0
    for item in range(first, last):
        x = first_item + item
        n_touched = 0
        session = -1
        # latest occurrence first: where a pair counts once, it is the one with the most weight
        for place in range(occurrence_start[item + 1] - 1, occurrence_start[item] - 1, -1):
            event = occurrences[place]
            if session_of[event] != session:
                session = session_of[event]
                visit += 1
            weight_x = ONE + round(recency * ts[event])
            begin, end = session_start[session], session_start[session + 1]
            left = event - 1
            while left >= begin and ts[event] - ts[left] < max_seconds:
                left -= 1
            for other in range(left + 1, end):
                if ts[other] - ts[event] >= max_seconds:
                    break
                y = aid[other]
                if y == x or (once and counted_for[y] == visit):
                    continue
                counted_for[y] = visit
                if sums[y] == 0:
                    touched[n_touched] = y
                    n_touched += 1
                sums[y] += weight_x * type_weights[type_[other]]
        kept = _keep_top(touched, n_touched, sums, top_k, out_neighbour[row:], out_weight[row:])
        for rank in range(kept):
            out_aid[row + rank] = x
            out_rank[row + rank] = rank + 1
        row += kept
    return out_aid[:row], out_neighbour[:row], out_weight[:row], out_rank[:row]


@njit(cache=True, nogil=True, inline="always")
def _keep_top(
    touched: NDArray[np.int32],
    n_touched: int,
    sums: NDArray[np.int64],
    top_k: int,
    out_item: NDArray[np.int32],
    out_sum: NDArray[np.int64],
) -> int:
    """Insert the touched items into a list of the k heaviest, and clear their sums."""
    kept = 0
    for index in range(n_touched):
        y = touched[index]
        weight = sums[y]
        sums[y] = 0
        place = kept
        while place > 0 and (
            weight > out_sum[place - 1]
            or (weight == out_sum[place - 1] and y < out_item[place - 1])
        ):
            place -= 1
        if place >= top_k:
            continue
        for shifted in range(min(kept, top_k - 1), place, -1):
            out_sum[shifted] = out_sum[shifted - 1]
            out_item[shifted] = out_item[shifted - 1]
        out_sum[place] = weight
        out_item[place] = y
        kept = min(kept + 1, top_k)
    return kept
