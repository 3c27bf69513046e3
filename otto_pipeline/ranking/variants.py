"""Variants of what rankers learn from: without a family of features, without a source, without
stacking, or from fewer sessions.

A feature that is left out has its missing value in all rows: no tree can split by it, and of the
columns that a tree may choose from as large a share is left as before.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import polars as pl

from otto_pipeline.features.families import FAMILIES, source_features
from otto_pipeline.features.feature import Feature
from otto_pipeline.features.table import LABEL_NAMES
from otto_pipeline.ranking.matrix import draws_below
from otto_pipeline.ranking.scoring import LIST_SCORE
from otto_pipeline.retrieval.sources import (
    HISTORY,
    LIST_WEIGHTS,
    RANK_OFFSET,
    SOURCE_LIMIT,
    SOURCES,
)
from otto_pipeline.retrieval.union_sample import sampled_sessions
from otto_pipeline.settings import Settings
from otto_pipeline.store.dataset import Figures
from otto_pipeline.store.stage import Inputs, Stage

SHARES = (2, 4, 8)
"""Parts of the sessions to learn from, as denominators: points of a learning curve."""


@dataclass(frozen=True)
class Variant:
    """What is left out of what rankers learn from: by default nothing.

    `features` are constant; `source` proposes nothing; where it is not `stacked`, a ranker sees the
    list's score in place of other targets', as if these had no ranker; `share` of the sessions are
    learnt from.
    """

    features: tuple[Feature, ...] = ()
    source: str | None = None
    stacked: bool = True
    share: float = 1.0


VARIANTS: dict[str, Variant] = {
    "stacking": Variant(stacked=False),
    **{f"sessions-1/{part}": Variant(share=1 / part) for part in SHARES},
    **{name: Variant(features=features) for name, features in FAMILIES.items()},
    **{
        f"source:{source}": Variant(features=source_features(source), source=source)
        for source in SOURCES
    },
}
"""By the name of what is left out."""


def chosen_variants(names: Sequence[str]) -> dict[str, Variant]:
    """The named variants in their order, or all where none is named.

    Raises:
        ValueError: there is no such variant; lists those that there are.
    """
    unknown = [name for name in names if name not in VARIANTS]
    if unknown:
        raise ValueError(
            f"{', '.join(unknown)}: is nothing that can be left out; choose from "
            f"{', '.join(VARIANTS)}"
        )
    return {name: VARIANTS[name] for name in names or VARIANTS}


def judged_stage(count: int | None) -> Stage:
    """Rows (session, hash) of the sessions that are judged: those with labels, or so many."""
    return Stage(write=partial(write_judged, count), version=f"1 {count}", settings=("seed",))


def write_judged(
    count: int | None, inputs: Inputs, _shard: int, settings: Settings, path: Path
) -> Figures:
    """A sample that does not depend on the order of the log."""
    found = sampled_sessions(inputs["sessions"], inputs["labels"], settings.seed, "ablation", count)
    found.write_parquet(path)
    return {}


def learnt_stage(variant: Variant) -> Stage:
    """Rows of those sessions that may be learnt from, of judged ones or of a half's."""
    return Stage(
        write=partial(write_learnt, variant.share),
        version=f"1 {variant.share}",
        shards=_one_if_any,
        settings=("seed",),
    )


def write_learnt(
    share: float, inputs: Inputs, _shard: int, settings: Settings, path: Path
) -> Figures:
    """Of two shares the smaller is a part of the larger."""
    judged = inputs["judged"].read()
    judged.filter(draws_below(judged, settings.seed, "learning curve", share)).write_parquet(path)
    return {}


def rows_stage(variant: Variant) -> Stage:
    """The candidates of the judged sessions: what training rows and the list need of them."""
    return Stage(
        write=partial(write_rows, variant),
        version=f"1 {variant.source}",
        shards=_same_shards_as_features,
    )


def write_rows(
    variant: Variant, inputs: Inputs, shard: int, _settings: Settings, path: Path
) -> Figures:
    """One shard of candidates, with their labels."""
    rows = _kept(variant, inputs, shard).select("session", "aid", LIST_SCORE, *LABEL_NAMES)
    rows.collect().write_parquet(path)
    return {}


def features_stage(variant: Variant) -> Stage:
    """The features of the same candidates."""
    names = " ".join(feature.name for feature in variant.features)
    return Stage(
        write=partial(write_features, variant),
        version=f"1 {variant.source} {names}",
        shards=_same_shards_as_features,
    )


def write_features(
    variant: Variant, inputs: Inputs, shard: int, _settings: Settings, path: Path
) -> Figures:
    """One shard of features, of which those that are left out are constant."""
    constant = {f.name: pl.lit(f.missing, f.dtype) for f in variant.features}
    frame = _kept(variant, inputs, shard).with_columns(**constant)
    frame.collect().write_parquet(path, statistics=False)
    return {}


def _kept(variant: Variant, inputs: Inputs, shard: int) -> pl.LazyFrame:
    frame = pl.scan_parquet(inputs["features"].files[shard]).join(
        inputs["judged"].scan(), on="session", how="semi", maintain_order="left"
    )
    return without_source(frame, variant.source) if variant.source else frame


def without_source(features: pl.LazyFrame, source: str) -> pl.LazyFrame:
    """Features of the candidates that another source proposes too, ordered by a list without it."""
    rank = pl.col(f"{source}_rank")
    proposed = rank <= SOURCE_LIMIT
    in_list = LIST_WEIGHTS[source] / (RANK_OFFSET + rank.cast(pl.Int32)) + float(source == HISTORY)
    return features.filter(~proposed | (pl.col("sources") > 1)).with_columns(
        pl.col("sources") - proposed.cast(pl.Int8),
        (pl.col(LIST_SCORE) - pl.when(proposed).then(in_list).otherwise(0)).cast(pl.Float32),
    )


def _one_if_any(inputs: Inputs, _settings: Settings) -> int:
    """A half in which no session is cut has no shards."""
    return 1 if inputs["judged"].files else 0


def _same_shards_as_features(inputs: Inputs, _settings: Settings) -> int:
    return len(inputs["features"].files)
