"""Event log → embeddings: a vector of length 1 for each item that the lane has seen with others."""

from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from otto_pipeline.events.event_log import EventLog, open_event_log
from otto_pipeline.retrieval.als import als
from otto_pipeline.retrieval.covisitation import query_mask
from otto_pipeline.retrieval.embedding import Als, Embedding, Spectral, Word2Vec
from otto_pipeline.retrieval.spectral import spectral
from otto_pipeline.retrieval.word2vec import word2vec
from otto_pipeline.schemas import embedding_table
from otto_pipeline.settings import Settings
from otto_pipeline.store.dataset import Dataset, Figures
from otto_pipeline.store.parquet import PieceWriter, read_pieces
from otto_pipeline.store.stage import Inputs, Stage

ONE_THREAD_EVENTS = 3_000_000
"""Libraries whose result depends on threads have one up to logs of so many events (pct1)."""
ITEMS_AT_ONCE = 200_000
"""Items of a row group."""


def embedding_stage(embedding: Embedding) -> Stage:
    """The stage that learns one embedding."""
    return Stage(
        write=partial(write_embedding, embedding), version=f"2 {embedding}", settings=("seed",)
    )


def library_threads(log: EventLog, threads: int) -> int:
    """Threads of a library that is not deterministic on several."""
    return 1 if log.n_events <= ONE_THREAD_EVENTS else threads


def write_embedding(
    embedding: Embedding, inputs: Inputs, _shard: int, settings: Settings, path: Path
) -> Figures:
    """Learn an embedding from the lane's events."""
    log = open_event_log(inputs["event_log"])
    queries = query_mask(inputs["sessions"], log.n_sessions)
    vectors = learn(embedding, log, queries, settings, path.parent)
    length = np.linalg.norm(vectors, axis=1)
    aid = np.flatnonzero(length).astype(np.int32)
    empty = embedding_table(embedding.dimensions).empty()
    with PieceWriter(path, empty) as writer:
        for first in range(0, len(aid), ITEMS_AT_ONCE):
            items = aid[first : first + ITEMS_AT_ONCE]
            unit = vectors[items] / length[items, None]
            writer.write(pl.DataFrame({"aid": items, "vector": unit}, schema=empty.schema))
    return {"items": len(aid), "dimensions": embedding.dimensions}


def read_vectors(embedding: Dataset, n_items: int) -> NDArray[np.float32]:
    """The vectors of all items, n_items × dimensions, of length 1; zeros where there is none."""
    vectors = np.zeros((n_items, embedding.figures()["dimensions"]), np.float32)
    for piece in read_pieces(embedding.files[0]):
        vectors[piece["aid"].to_numpy()] = piece["vector"].to_numpy()
    return vectors


def learn(
    embedding: Embedding,
    log: EventLog,
    queries: NDArray[np.bool_],
    settings: Settings,
    scratch: Path,
) -> NDArray[np.float32]:
    """Vectors of all items, n_items × dimensions; zeros where nothing is known of an item.

    `scratch` is a folder for temporary files.
    """
    threads = library_threads(log, settings.threads)
    match embedding:
        case Word2Vec():
            return word2vec(log, embedding, threads, settings.seed, scratch)
        case Als():
            return als(log, embedding, threads, settings.seed)
        case Spectral():
            return spectral(log, queries, embedding, settings.threads, settings.seed)
    raise TypeError(embedding)
