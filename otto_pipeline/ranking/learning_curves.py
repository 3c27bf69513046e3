"""Fold rankers → how good each was after each boosting round, on the sessions that stop it.

A ranker's file carries its curve; one whose number of rounds is fixed has none.
"""

from collections.abc import Mapping, Sequence

import polars as pl
import xgboost as xgb

from otto_pipeline.pictures import panels, png
from otto_pipeline.store.dataset import Dataset

CURVE = "learning_curve"
"""The attribute of a ranker."""
SCHEMA = {"fold": pl.Int64, "round": pl.Int64, "trees": pl.Int64, "ndcg": pl.Float64}


def curve_text(evaluated: Mapping[str, Sequence[float]]) -> str:
    """What XGBoost found by the one metric of the recipe, round by round."""
    (values,) = evaluated.values()
    return " ".join(f"{value:.5f}" for value in values)


def read_curves(rankers: Dataset) -> pl.DataFrame:
    """A row for each fold and boosting round, from 1: fold, round, trees, ndcg.

    `ndcg` is the NDCG@20 of the sessions that stop it, `trees` the rounds that the ranker was left
    with: those up to the best.
    """
    frames = [pl.DataFrame(schema=SCHEMA)]
    for fold, file in enumerate(rankers.files):
        booster = xgb.Booster()
        booster.load_model(bytearray(file.read_bytes()))
        values = [float(value) for value in (booster.attr(CURVE) or "").split()]
        trees = booster.num_boosted_rounds()
        rows = [(fold, number, trees, value) for number, value in enumerate(values, start=1)]
        frames.append(pl.DataFrame(rows, SCHEMA, orient="row"))
    return pl.concat(frames)


def curves_plot(curves: pl.DataFrame) -> bytes:
    """A line for each fold, with a dot where the ranker ends."""
    figure, ((axis,),) = panels(1, 1, (6, 4))
    for (fold,), rows in curves.group_by(["fold"], maintain_order=True):
        axis.plot(rows["round"], rows["ndcg"], color=f"C{fold}", label=f"without fold {fold}")
        end = rows.filter(pl.col("round") == pl.col("trees"))
        axis.plot(end["round"], end["ndcg"], "o", color=f"C{fold}")
    axis.set_xlabel("boosting rounds", fontsize=9)
    axis.set_title("NDCG@20 of the sessions that stop it", fontsize=9)
    axis.legend(fontsize=7)
    return png(figure)
