"""How near a candidate is to the session's items in each matrix and embedding.

Frame: `similarities`, whose columns are named as the features are.
"""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from otto_pipeline.events.event_log import EventLog
from otto_pipeline.features.feature import PARTS, Feature
from otto_pipeline.features.similarity_kernels import AGGREGATES, COSINES, cosines, shares
from otto_pipeline.retrieval.embeddings import EMBEDDINGS
from otto_pipeline.retrieval.neighbours import NeighbourTable
from otto_pipeline.retrieval.sources import NEIGHBOUR_SOURCES

MEANINGS = {
    "recent": "mean over the session's items, weighted by recency",
    "last": "of the session's latest item",
    "back": "of the latest item in the candidate's row",
}

COSINE_MEANINGS = {
    "mean": "mean over the session's items, weighted by recency",
    "max": "largest",
    "last": "with the session's latest item",
}

SIMILARITY_FEATURES = (
    *(
        Feature(
            f"{source}_{aggregate}",
            f"Share in the rows of {source}: {MEANINGS[aggregate]}; √ in parts of {PARTS}.",
            pl.col(f"{source}_{aggregate}"),
            pl.Int16,
            missing=0,
        )
        for source in NEIGHBOUR_SOURCES
        for aggregate in AGGREGATES
    ),
    *(
        Feature(
            f"{embedding.name}_cosine_{kind}",
            f"Cosine in {embedding.name}: {COSINE_MEANINGS[kind]}; in parts of {PARTS}.",
            pl.col(f"{embedding.name}_cosine_{kind}"),
            pl.Int16,
            missing=0,
        )
        for embedding in EMBEDDINGS
        for kind in COSINES
    ),
)


def similarities(
    log: EventLog,
    candidates: pl.DataFrame,
    tables: tuple[NeighbourTable, ...],
    vectors: tuple[NDArray[np.float32], ...],
    threads: int,
) -> pl.DataFrame:
    """A column for each of `SIMILARITY_FEATURES`, of candidates in their order.

    A table for each of `NEIGHBOUR_SOURCES`, and vectors of all items for each of `EMBEDDINGS`.
    """
    columns = [*shares(log, candidates, tables, threads)]
    for of_embedding in vectors:
        columns += [*cosines(log, candidates, of_embedding, threads)]
    return pl.DataFrame(
        {f.name: column for f, column in zip(SIMILARITY_FEATURES, columns, strict=True)}
    )
