"""Event log → co-visitation matrices: each item's heaviest neighbours.

Matrices that look at the same events are made in one pass (`pairs.py`); the shards of a matrix
are ranges of items x. Ties go to the smaller item index.

A log that no longer fits one host is done by ranges of sessions instead (`combiner.py`).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from itertools import groupby
from pathlib import Path

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray

from otto_pipeline.compute.kernels import inner_njit
from otto_pipeline.compute.threads import map_blocks
from otto_pipeline.events.event_log import EventLog, open_event_log
from otto_pipeline.retrieval.matrices import MATRICES
from otto_pipeline.retrieval.matrix import Matrix, Walk
from otto_pipeline.retrieval.pairs import Scratch, add_pairs, clear, make_scratch
from otto_pipeline.retrieval.rules import COSINE, LOG_COSINE, ONE, ROW, Rules, rules_of
from otto_pipeline.retrieval.walk import (
    Occurrences,
    PackedWalk,
    count_events,
    occurrences,
    pack,
)
from otto_pipeline.schemas import COVISITATION
from otto_pipeline.settings import Settings
from otto_pipeline.store.dataset import Dataset, Figures
from otto_pipeline.store.parquet import PieceWriter
from otto_pipeline.store.stage import Inputs, Stage

BLOCKS = 128
"""Blocks of items with about equal numbers of pairs, each a row group: as many for any threads."""


def covisitation_stage(matrix: Matrix) -> Stage:
    """The stage that builds one matrix; its shards are ranges of items."""
    return Stage(
        write=partial(write_matrix, matrix.name),
        version=f"2 {replace(matrix, source='')}",
        shards=_shards,
        layout=("items_per_shard",),
    )


def _shards(inputs: Inputs, settings: Settings) -> int:
    items = inputs["event_log"].figures()["items"]
    return max(1, -(-items // settings.items_per_shard))


def write_matrix(name: str, inputs: Inputs, shard: int, settings: Settings, path: Path) -> Figures:
    """Neighbours of the items of one range in one matrix."""
    return write_matrices(inputs, shard, settings, {name: path})[name]


def write_matrices(
    inputs: Inputs, shard: int, settings: Settings, paths: Mapping[str, Path]
) -> dict[str, Figures]:
    """Neighbours of the items of one range, in each of the named matrices."""
    log = open_event_log(inputs["event_log"])
    queries = query_mask(inputs["sessions"], log.n_sessions)
    first = shard * settings.items_per_shard
    last = min(first + settings.items_per_shard, log.n_items)
    chosen = [matrix for matrix in MATRICES if matrix.name in paths]
    with ExitStack() as files:
        writers = {
            name: files.enter_context(PieceWriter(path, COVISITATION.empty()))
            for name, path in paths.items()
        }
        for name, frame in neighbours(log, queries, chosen, first, last, settings.threads):
            writers[name].write(frame)
    return {name: {"neighbours": writer.rows} for name, writer in writers.items()}


def query_mask(sessions: Dataset, n_sessions: int) -> NDArray[np.bool_]:
    """Whether each session is to be predicted."""
    mask = np.zeros(n_sessions, np.bool_)
    mask[sessions.scan().filter("query").select("session").collect()["session"].to_numpy()] = True
    return mask


def neighbours(
    log: EventLog,
    queries: NDArray[np.bool_],
    matrices: Sequence[Matrix],
    first: int,
    last: int,
    threads: int,
) -> Iterator[tuple[str, pl.DataFrame]]:
    """The `COVISITATION` rows of items first … last−1, block by block, with the matrix's name."""
    for walk, of_walk in by_walk(matrices):
        yield from _of_walk(log, queries, walk, of_walk, range(first, last), threads)


def _of_walk(
    log: EventLog,
    queries: NDArray[np.bool_],
    walk: Walk,
    matrices: Sequence[Matrix],
    items: range,
    threads: int,
) -> Iterator[tuple[str, pl.DataFrame]]:
    """The rows of the matrices that share a walk; what the pass needs is freed with it."""
    packed = pack(log, walk, queries, threads)
    found = occurrences(packed, items.start, items.stop, threads)
    rules = rules_of(matrices, log.last_second)
    events = _events_where_needed(packed, matrices)
    idle = [make_scratch(found, packed, rules) for _ in range(threads)]
    top = partial(_top_of_block, found, packed, rules, items.start, events, idle)
    for block in map_blocks(top, found.visited, threads, BLOCKS):
        for matrix, frame in zip(matrices, block, strict=True):
            yield matrix.name, frame


def by_walk(matrices: Iterable[Matrix]) -> Iterator[tuple[Walk, list[Matrix]]]:
    """The matrices that share a pass."""

    def order(matrix: Matrix) -> tuple:
        return matrix.walk.types, matrix.walk.last, matrix.walk.runs

    for _, group in groupby(sorted(matrices, key=order), key=order):
        members = list(group)
        yield members[0].walk, members


