"""LightGBM's lambdarank in the place of XGBoost, with the recipe's numbers: a second opinion.

`FOLD_RANKERS` is the stage of a target's fold rankers; `Margins` takes the place of that of
`ranking/margins.py` while their scores are made. Needs the extra `lightgbm`.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from otto_pipeline.ranking.matrix import held_out
from otto_pipeline.ranking.ranker import folds_of, outside_fold
from otto_pipeline.ranking.recipe import STOPPING_ROUNDS, STOPPING_SHARE, Recipe, recipe_for
from otto_pipeline.ranking.scoring import Scores, ranker_features, with_stacked
from otto_pipeline.ranking.training_rows import positive_sessions
from otto_pipeline.schemas import TYPES
from otto_pipeline.settings import Settings, extra
from otto_pipeline.store.dataset import Figures
from otto_pipeline.store.stage import Inputs, Stage

with extra("lightgbm", "python -m bench rankers"):
    import lightgbm as lgb


def parameters(recipe: Recipe, settings: Settings) -> dict[str, object]:
    """A recipe in LightGBM's names."""
    of_xgboost = recipe.parameters
    return {
        "objective": "lambdarank",
        "metric": "ndcg",
        "eval_at": [20],
        "lambdarank_truncation_level": of_xgboost["lambdarank_num_pair_per_sample"],
        "max_depth": of_xgboost["max_depth"],
        "num_leaves": 2 ** of_xgboost["max_depth"],
        "learning_rate": of_xgboost["eta"],
        "feature_fraction": of_xgboost["colsample_bytree"],
        "bagging_fraction": of_xgboost["subsample"],
        "bagging_freq": 1,
        "lambda_l2": of_xgboost["lambda"],
        "min_data_in_leaf": of_xgboost["min_child_weight"],
        "seed": settings.seed,
        "num_threads": settings.threads,
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
    }


def write_fold_ranker(
    name: str, inputs: Inputs, shard: int, settings: Settings, path: Path
) -> Figures:
    """Fit on the sessions outside the fold, as the shipped ranker of the fold."""
    data = outside_fold(name, inputs, shard, settings)
    recipe = recipe_for(positive_sessions(inputs["training_rows"], name))
    if recipe.rounds:
        model = lgb.train(parameters(recipe, settings), _dataset(data, name), recipe.rounds)
    else:
        stops = held_out(data, settings.seed, "early stopping", STOPPING_SHARE)
        train = _dataset(data.filter(~stops), name)
        model = lgb.train(
            parameters(recipe, settings),
            train,
            settings.boosting_rounds,
            valid_sets=[_dataset(data.filter(stops), name, train)],
            callbacks=[lgb.early_stopping(STOPPING_ROUNDS, verbose=False)],
        )
    model.save_model(path, num_iteration=model.best_iteration)
    return {"trees": model.num_trees()}


def _dataset(data: pl.DataFrame, name: str, reference: lgb.Dataset | None = None) -> lgb.Dataset:
    names = ranker_features(name)
    return lgb.Dataset(
        data.select(pl.col(names).cast(pl.Float32)).to_numpy(order="c"),
        label=data["label"].to_numpy(),
        group=data["session"].rle().struct.field("len").to_numpy(),
        feature_name=names,
        reference=reference,
    )


class Margins:
    """What the rankers of targets make of rows, as `ranking.margins.Margins`."""

    def __init__(
        self, rankers: Mapping[str, Path], frame: pl.DataFrame, settings: Settings
    ) -> None:
        self._frame, self._threads = frame, settings.threads
        self._models = {name: lgb.Booster(model_file=file) for name, file in rankers.items()}

    def of(self, name: str, scores: Scores) -> NDArray[np.float32]:
        """Margin of each row by a target's ranker; `scores` are of those it is stacked on."""
        whole = with_stacked(self._frame, name, scores)
        matrix = whole.select(pl.col(ranker_features(name)).cast(pl.Float32)).to_numpy(order="c")
        found = self._models[name].predict(matrix, raw_score=True, num_threads=self._threads)
        return found.astype(np.float32)


FOLD_RANKERS = {
    name: Stage(
        write=partial(write_fold_ranker, name),
        shards=partial(folds_of, name),
        file="fold-{shard}.txt",
    )
    for name in TYPES
}
"""Stage by target."""
