"""Co-visitation by ranges of sessions: sums that can be made apart and added up.

Where a log no longer fits one host, each host sums the pairs of its sessions, and the sums are
combined item by item: the same bytes as one pass over the whole log.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray

from otto_pipeline.compute.threads import map_blocks
from otto_pipeline.events.event_log import EventLog
from otto_pipeline.retrieval.covisitation import covisitation_frame, keep_top
from otto_pipeline.retrieval.matrix import Matrix
from otto_pipeline.retrieval.pairs import Scratch, add_pairs, clear, make_scratch
from otto_pipeline.retrieval.rules import Rules, rules_of
from otto_pipeline.retrieval.walk import Occurrences, PackedWalk, count_events, occurrences, pack


@dataclass(frozen=True)
class PartialSums:
    """Sums of the pairs of some sessions, of matrices of one walk.

    `sums` has columns aid, neighbour and, by the name of each matrix, its sum in fixed point
    (int64); one row for each pair of items, in that order. `events` are those of each item.
    """

    matrices: tuple[Matrix, ...]
    sums: pl.DataFrame
    events: NDArray[np.int64]


def partial_sums(
    log: EventLog,
    queries: NDArray[np.bool_],
    matrices: Sequence[Matrix],
    sessions: range,
    last_second: int,
    threads: int,
) -> PartialSums:
    """Sum the pairs of a range of sessions.

    `last_second` is that of the whole log, whose part `log` may be.

    Raises:
        ValueError: the matrices have several walks.
    """
    walk = matrices[0].walk
    if any(matrix.walk != walk for matrix in matrices):
        raise ValueError("the matrices have several walks: sum those of each walk apart")
    of_range = replace(log, session_start=log.session_start[sessions.start : sessions.stop + 1])
    packed = pack(of_range, walk, queries[sessions.start : sessions.stop], threads)
    found = occurrences(packed, 0, log.n_items, threads)
    rules = rules_of(matrices, last_second)
    idle = [make_scratch(found, packed, rules) for _ in range(threads)]
    summed = partial(_sums_of_block, found, packed, rules, matrices, idle)
    frames = map_blocks(summed, found.visited, threads)
    return PartialSums(tuple(matrices), pl.concat(frames), count_events(packed))


def combined(parts: Sequence[PartialSums]) -> Iterator[tuple[str, pl.DataFrame]]:
    """The matrices of all sessions, of sums that cover each of them once."""
    matrices = parts[0].matrices
    sums = (
        pl.concat([part.sums for part in parts])
        .group_by("aid", "neighbour")
        .agg(pl.all().sum())
        .sort("aid", "neighbour")
    )
    events = np.sum([part.events for part in parts], axis=0)
    rules = rules_of(matrices, last_second=0).rules  # of which only the cut is used
    items = sums["aid"].unique(maintain_order=True).to_numpy()
    starts = np.append(sums["aid"].search_sorted(items).to_numpy(), sums.height)
    for index, matrix in enumerate(matrices):
        top = _top_of_sums(
            items,
            starts.astype(np.int64),
            sums["neighbour"].to_numpy(),
            sums[matrix.name].to_numpy(),
            rules[index],
            events,
        )
        yield matrix.name, covisitation_frame(items, *top)


def _sums_of_block(
    found: Occurrences,
    packed: PackedWalk,
    rules: Rules,
    matrices: Sequence[Matrix],
    idle: list[Scratch],
    first: int,
    last: int,
) -> pl.DataFrame:
    scratch = idle.pop()
    counted, neighbour, sums = _all_sums(found, packed, rules, scratch, first, last)
    idle.append(scratch)
    names = [matrix.name for matrix in matrices]
    frame = pl.DataFrame(
        {
            "aid": np.repeat(np.arange(first, last, dtype=np.int32), counted),
            "neighbour": neighbour,
            **{name: sums[:, index] for index, name in enumerate(names)},
        }
    )
    return frame.filter(pl.any_horizontal(pl.col(names) > 0)).sort("aid", "neighbour")


@njit(cache=True, nogil=True)
def _all_sums(
    found: Occurrences, packed: PackedWalk, rules: Rules, scratch: Scratch, first: int, last: int
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]:
    """Number of neighbours of each item, the neighbours, and their sums in each matrix."""
    n_rules = len(rules.rules)
    bounds = np.minimum(found.visited[first:last], packed.n_items)
    neighbour = np.empty(bounds.sum(), np.int32)
    sums = np.empty((bounds.sum(), n_rules), np.int64)
    counted = np.zeros(last - first, np.int64)
    row, visit = 0, 0
    for item in range(first, last):
        begin, end = found.start[item], found.start[item + 1]
        slots, visit = add_pairs(item, begin, end, found.occurrence, packed, rules, scratch, visit)
        for slot in range(slots):
            neighbour[row] = scratch.item_of[slot]
            for index in range(n_rules):
                sums[row, index] = scratch.sums[slot, index]
            row += 1
        clear(scratch, slots)
        counted[item - first] = slots
    return counted, neighbour[:row].copy(), sums[:row].copy()


@njit(cache=True, nogil=True)
def _top_of_sums(
    items: NDArray[np.int32],
    start: NDArray[np.int64],
    neighbour: NDArray[np.int32],
    sums: NDArray[np.int64],
    rule: Any,
    events: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]:
    """Number of neighbours of each item, neighbours and scores, heaviest first."""
    top_k = rule.top_k
    counted = np.zeros(len(items), np.int64)
    most = np.minimum(np.diff(start), top_k).sum()
    best, score = np.empty(most, np.int32), np.empty(most, np.float64)
    row = 0
    for place in range(len(items)):
        begin, end = start[place], start[place + 1]
        counted[place] = keep_top(
            items[place],
            rule.normalisation,
            sums[begin:end],
            neighbour[begin:end],
            events,
            best[row : row + min(top_k, end - begin)],
            score[row : row + min(top_k, end - begin)],
        )
        row += counted[place]
    return counted, best[:row], score[:row].astype(np.float32)
