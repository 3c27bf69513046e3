"""How near a candidate is to the session's items in each matrix and embedding.

Frame: the columns of `similarity_kernels.shares`, in the order of the features.
"""

import polars as pl

from otto_pipeline.features.feature import Feature
from otto_pipeline.features.similarity_kernels import AGGREGATES, PARTS
from otto_pipeline.retrieval.sources import NEIGHBOUR_SOURCES

MEANINGS = {
    "recent": "mean over the session's items, weighted by recency",
    "max": "largest, weighted by recency",
    "last": "of the session's latest item",
    "back": "of the latest item in the candidate's row",
}

SIMILARITY_FEATURES = tuple(
    Feature(
        f"{source}_{aggregate}",
        f"Share in the rows of {source}: {MEANINGS[aggregate]}; √ in parts of {PARTS}.",
        pl.col(f"{source}_{aggregate}"),
        pl.Int16,
        missing=0,
    )
    for source in NEIGHBOUR_SOURCES
    for aggregate in AGGREGATES
)
