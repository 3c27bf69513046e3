"""Rankers, features → what the rankers look at.

Tables are small, one row per feature and target, the most important first; each has a picture.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import xgboost as xgb
from numpy.typing import NDArray

from otto_pipeline.pictures import panels, png
from otto_pipeline.ranking.fold_scores import read_scores
from otto_pipeline.ranking.margins import load_ranker
from otto_pipeline.ranking.scoring import STACKED, with_stacked
from otto_pipeline.schemas import EVENT_TYPE, TARGET, TYPES, Column, Table
from otto_pipeline.settings import Settings
from otto_pipeline.store.dataset import Dataset, Figures
from otto_pipeline.store.stage import Inputs, Stage

SHOWN = 20
"""Features in a picture."""
EXPLAINED_ROWS = 1000
"""Candidates whose margins are taken apart."""

EXPLANATION = Table(
    "What the ranker of one target makes of one feature.",
    (
        TARGET,
        Column("feature", pl.String, "The feature."),
        Column("gain", pl.Float64, "Its share in the loss that the splits gained.", ge=0, le=1),
        Column("shap", pl.Float64, "Mean absolute contribution to a sample's margins.", ge=0),
    ),
    unique=("type", "feature"),
)


def write_explanation(inputs: Inputs, _shard: int, settings: Settings, path: Path) -> Figures:
    """What moves the ranker of each target; the inputs hold out-of-fold scores by target."""
    features = inputs["features"]
    rankers = {
        name: load_ranker(file, settings)
        for name in TYPES
        for file in inputs[f"ranker_{name}"].files
        if features.manifest.rows  # rankers of cut sessions alone have nothing to be explained on
    }

    def read(shard: int) -> pl.DataFrame:
        scores = read_scores(inputs, shard, STACKED["orders"])
        return with_stacked(features.read_shard(shard), "orders", scores)  # all that any ranker has

    rows = sample_rows(features, read, EXPLAINED_ROWS, settings.seed)
    gain = gain_importance(rankers).rename({"importance": "gain"})
    shap = shap_importance(rankers, rows).rename({"importance": "shap"})
    table = shap.join(gain, on=["type", "feature"], how="left", maintain_order="left")
    table.select(EXPLANATION.names()).with_columns(pl.col("gain").fill_null(0)).write_parquet(path)
    return {"explained_rows": rows.height}


def gain_importance(rankers: Mapping[str, xgb.Booster]) -> pl.DataFrame:
    """Share of each feature in the loss that a target's ranker gained by its splits.

    Columns type, feature, importance; the importances of a type sum to 1. A feature without a split
    is left out.
    """
    tables = [_NO_IMPORTANCE]
    for name, booster in rankers.items():
        gains = booster.get_score(importance_type="total_gain")
        gain = np.array(list(gains.values()), np.float64)
        tables.append(_importance(name, list(gains), gain / gain.sum()))
    return pl.concat(tables)


def shap_importance(rankers: Mapping[str, xgb.Booster], rows: pl.DataFrame) -> pl.DataFrame:
    """Mean absolute contribution of each feature to the margins of a sample of rows.

    Columns type, feature, importance, in units of the margin. The contributions are TreeSHAP's
    (Lundberg et al. 2020, https://doi.org/10.1038/s42256-019-0138-9).
    """
    tables = [
        _importance(name, booster.feature_names or [], np.abs(found).mean(axis=0))
        for name, booster in rankers.items()
        for found in [shap_contributions(booster, rows)]
    ]
    return pl.concat([_NO_IMPORTANCE, *tables])


def shap_contributions(booster: xgb.Booster, rows: pl.DataFrame) -> NDArray[np.float32]:
    """What each feature adds to the margin of each row: float32 [rows, features].

    In the order of the ranker's own features; with the margin of an average row they sum to the
    row's margin. Some milliseconds a row: for a sample, not for a shard.
    """
    names = booster.feature_names or []
    matrix = rows.select(pl.col(names).cast(pl.Float32)).to_numpy()
    contributions = booster.predict(xgb.DMatrix(matrix, feature_names=names), pred_contribs=True)
    return contributions[:, :-1]


def sample_rows(
    features: Dataset, read: Callable[[int], pl.DataFrame], rows: int, seed: int
) -> pl.DataFrame:
    """One row drawn from each of so many about equal stretches of a table, or all its rows.

    `read` gives a shard's rows. The same for all shards, of which one is in memory at a time.
    """
    stretches = min(rows, features.manifest.rows)
    ends = np.arange(stretches + 1) * features.manifest.rows // max(stretches, 1)
    drawn = np.random.default_rng(seed).integers(ends[:-1], ends[1:])
    parts, before = [], 0
    for shard in range(len(features.files)):
        part = read(shard)
        here = (drawn >= before) & (drawn < before + part.height)
        parts.append(part[drawn[here] - before])
        before += part.height
    return pl.concat(parts)


def importance_plot(importance: pl.DataFrame, meaning: str) -> bytes:
    """PNG of the most important features by type, from a table of importances."""
    names = importance["type"].unique(maintain_order=True).to_list()
    figure, (axes,) = panels(1, len(names), (5 * len(names), 5))
    for axis, name in zip(axes, names, strict=True):
        bars(axis, importance.filter(pl.col("type") == name), "importance")
        axis.set_title(f"{name}: {meaning}", fontsize=9)
    return png(figure)


def bars(axis: Any, table: pl.DataFrame, column: str) -> None:
    """Draw the first features of a table as bars, as long as the column says."""
    shown = table.head(SHOWN)
    axis.barh(shown["feature"].to_list(), shown[column].to_numpy(), color="C0")
    axis.invert_yaxis()


_NO_IMPORTANCE = pl.DataFrame(
    schema={"type": EVENT_TYPE, "feature": pl.String, "importance": pl.Float64}
)


def _importance(name: str, features: Sequence[str], importance: NDArray[Any]) -> pl.DataFrame:
    return (
        pl.DataFrame(
            {"feature": features, "importance": importance},
            {"feature": pl.String, "importance": pl.Float64},
        )
        .select(pl.lit(name, EVENT_TYPE).alias("type"), pl.all())
        .sort("importance", "feature", descending=[True, False])
    )


EXPLANATION_STAGE = Stage(
    write=write_explanation, version=f"3 {EXPLAINED_ROWS}", settings=("seed", "device")
)
