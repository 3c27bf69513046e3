"""What the sources say of a candidate.

Frame: the candidates of a shard, with `{source}_largest` for each of `SCORED`, the highest score of
the source among the session's candidates.
"""

import polars as pl

from otto_pipeline.features.feature import Feature, ratio, share
from otto_pipeline.retrieval.sources import (
    HISTORY,
    SECOND_HOP,
    SESSION_KNN,
    SOURCE_LIMIT,
    SOURCES,
)

SCORED = (HISTORY, SECOND_HOP, SESSION_KNN)
"""Sources whose scores are features; the others' are told by similarities and by items."""

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
    *(
        share(
            f"{source}_part",
            f"Score by {source} as a part of the session's highest.",
            ratio(pl.col(f"{source}_score"), pl.col(f"{source}_largest")),
        )
        for source in SCORED
    ),
    *(
        feature
        for kind, meaning in (
            ("list", "the list that needs no labels"),
            ("pre", "the pre-ranker, else the list"),
        )
        for feature in (
            Feature(f"{kind}_score", f"Score of {meaning}.", pl.col(f"{kind}_score")),
            Feature(
                f"{kind}_rank",
                f"Place by {meaning}.",
                pl.col(f"{kind}_score").rank("ordinal", descending=True).over("session"),
                pl.Int16,
            ),
        )
    ),
    Feature(
        "sources",
        "Number of sources that propose it.",
        pl.sum_horizontal(rank.is_not_null().cast(pl.Int8) for rank in _ranks),
        pl.Int8,
    ),
)


def with_largest(candidates: pl.LazyFrame) -> pl.LazyFrame:
    """Candidates in their order, with `{source}_largest`."""
    largest = candidates.group_by("session").agg(
        pl.col(f"{source}_score").max().alias(f"{source}_largest") for source in SCORED
    )
    return candidates.join(largest, on="session", how="left", maintain_order="left")
