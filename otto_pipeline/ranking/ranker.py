"""Training rows, features → rankers: one per fold for out-of-fold scores, one on all sessions.

A ranker is an XGBoost model for one target, written as UBJSON with the names of its features; what
else there is to know of it is in its attributes. A target with too few labels has no ranker: it
keeps the list that needs no labels.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path

import polars as pl
import xgboost as xgb

from otto_pipeline.events.hashing import draw
from otto_pipeline.folds import ALL_SESSIONS, row_folds, usable_folds
from otto_pipeline.ranking.learning_curves import CURVE, curve_text
from otto_pipeline.ranking.matrix import (
    BATCH_ROWS,
    chosen_rows,
    held_out,
    quantile_matrix,
    read_training_data,
)
from otto_pipeline.ranking.recipe import (
    RECIPES,
    STOPPING_ROUNDS,
    STOPPING_SHARE,
    Recipe,
    recipe_for,
    tuned_parameters,
)
from otto_pipeline.ranking.scoring import ranker_features
from otto_pipeline.ranking.training_rows import positive_sessions
from otto_pipeline.schemas import RANKER
from otto_pipeline.settings import Settings
from otto_pipeline.store.dataset import Dataset, Figures
from otto_pipeline.store.stage import Inputs, Stage

_SETTINGS = ("seed", "folds", "boosting_rounds", "training_rows", "device")


def fold_rankers_stage(name: str) -> Stage:
    """Rankers of a target, one shard per fold: each has not seen the sessions of its fold."""
    return Stage(
        write=partial(write_fold_ranker, name),
        version=_version(name),
        shards=partial(folds_of, name),
        settings=_SETTINGS,
        file="fold-{shard}.ubj",
        sources=partial(_tuned, name),
    )


def ranker_stage(name: str) -> Stage:
    """The ranker of a target that is fitted on all sessions."""
    return Stage(
        write=partial(write_ranker, name),
        version=_version(name),
        shards=_one_if_learnt,
        settings=_SETTINGS,
        file="ranker.ubj",
        sources=partial(_tuned, name),
    )


def _version(name: str) -> str:
    features = " ".join(ranker_features(name))
    return f"3 {RECIPES} {STOPPING_SHARE} {STOPPING_ROUNDS} {BATCH_ROWS} {features}"


def folds_of(name: str, inputs: Inputs, settings: Settings) -> int:
    """Folds that the labels of a target carry; 0 where it is not learnt."""
    return usable_folds(positive_sessions(inputs["training_rows"], name), settings.folds)


def _one_if_learnt(inputs: Inputs, _settings: Settings) -> int:
    return min(1, len(inputs["fold_rankers"].files))


def write_fold_ranker(
    name: str, inputs: Inputs, shard: int, settings: Settings, path: Path
) -> Figures:
    """Fit on the sessions outside the fold."""
    data = outside_fold(name, inputs, shard, settings)
    recipe = _recipe(name, inputs, settings)
    if recipe.rounds:
        rounds = min(recipe.rounds, settings.boosting_rounds)
        booster = _fit(data, name, recipe, rounds, settings)
        return _save(booster, path, type=name, fold=shard, rows=data.height)
    stops = held_out(data, settings.seed, "early stopping", STOPPING_SHARE)
    learnt, stopping = data.filter(~stops), data.filter(stops)
    booster = _fit_until_best(learnt, stopping, name, recipe, settings)
    return _save(booster, path, type=name, fold=shard, rows=learnt.height)


def outside_fold(name: str, inputs: Inputs, fold: int, settings: Settings) -> pl.DataFrame:
    """What the ranker of a fold may learn from, as `read_training_data` gives it."""
    rows = chosen_rows(inputs["training_rows"], name, settings)
    draws = draw(rows["hash"], settings.seed, "folds").to_numpy()
    others = rows.filter(row_folds(draws, folds_of(name, inputs, settings)) != fold)
    return read_training_data(inputs, name, others)


def write_ranker(name: str, inputs: Inputs, _shard: int, settings: Settings, path: Path) -> Figures:
    """Fit on all sessions, as many rounds as the fold rankers took on average."""
    data = read_training_data(inputs, name, chosen_rows(inputs["training_rows"], name, settings))
    folds = inputs["fold_rankers"]
    rounds = round(folds.total("trees") / len(folds.files))
    booster = _fit(data, name, _recipe(name, inputs, settings), rounds, settings)
    return _save(booster, path, type=name, fold=ALL_SESSIONS, rows=data.height)


def _recipe(name: str, inputs: Inputs, settings: Settings) -> Recipe:
    recipe = recipe_for(positive_sessions(inputs["training_rows"], name))
    return replace(recipe, parameters={**recipe.parameters, **tuned_parameters(name, settings)})


def _tuned(name: str, settings: Settings) -> dict[str, str]:
    tuned = tuned_parameters(name, settings)
    return {"tuned": str(sorted(tuned.items()))} if tuned else {}


def _fit_until_best(
    data: pl.DataFrame, stopping: pl.DataFrame, name: str, recipe: Recipe, settings: Settings
) -> xgb.Booster:
    train = quantile_matrix(data, name, settings.threads)
    found: dict[str, dict[str, list[float]]] = {}
    booster = xgb.train(
        parameters(recipe, settings),
        train,
        settings.boosting_rounds,
        evals=[(quantile_matrix(stopping, name, settings.threads, ref=train), "stopping")],
        early_stopping_rounds=STOPPING_ROUNDS,
        evals_result=found,
        verbose_eval=False,
    )
    best = booster[: booster.best_iteration + 1]
    best.set_attr(**{CURVE: curve_text(found["stopping"])})
    return best


def _fit(
    data: pl.DataFrame, name: str, recipe: Recipe, rounds: int, settings: Settings
) -> xgb.Booster:
    matrix = quantile_matrix(data, name, settings.threads)
    return xgb.train(parameters(recipe, settings), matrix, rounds)


def parameters(recipe: Recipe, settings: Settings) -> dict[str, object]:
    """What XGBoost is given."""
    return {
        **recipe.parameters,
        "seed": settings.seed,
        "nthread": settings.threads,
        "device": settings.device,
    }


def _save(booster: xgb.Booster, path: Path, **facts: str | int) -> Figures:
    trees, features = booster.num_boosted_rounds(), booster.num_features()
    figures = {**facts, "trees": trees, "features": features}
    booster.set_attr(**{key: str(value) for key, value in figures.items()})
    path.write_bytes(booster.save_raw("ubj"))
    return figures


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
