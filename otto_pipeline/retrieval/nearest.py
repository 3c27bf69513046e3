"""Embeddings → the nearest items of each item that a query session holds.

Vectors are divided into cells by k-means, as in an inverted file (Jégou et al. 2011), and an item
is compared with those of the cells nearest to it. Items of one cell ask much the same cells, so
that many are compared at once as a product of blocks, which processors do fastest; the result is
the same for any number of threads. Where there are few cells it is exact.
"""

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from otto_pipeline.compute.threads import map_ahead
from otto_pipeline.events.event_log import EventLog, open_event_log
from otto_pipeline.retrieval.covisitation import covisitation_frame, query_mask
from otto_pipeline.settings import Settings
from otto_pipeline.store.dataset import Dataset
from otto_pipeline.store.stage import Inputs

NEAREST = 64
"""Neighbours of an item in an embedding."""
CELL_ITEMS = 512
"""Items of a cell, on average."""
PROBED = 64
"""Cells whose items an item is compared with."""
LEARNED_FROM, ROUNDS = 32, 8
"""Of k-means: vectors for each cell, and how often cells move."""
SHARPNESS = 4
"""A neighbour's weight is its cosine to this power, so that the nearest count most."""
QUERIES_AT_ONCE = 20_000
ASSIGNED_AT_ONCE = 8_192
COMPARED_AT_ONCE = 4_096


class Cells(NamedTuple):
    """Cell c holds the vectors members[start[c]] … members[start[c+1]−1], in ascending order."""

    centres: NDArray[np.float32]
    of_vector: NDArray[np.int64]
    start: NDArray[np.int64]
    members: NDArray[np.int32]


def nearest_neighbours(
    inputs: Inputs, embedding: Dataset, settings: Settings
) -> Iterator[pl.DataFrame]:
    """The `COVISITATION` rows of the items that query sessions hold, piece by piece.

    Only neighbours with a positive cosine.
    """
    log = open_event_log(inputs["event_log"])
    rows = embedding.read()
    aid, vectors = rows["aid"].to_numpy(), rows["vector"].to_numpy(writable=True)
    asked = np.flatnonzero(np.isin(aid, queried_items(log, inputs["sessions"])))
    yield from nearest(aid, vectors, asked, settings.threads, settings.seed)


def queried_items(log: EventLog, sessions: Dataset) -> NDArray[np.int32]:
    """The items that query sessions hold."""
    queries = np.repeat(query_mask(sessions, log.n_sessions), np.diff(log.session_start))
    return np.unique(log.aid[queries])


def nearest(
    aid: NDArray[np.int32],
    vectors: NDArray[np.float32],
    asked: NDArray[np.int64],
    threads: int,
    seed: int,
) -> Iterator[pl.DataFrame]:
    """The `COVISITATION` rows of the items aid[asked], of vectors of length 1; both ascending."""
    found, cosine = nearest_vectors(vectors, asked, threads, seed)
    for first in range(0, len(asked), QUERIES_AT_ONCE):
        piece = slice(first, first + QUERIES_AT_ONCE)
        kept = found[piece] >= 0
        weight = np.minimum(cosine[piece][kept], 1) ** SHARPNESS
        neighbour = aid[found[piece][kept]]
        yield covisitation_frame(aid[asked[piece]], kept.sum(axis=1), neighbour, weight)


