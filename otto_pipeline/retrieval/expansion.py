"""From items to the neighbours of these items, as often as wanted: hops and chains.

A hop takes weighted items, of any number of lists, and gives for each list the best of their
neighbours: score(y) = Σ over the list's items x of weight(x) × share(x, y). The session's items
through one matrix are its first hop; the best of that through the same or another matrix its
second (1st place in the OTTO contest: its three strongest features for orders). The rows of a
matrix itself through another give a chain of matrices.
"""

from functools import partial
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from otto_pipeline.compute.threads import map_blocks
from otto_pipeline.retrieval.neighbours import NeighbourTable


class Lists(NamedTuple):
    """List i has the items start[i] … start[i+1]−1 with their weights, the best first."""

    start: NDArray[np.int64]
    item: NDArray[np.int32]
    weight: NDArray[np.float64]


def hop(lists: Lists, table: NeighbourTable, *, sources: int, keep: int, threads: int) -> Lists:
    """The `keep` best neighbours of the first `sources` items of each list, ties by item."""
    cost = np.minimum(np.diff(lists.start), sources) + 1
    blocks = list(map_blocks(partial(_hop, lists, table, sources, keep), cost, threads))
    counted = np.concatenate([np.zeros(1, np.int64), *(block[0] for block in blocks)])
    return Lists(
        np.cumsum(counted),
        np.concatenate([np.zeros(0, np.int32), *(block[1] for block in blocks)]),
        np.concatenate([np.zeros(0), *(block[2] for block in blocks)]),
    )


@njit(cache=True, nogil=True)
def _hop(
    lists: Lists, table: NeighbourTable, sources: int, keep: int, first: int, last: int
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float64]]:
    slot_of = np.full(len(table.start) - 1, -1, np.int32)
    item_of = np.empty(len(slot_of), np.int32)
    score = np.empty(len(slot_of), np.float64)
    counted = np.zeros(last - first, np.int64)
    out_item = np.empty((last - first) * keep, np.int32)
    out_score = np.empty((last - first) * keep, np.float64)
    row = 0
    for number in range(first, last):
        slots = 0
        begin = lists.start[number]
        for place in range(begin, min(lists.start[number + 1], begin + sources)):
            x = lists.item[place]
            for other in range(table.start[x], table.start[x + 1]):
                y = table.neighbour[other]
                if slot_of[y] < 0:
                    slot_of[y] = slots
                    item_of[slots] = y
                    score[slots] = 0
                    slots += 1
                score[slot_of[y]] += lists.weight[place] * table.share[other]
        by_item = np.argsort(item_of[:slots])
        best = by_item[np.argsort(-score[:slots][by_item], kind="mergesort")][:keep]
        for slot in best:
            out_item[row] = item_of[slot]
            out_score[row] = score[slot]
            row += 1
        counted[number - first] = len(best)
        for slot in range(slots):
            slot_of[item_of[slot]] = -1
    return counted, out_item[:row], out_score[:row]