def _events_where_needed(packed: PackedWalk, matrices: Sequence[Matrix]) -> NDArray[np.int64]:
    """Events of each item in the walk; empty where no matrix is normalised by them."""
    needed = any(matrix.normalisation in ("cosine", "log_cosine") for matrix in matrices)
    return count_events(packed) if needed else np.zeros(0, np.int64)


def _top_of_block(
    found: Occurrences,
    packed: PackedWalk,
    rules: Rules,
    first_item: int,
    events: NDArray[np.int64],
    idle: list[Scratch],
    first: int,
    last: int,
) -> list[pl.DataFrame]:
    """The `COVISITATION` rows of items first_item + first … last−1, in each matrix."""
    items = np.arange(first_item + first, first_item + last, dtype=np.int32)
    scratch = idle.pop()
    top = _top(found, packed, rules, first_item, events, scratch, first, last)
    idle.append(scratch)
    return [covisitation_frame(items, *of_matrix) for of_matrix in zip(*top, strict=True)]


def covisitation_frame(
    items: NDArray[np.int32],
    counted: NDArray[np.int64],
    neighbour: NDArray[np.int32],
    score: NDArray[np.float32],
) -> pl.DataFrame:
    """The rows of items of which each has its number of neighbours, heaviest first."""
    ends = np.cumsum(counted)
    rank = np.arange(1, len(neighbour) + 1) - np.repeat(ends - counted, counted)
    columns = {
        "aid": np.repeat(items, counted),
        "neighbour": neighbour,
        "weight": score,
        "rank": rank.astype(np.uint16),
    }
    return pl.DataFrame(columns, schema=COVISITATION.empty().schema)


@njit(cache=True, nogil=True)
def _top(
    found: Occurrences,
    packed: PackedWalk,
    rules: Rules,
    first_item: int,
    events: NDArray[np.int64],
    scratch: Scratch,
    first: int,
    last: int,
) -> tuple[list, list, list]:
    """For each matrix: number of neighbours of each item, neighbours and scores, heaviest first."""
    n_rules = len(rules.rules)
    rows = np.zeros(n_rules, np.int64)
    counted = [np.zeros(last - first, np.int64) for _ in range(n_rules)]
    most = [np.minimum(found.visited[first:last], rule.top_k).sum() for rule in rules.rules]
    neighbour = [np.empty(size, np.int32) for size in most]
    score = [np.empty(size, np.float64) for size in most]
    visit = 0
    for item in range(first, last):
        x = first_item + item
        begin, end = found.start[item], found.start[item + 1]
        slots, visit = add_pairs(x, begin, end, found.occurrence, packed, rules, scratch, visit)
        for index in range(n_rules):
            rule, row = rules.rules[index], rows[index]
            room = min(rule.top_k, found.visited[item])
            kept = keep_top(
                x,
                rule.normalisation,
                scratch.sums[:slots, index],
                scratch.item_of[:slots],
                events,
                neighbour[index][row : row + room],
                score[index][row : row + room],
            )
            counted[index][item - first] = kept
            rows[index] += kept
        clear(scratch, slots)
    return (
        counted,
        [neighbour[index][: rows[index]] for index in range(n_rules)],
        [score[index][: rows[index]].astype(np.float32) for index in range(n_rules)],
    )


@inner_njit
def keep_top(
    x: int,
    normalisation: int,
    sums: NDArray[np.int64],
    item_of: NDArray[np.int32],
    events: NDArray[np.int64],
    items: NDArray[np.int32],
    values: NDArray[np.float64],
) -> int:
    """Write the len(items) heaviest neighbours, ties by item; return how many there are."""
    total = 0
    if normalisation == ROW:
        for slot in range(len(sums)):
            total += sums[slot]
    kept = 0
    for slot in range(len(sums)):
        if sums[slot] == 0:
            continue
        y, value = item_of[slot], sums[slot] * (1 / ONE)
        if normalisation == ROW:
            value = sums[slot] / total
        elif normalisation == COSINE:
            value /= np.sqrt(float(events[x]) * events[y])
        elif normalisation == LOG_COSINE:
            value /= np.log(np.sqrt(float(events[x]) * events[y] + 2))
        place = kept
        while place > 0 and (
            value > values[place - 1] or (value == values[place - 1] and y < items[place - 1])
        ):
            place -= 1
        if place >= len(items):
            continue
        for shifted in range(min(kept, len(items) - 1), place, -1):
            values[shifted] = values[shifted - 1]
            items[shifted] = items[shifted - 1]
        values[place] = value
        items[place] = y
        kept = min(kept + 1, len(items))
    return kept
