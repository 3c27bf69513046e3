"""Training rows, features → rankers: one per fold for out-of-fold scores, one on all sessions.

A ranker is an XGBoost model (`rank:ndcg`) for one target, written as UBJSON with the names of its
features; what else there is to know of it is in its attributes. A target with too few labels has
no ranker: it keeps the list that needs no labels.
"""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import xgboost as xgb

from otto_pipeline.features.table import FEATURE_NAMES
from otto_pipeline.folds import row_folds, usable_folds
from otto_pipeline.ranking.matrix import TrainingData, quantile_matrix, read_training_data
from otto_pipeline.ranking.training_rows import positive_sessions
from otto_pipeline.schemas import RANKER
from otto_pipeline.settings import Settings
from otto_pipeline.store.dataset import Dataset, Figures
from otto_pipeline.store.stage import Inputs, Stage

PARAMETERS: dict[str, Any] = {
    "objective": "rank:ndcg",
    "eval_metric": "ndcg@20",
    "tree_method": "hist",
    "max_depth": 5,
    "eta": 0.1,
    "subsample": 0.8,
    "colsample_bytree": 0.5,
    "min_child_weight": 10,
    "lambda": 10,
    "lambdarank_pair_method": "topk",
    "lambdarank_num_pair_per_sample": 20,
}
STOPPING_SHARE = 0.15
"""Share of the training sessions that decide when to stop, and are not learnt from."""
STOPPING_ROUNDS = 30
MIN_STOPPING_SESSIONS = 10
"""With fewer sessions to decide by, training ends after `FEW_LABELS_ROUNDS`."""
FEW_LABELS_ROUNDS = 60
ALL_SESSIONS = -1
"""The fold of a ranker that has seen every session."""

VERSION = f"1 {PARAMETERS} {STOPPING_SHARE} {STOPPING_ROUNDS} {FEW_LABELS_ROUNDS}"
_SETTINGS = ("seed", "folds", "boosting_rounds", "training_rows", "device")


def fold_rankers_stage(name: str) -> Stage:
    """Rankers of a target, one shard per fold: each has not seen the sessions of its fold."""
    return Stage(
        write=partial(write_fold_ranker, name),
        version=VERSION,
        shards=partial(folds_of, name),
        settings=_SETTINGS,
        file="fold-{shard}.ubj",
    )


def ranker_stage(name: str) -> Stage:
    """The ranker of a target that is fitted on all sessions."""
    return Stage(
        write=partial(write_ranker, name),
        version=VERSION,
        shards=_one_if_learnt,
        settings=_SETTINGS,
        file="ranker.ubj",
    )


def folds_of(name: str, inputs: Inputs, settings: Settings) -> int:
    """Folds that the labels of a target carry; 0 where it is not learnt."""
    return usable_folds(positive_sessions(inputs["training_rows"], name), settings.folds)


def _one_if_learnt(inputs: Inputs, _settings: Settings) -> int:
    return min(1, len(inputs["fold_rankers"].files))


def write_fold_ranker(
    name: str, inputs: Inputs, shard: int, settings: Settings, path: Path
) -> Figures:
    """Fit on the sessions outside the fold; a part of those decides when to stop."""
    data = read_training_data(inputs["features"], inputs["training_rows"], name, settings)
    folds = folds_of(name, inputs, settings)
    data = data.where(row_folds(data.draws(settings.seed, "folds"), folds) != shard)
    limit = np.uint64(int(STOPPING_SHARE * 1_000_000))
    stops = data.draws(settings.seed, "early stopping") % np.uint64(1_000_000) < limit
    if data.where(stops).positive_sessions < MIN_STOPPING_SESSIONS:
        booster = _fit(data, min(FEW_LABELS_ROUNDS, settings.boosting_rounds), settings)
        return _save(booster, path, type=name, fold=shard, rows=len(data.label))
    booster = _fit_until_best(data.where(~stops), data.where(stops), settings)
    return _save(booster, path, type=name, fold=shard, rows=int((~stops).sum()))


def write_ranker(name: str, inputs: Inputs, _shard: int, settings: Settings, path: Path) -> Figures:
    """Fit on all sessions, as many rounds as the fold rankers took on average."""
    data = read_training_data(inputs["features"], inputs["training_rows"], name, settings)
    folds = inputs["fold_rankers"]
    rounds = round(folds.total("trees") / len(folds.files))
    booster = _fit(data, rounds, settings)
    return _save(booster, path, type=name, fold=ALL_SESSIONS, rows=len(data.label))


def _fit_until_best(data: TrainingData, stopping: TrainingData, settings: Settings) -> xgb.Booster:
    train = quantile_matrix(data, settings.threads)
    booster = xgb.train(
        _parameters(settings),
        train,
        settings.boosting_rounds,
        evals=[(quantile_matrix(stopping, settings.threads, ref=train), "stopping")],
        early_stopping_rounds=STOPPING_ROUNDS,
        verbose_eval=False,
    )
    return booster[: booster.best_iteration + 1]


def _fit(data: TrainingData, rounds: int, settings: Settings) -> xgb.Booster:
    return xgb.train(_parameters(settings), quantile_matrix(data, settings.threads), rounds)


def _parameters(settings: Settings) -> dict[str, Any]:
    return PARAMETERS | {
        "seed": settings.seed,
        "nthread": settings.threads,
        "device": settings.device,
    }


def _save(booster: xgb.Booster, path: Path, **facts: str | int) -> Figures:
    figures = {**facts, "trees": booster.num_boosted_rounds(), "features": len(FEATURE_NAMES)}
    booster.set_attr(**{key: str(value) for key, value in figures.items()})
    path.write_bytes(booster.save_raw("ubj"))
    return figures


def load_ranker(path: Path, settings: Settings) -> xgb.Booster:
    """A ranker from its file."""
    booster = xgb.Booster({"nthread": settings.threads, "device": settings.device})
    booster.load_model(bytearray(path.read_bytes()))
    return booster


def frames(dataset: Dataset) -> list[pl.LazyFrame]:
    """What the ranker files say of themselves, as rows of `RANKER`."""
    rows = []
    for file in dataset.files:
        booster = xgb.Booster()
        booster.load_model(bytearray(file.read_bytes()))
        facts = {key: value or "" for key, value in booster.attributes().items()}
        rows.append(
            {
                "type": facts["type"],
                "fold": int(facts["fold"]),
                "trees": booster.num_boosted_rounds(),
                "rows": int(facts["rows"]),
                "features": booster.num_features(),
            }
        )
    return [pl.LazyFrame(rows, schema=RANKER.empty().schema)]
