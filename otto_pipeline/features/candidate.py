"""What the sources say of a candidate. Frame: the candidates of a shard."""

import polars as pl

from otto_pipeline.features.feature import Feature, ratio
from otto_pipeline.retrieval.sources import SOURCE_LIMIT, SOURCES

_ranks = [pl.col(f"{source}_rank") for source in SOURCES]

CANDIDATE_FEATURES = (
    *(
        Feature(
            f"{source}_rank",
            f"Place among the proposals of {source}, 1 is best.",
            pl.col(f"{source}_rank"),
            pl.Int16,
            missing=SOURCE_LIMIT + 1,
        )
        for source in SOURCES
    ),
    *(
        Feature(f"{source}_score", f"Score by {source}.", pl.col(f"{source}_score"))
        for source in SOURCES
    ),
    *(
        Feature(
            f"{source}_part",
            f"Score by {source} as a part of the session's highest.",
            ratio(pl.col(f"{source}_score"), pl.col(f"{source}_score").max().over("session")),
        )
        for source in SOURCES
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
