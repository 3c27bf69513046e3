"""How near a candidate is to the session's items in each matrix.

Frame: the columns of `similarity_kernels.shares`, in the order of the features.
"""

import polars as pl

from otto_pipeline.features.feature import Feature
from otto_pipeline.features.similarity_kernels import AGGREGATES, PARTS
from otto_pipeline.retrieval.matrices import MATRICES

MEANINGS = {
    "flat": "mean over the session's items",
    "recent": "mean, weighted 2^r − 1 (r from .1 to 1 at the latest event)",
    "type": "mean, weighted 1, 6, 3 by the item's heaviest event (click, cart, order)",
    "day": "mean over the session's items of its last 24 hours",
    "minutes": "mean, weighted 1 / log(2 + minutes before the last event)",
    "max": "largest, weighted by recency",
    "last": "of the session's latest item",
    "back": "of the latest item in the candidate's row",
}

SIMILARITY_FEATURES = tuple(
    Feature(
        f"{matrix.name}_{aggregate}",
        f"Share in the rows of matrix {matrix.name}: {MEANINGS[aggregate]}; √ in parts of {PARTS}.",
        pl.col(f"{matrix.name}_{aggregate}"),
        pl.Int16,
        missing=0,
    )
    for matrix in MATRICES
    for aggregate in AGGREGATES
)
