"""How near a candidate is to the session's items in each matrix.

Frame: the columns of `similarity_kernels.shares`, in the order of the features.
"""

import polars as pl

from otto_pipeline.features.feature import Feature
from otto_pipeline.features.similarity_kernels import AGGREGATES, PARTS
from otto_pipeline.retrieval.matrices import MATRICES

MEANINGS = {
    "recent": "mean over the session's items, weighted by recency",
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
