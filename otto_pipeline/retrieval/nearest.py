"""Embeddings → the nearest items of each item that a query session holds."""

from collections.abc import Iterator

import numpy as np
import polars as pl
from numpy.typing import NDArray

from otto_pipeline.events.event_log import EventLog, open_event_log
from otto_pipeline.retrieval.covisitation import covisitation_frame, query_mask
from otto_pipeline.retrieval.vectors import library_threads
from otto_pipeline.settings import Settings
from otto_pipeline.store.dataset import Dataset
from otto_pipeline.store.stage import Inputs

NEAREST = 64
"""Neighbours of an item in an embedding."""
LINKS, BUILD_DEPTH, DEPTH = 16, 200, 200
"""Of the HNSW index: links of an item, items looked at when one is added, and when one is asked."""
SHARPNESS = 4
"""A neighbour's weight is its cosine to this power."""
QUERIES_AT_ONCE = 20_000


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
    threads = library_threads(log, settings.threads)
    yield from nearest(aid, vectors, asked, threads, settings.seed)


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
    """The `COVISITATION` rows of the items aid[asked], of vectors of length 1."""
    if len(asked) == 0:
        return
    from voyager import Index, Space  # noqa: PLC0415

    index = Index(
        Space.InnerProduct, vectors.shape[1], LINKS, BUILD_DEPTH, seed, max_elements=len(aid)
    )
    index.add_items(vectors, num_threads=threads)
    k = min(NEAREST + 1, len(aid))  # the item itself is among them
    for first in range(0, len(asked), QUERIES_AT_ONCE):
        rows = asked[first : first + QUERIES_AT_ONCE]
        found, distance = index.query(vectors[rows], k, threads, max(DEPTH, k))
        yield _frame(aid, rows, found.astype(np.int64), 1 - distance)


def _frame(
    aid: NDArray[np.int32],
    rows: NDArray[np.int64],
    found: NDArray[np.int64],
    cosine: NDArray[np.float32],
) -> pl.DataFrame:
    """Rows of what was found for each of `rows`: the item itself left out, ties by item."""
    order = np.lexsort((found, -cosine), axis=1)
    found = np.take_along_axis(found, order, axis=1)
    cosine = np.take_along_axis(cosine, order, axis=1)
    kept = (found != rows[:, None]) & (cosine > 0)
    kept &= np.cumsum(kept, axis=1) <= NEAREST
    weight = np.minimum(cosine[kept], 1) ** SHARPNESS
    return covisitation_frame(aid[rows], kept.sum(axis=1), aid[found[kept]], weight)
