"""Spectral embedding: the singular vectors of what co-visits say beyond chance."""

import numpy as np
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


def spectral(
    log: EventLog, queries: NDArray[np.bool_], spec: Spectral, threads: int, seed: int
) -> NDArray:
    """Vectors of all items, n_items × dimensions f32; zeros where an item has no co-visit.

    The same for any number of threads: linear algebra has one, sparse products go row by row.
    """
    counts = covisits(log, queries, spec.matrix, threads)
    information = shifted_ppmi(counts, spec.shift, spec.smoothing)
    with threadpool_limits(1):
        values, vectors = largest_eigenpairs(information, spec.dimensions, threads, seed)
    known = np.diff(information.indptr) > 0  # the others have rounding errors for vectors
    weighed = vectors * np.abs(values) ** np.float32(spec.power) * known[:, None]
    vectors = np.zeros((log.n_items, spec.dimensions), np.float32)
    vectors[:, : weighed.shape[1]] = weighed
    return vectors


def covisits(log: EventLog, queries: NDArray[np.bool_], matrix: Matrix, threads: int) -> csr_array:
    """The weights of a co-visitation matrix, symmetric: items × items f32."""
    frames = [rows for _, rows in neighbours(log, queries, [matrix], 0, log.n_items, threads)]
    lengths = np.zeros(log.n_items, np.int64)
    for rows in frames:
        of_block = np.bincount(rows["aid"].to_numpy())
        lengths[: len(of_block)] += of_block
    empty = np.zeros(0, np.int32)
    neighbour = np.concatenate([empty, *(rows["neighbour"].to_numpy() for rows in frames)])
    weight = np.concatenate(
        [empty.astype(np.float32), *(rows["weight"].to_numpy() for rows in frames)]
    )
    start = np.concatenate([[0], np.cumsum(lengths)])
    counts = csr_array((weight, neighbour, start), shape=(log.n_items, log.n_items))
    return (counts + counts.T).tocsr()


def shifted_ppmi(counts: csr_array, shift: float, smoothing: float) -> csr_array:
    """max(0, log(p(x, y) / (p(x) p(y))) − log shift), p(y) ∝ frequency ^ smoothing, symmetric."""
    total = np.asarray(counts.sum(axis=1), np.float64)
    smoothed = total**smoothing
    chance = np.zeros(len(total))
    seen = total > 0
    # √ of both directions' chance, so that the result is symmetric
    chance[seen] = np.log(total[seen] * smoothed[seen] / smoothed.sum()) / 2
    lengths = np.diff(counts.indptr)
    value = np.log(counts.data) - np.repeat(chance, lengths) - chance[counts.indices]
    value = np.maximum(value - np.log(shift), 0).astype(np.float32)
    found = csr_array((value, counts.indices, counts.indptr), shape=counts.shape)
    found.eliminate_zeros()
    return found


def largest_eigenpairs(
    matrix: csr_array, wanted: int, threads: int, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Up to `wanted` eigenvalues of a symmetric matrix, the largest by size, and their vectors.

    By randomised subspace iteration; of a symmetric matrix these are its singular vectors.
    """
    size = min(wanted + OVERSAMPLING, matrix.shape[0])
    basis = np.random.default_rng(seed).standard_normal((matrix.shape[0], size), np.float32)
    for _ in range(POWER_ITERATIONS):
        basis, _ = np.linalg.qr(product(matrix, basis, threads))
    values, rotation = np.linalg.eigh(basis.T @ product(matrix, basis, threads))
    largest = np.argsort(-np.abs(values), kind="stable")[:wanted]
    return values[largest], basis @ rotation[:, largest]


def product(matrix: csr_array, dense: NDArray[np.float32], threads: int) -> NDArray[np.float32]:
    """matrix @ dense, blocks of rows on several threads."""
    lengths = np.diff(matrix.indptr).astype(np.int64)
    blocks = map_blocks(lambda i, j: matrix[i:j] @ dense, lengths, threads, ROW_BLOCKS)
    return np.concatenate([np.zeros((0, dense.shape[1]), np.float32), *blocks])