def nearest_vectors(
    vectors: NDArray[np.float32], asked: NDArray[np.int64], threads: int, seed: int
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """For each of `asked`, the vectors of largest positive cosine and the cosines, best first.

    Arrays of len(asked) × `NEAREST`; −1 and 0 where there are fewer. Ties by index.
    """
    found = np.full((len(asked), NEAREST), -1, np.int32)
    cosine = np.zeros(found.shape, np.float32)
    with threadpool_limits(1, "blas"):
        cells = divided(vectors, threads, seed)
        of_members = vectors[cells.members]
        by_cell = np.argsort(cells.of_vector[asked], kind="stable")

        def compare(rows: NDArray[np.int64]) -> None:
            queries = vectors[asked[rows]]
            for cell, some in _asking(queries, cells.centres):
                begin, end = cells.start[cell : cell + 2]
                products = queries[some] @ of_members[begin:end].T
                _keep(products, cells.members[begin:end], asked, rows[some], found, cosine)

        deque(map_ahead(compare, _pieces(by_cell, COMPARED_AT_ONCE), threads), maxlen=0)
    return found, cosine


def _asking(
    queries: NDArray[np.float32], centres: NDArray[np.float32]
) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """The cells that are near to some queries, each with the indices of these."""
    probed = min(PROBED, len(centres))
    near = np.argpartition(-queries @ centres.T, probed - 1, axis=1)[:, :probed]
    order = np.argsort(near, axis=None, kind="stable")
    cells, start = np.unique(near.ravel()[order], return_index=True)
    yield from zip(cells.tolist(), np.split(order // probed, start[1:]), strict=True)


def divided(vectors: NDArray[np.float32], threads: int, seed: int) -> Cells:
    """Cells of about `CELL_ITEMS` vectors of length 1, by spherical k-means on some of them."""
    n_cells = -(-len(vectors) // CELL_ITEMS)
    order = np.random.default_rng(seed).permutation(len(vectors))
    some = vectors[order[: n_cells * LEARNED_FROM]]
    centres = some[:n_cells]
    for _ in range(ROUNDS):
        sums = np.zeros_like(centres)
        np.add.at(sums, _assigned(some, centres, threads), some)
        length = np.linalg.norm(sums, axis=1, keepdims=True)
        centres = np.divide(sums, length, out=centres.copy(), where=length > 0)
    cell = _assigned(vectors, centres, threads)
    start = np.concatenate([[0], np.cumsum(np.bincount(cell, minlength=n_cells))])
    return Cells(centres, cell, start, np.argsort(cell, kind="stable").astype(np.int32))


def _assigned(
    vectors: NDArray[np.float32], centres: NDArray[np.float32], threads: int
) -> NDArray[np.int64]:
    """The nearest centre of each vector."""
    pieces = _pieces(vectors, ASSIGNED_AT_ONCE)
    nearest_of = map_ahead(lambda some: (some @ centres.T).argmax(axis=1), pieces, threads)
    return np.concatenate([np.zeros(0, np.int64), *nearest_of])


def _pieces(rows: NDArray, size: int) -> Iterator[NDArray]:
    return (rows[first : first + size] for first in range(0, len(rows), size))


@njit(cache=True, nogil=True)
def _keep(
    products: NDArray[np.float32],
    members: NDArray[np.int32],
    asked: NDArray[np.int64],
    rows: NDArray[np.int64],
    found: NDArray[np.int32],
    cosine: NDArray[np.float32],
) -> None:
    """Put the products of some of `asked` with other vectors where they are among the largest.

    Nearly all are not: sixteen at once are compared with the least that is kept.
    """
    last = found.shape[1] - 1
    for query in range(len(rows)):
        row = rows[query]
        of_row, items, values = products[query], found[row], cosine[row]
        for first in range(0, len(members), 16):
            end = min(first + 16, len(members))
            least = values[last]
            larger = 0
            for other in range(first, end):
                larger |= of_row[other] >= least
            if not larger:
                continue
            for other in range(first, end):
                value, item = of_row[other], members[other]
                if value <= 0 or value < values[last] or item == asked[row]:
                    continue
                place = last + 1
                while place > 0 and (
                    value > values[place - 1]
                    or (value == values[place - 1] and item < items[place - 1])
                ):
                    place -= 1
                if place > last:
                    continue
                for shifted in range(last, place, -1):
                    values[shifted] = values[shifted - 1]
                    items[shifted] = items[shifted - 1]
                values[place] = value
                items[place] = item
