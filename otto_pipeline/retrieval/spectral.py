"""Spectral embedding: the singular vectors of what co-visits say beyond chance."""

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.sparse import csr_array
from threadpoolctl import threadpool_limits

from otto_pipeline.compute.threads import map_blocks
from otto_pipeline.events.event_log import EventLog
from otto_pipeline.retrieval.covisitation import neighbours
from otto_pipeline.retrieval.embedding import Spectral
from otto_pipeline.retrieval.matrix import Matrix

OVERSAMPLING = 16
POWER_ITERATIONS = 4
"""More leave less of the smaller singular values to chance (Halko, Martinsson, Tropp 2011)."""
ROW_BLOCKS = 64
INDEPENDENT = 1e-6
"""Directions whose variance is a smaller share of the largest are rounding errors."""


def spectral(
    log: EventLog, queries: NDArray[np.bool_], spec: Spectral, threads: int, seed: int
) -> NDArray:
    """Vectors of all items, n_items × dimensions f32; zeros where an item has no co-visit.

    The same for any number of threads: linear algebra has one, sparse products go row by row.
    """
    information = covisits(log, queries, spec.matrix, threads)
    to_shifted_ppmi(information, spec.shift, spec.smoothing)
    with threadpool_limits(1, "blas"):
        values, vectors = largest_eigenpairs(information, spec.dimensions, threads, seed)
    known = np.diff(information.indptr) > 0  # the others have rounding errors for vectors
    vectors *= np.abs(values) ** np.float32(spec.power) * known[:, None]
    missing = spec.dimensions - vectors.shape[1]
    return np.pad(vectors, ((0, 0), (0, missing))) if missing else vectors


def covisits(log: EventLog, queries: NDArray[np.bool_], matrix: Matrix, threads: int) -> csr_array:
    """The weights of a co-visitation matrix, symmetric: items × items f32."""
    lengths = np.zeros(log.n_items, np.int64)
    neighbour, weight = [np.zeros(0, np.int32)], [np.zeros(0, np.float32)]
    for _, rows in neighbours(log, queries, [matrix], 0, log.n_items, threads):
        of_block = np.bincount(rows["aid"].to_numpy())
        lengths[: len(of_block)] += of_block
        neighbour.append(rows["neighbour"].to_numpy())
        weight.append(rows["weight"].to_numpy())
    start = np.concatenate([[0], np.cumsum(lengths)]).astype(
        np.int32
    )  # or scipy widens the neighbours too
    shape = (log.n_items, log.n_items)
    counts = csr_array((np.concatenate(weight), np.concatenate(neighbour), start), shape=shape)
    del neighbour, weight
    return counts + counts.T.tocsr()


def to_shifted_ppmi(counts: csr_array, shift: float, smoothing: float) -> None:
    """Make counts max(0, log(p(x, y) / (p(x) p(y))) − log shift), p(y) ∝ frequency ^ smoothing.

    In place; of a symmetric matrix the result is symmetric: √ of both directions' chance.
    """
    total = np.asarray(counts.sum(axis=1), np.float64)
    smoothed = total**smoothing
    chance = np.zeros(len(total))
    seen = total > 0
    chance[seen] = np.log(total[seen] * smoothed[seen] / smoothed.sum()) / 2
    _beyond_chance(counts.indptr, counts.indices, counts.data, chance, np.log(shift))
    counts.eliminate_zeros()


def largest_eigenpairs(
    matrix: csr_array, wanted: int, threads: int, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Up to `wanted` eigenvalues of a symmetric matrix, the largest by size, and their vectors.

    By randomised subspace iteration; of a symmetric matrix these are its singular vectors.
    """
    size = min(wanted + OVERSAMPLING, matrix.shape[0])
    basis = np.random.default_rng(seed).standard_normal((matrix.shape[0], size), np.float32)
    for _ in range(POWER_ITERATIONS):
        basis = orthonormal(product(matrix, basis, threads))
    values, rotation = np.linalg.eigh(basis.T @ product(matrix, basis, threads))
    largest = np.argsort(-np.abs(values), kind="stable")[:wanted]
    return values[largest], basis @ rotation[:, largest]


def orthonormal(basis: NDArray[np.float32]) -> NDArray[np.float32]:
    """Columns of length 1 that span the same space, at right angles; fewer where some depend.

    From the products of the columns: one pass over a tall matrix, unlike Householder's QR.
    """
    values, rotation = np.linalg.eigh((basis.T @ basis).astype(np.float64))
    kept = values > INDEPENDENT * values.max(initial=0)
    return basis @ (rotation[:, kept] / np.sqrt(values[kept])).astype(np.float32)


def product(matrix: csr_array, dense: NDArray[np.float32], threads: int) -> NDArray[np.float32]:
    """matrix @ dense, blocks of rows on several threads."""
    result = np.zeros((matrix.shape[0], dense.shape[1]), np.float32)
    parts = matrix.indptr, matrix.indices, matrix.data

    def block(first: int, last: int) -> None:
        _add_product(*parts, dense, result, first, last)

    for _ in map_blocks(block, np.diff(matrix.indptr).astype(np.int64), threads, ROW_BLOCKS):
        pass
    return result


@njit(cache=True, nogil=True)
def _add_product(
    start: NDArray,
    column: NDArray,
    value: NDArray[np.float32],
    dense: NDArray[np.float32],
    result: NDArray[np.float32],
    first: int,
    last: int,
) -> None:
    """Add rows first … last−1 of a sparse matrix, times a dense one, to `result`."""
    for row in range(first, last):
        for entry in range(start[row], start[row + 1]):
            other, weight = column[entry], value[entry]
            for dimension in range(dense.shape[1]):
                result[row, dimension] += weight * dense[other, dimension]


@njit(cache=True, nogil=True)
def _beyond_chance(
    start: NDArray,
    column: NDArray,
    value: NDArray[np.float32],
    chance: NDArray[np.float64],
    log_shift: float,
) -> None:
    for row in range(len(start) - 1):
        for entry in range(start[row], start[row + 1]):
            beyond = np.log(value[entry]) - chance[row] - chance[column[entry]] - log_shift
            value[entry] = max(beyond, 0.0)
