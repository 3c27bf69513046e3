"""What the sources say of a candidate: at which place they propose it.

Beside these ranks neither the scores of history, second hop and session kNN nor score and place by
list and pre-ranker brought anything (RESULTS.md, which features, by a generated log).

Frame: the candidates of a shard.
"""

import polars as pl

from otto_pipeline.features.feature import Feature
from otto_pipeline.retrieval.sources import SOURCE_LIMIT, SOURCES

_ranks = [pl.col(f"{source}_rank") for source in SOURCES]

CANDIDATE_FEATURES = (
    *(
        Feature(
            f"{source}_rank",
            f"Place among the proposals of {source}, 1 is best.",
            pl.col(f"{source}_rank"),
            pl.UInt8,
            missing=SOURCE_LIMIT + 1,
        )
        for source in SOURCES
    ),
    Feature(
        "sources",
        "Number of sources that propose it.",
        pl.sum_horizontal(rank.is_not_null().cast(pl.Int8) for rank in _ranks),
        pl.Int8,
    ),
)
