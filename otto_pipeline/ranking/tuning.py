"""Training rows and their features → the parameters of XGBoost that order them best, by search.

An Optuna study for each target: every trial fits on four fifths of the sessions and is judged on
the rest after each round, so that a trial which falls behind ends early. Studies lie in an SQLite
file and go on where they stopped. The best parameters go into a TOML file that the setting
`rankers_file` names: rankers then take them in place of their recipe's.
"""

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xgboost as xgb

from otto_pipeline.ranking.matrix import (
    chosen_rows,
    held_out,
    quantile_matrix,
    read_training_data,
)
from otto_pipeline.ranking.ranker import parameters
from otto_pipeline.ranking.recipe import STOPPING_ROUNDS, recipe_for
from otto_pipeline.ranking.training_rows import positive_sessions
from otto_pipeline.settings import Settings, extra
from otto_pipeline.store.errors import StoreError
from otto_pipeline.store.files import atomic
from otto_pipeline.store.stage import Inputs

if TYPE_CHECKING:
    import optuna

JUDGED_SHARE = 0.2
"""Share of the sessions on which trials are judged."""
SPACE: dict[str, tuple[float, float]] = {
    "eta": (0.02, 0.3),
    "colsample_bytree": (0.2, 1.0),
    "subsample": (0.5, 1.0),
    "min_child_weight": (1.0, 100.0),
    "lambda": (0.1, 100.0),
}
"""Ranges, searched on a log scale."""
DEPTHS = (2, 9)
JUDGED_BY = "ndcg@20"


def tune(
    name: str,
    inputs: Inputs,
    settings: Settings,
    trials: int,
    storage: Path,
    log: Callable[[str], None],
) -> dict[str, Any]:
    """Parameters of the best of `trials` trials for a target, those of earlier calls included.

    `inputs` are those of the target's ranker. A study belongs to their content: with others a new
    one begins.

    Raises:
        StoreError: too few sessions with a label to judge by.
    """
    with extra("tuning", "otto tune"):
        import optuna  # noqa: PLC0415  # half a second of import that only this needs

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name=f"{name} {inputs['training_features'].fingerprint}",
        storage=f"sqlite:///{storage}",
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=settings.seed),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=10),
        load_if_exists=True,
    )
    done = sum(trial.state.is_finished() for trial in study.trials)
    log(f"{name}: {done} trials are done, {max(0, trials - done)} to do")
    if done < trials:
        objective = _objective(name, inputs, settings)
        study.optimize(objective, trials - done, callbacks=[lambda s, t: log(_line(name, s, t))])
    return dict(study.best_params)


def _objective(name: str, inputs: Inputs, settings: Settings) -> "Callable[[optuna.Trial], float]":
    data = read_training_data(inputs, name, chosen_rows(inputs["training_rows"], name, settings))
    judged = held_out(data, settings.seed, "tuning", JUDGED_SHARE)
    if not data.filter(judged)["label"].sum() or not data.filter(~judged)["label"].sum():
        raise StoreError(f"{name}: too few sessions with a label to tune by; take a larger scale")
    train = quantile_matrix(data.filter(~judged), name, settings.threads)
    judging = quantile_matrix(data.filter(judged), name, settings.threads, ref=train)
    recipe = recipe_for(positive_sessions(inputs["training_rows"], name))

    def score(trial: "optuna.Trial") -> float:
        chosen = {key: trial.suggest_float(key, *ends, log=True) for key, ends in SPACE.items()}
        chosen["max_depth"] = trial.suggest_int("max_depth", *DEPTHS)
        booster = xgb.train(
            parameters(recipe, settings) | chosen,
            train,
            settings.boosting_rounds,
            evals=[(judging, "judged")],
            early_stopping_rounds=STOPPING_ROUNDS,
            callbacks=[_Pruning(trial)],
            verbose_eval=False,
        )
        return float(booster.best_score)

    return score


class _Pruning(xgb.callback.TrainingCallback):
    """Tells a trial its score after each round, and ends it where others were better by then."""

    def __init__(self, trial: "optuna.Trial") -> None:
        super().__init__()
        self._trial = trial

    def after_iteration(self, model: Any, epoch: int, evals_log: Mapping[str, Any]) -> bool:
        """Called by XGBoost."""
        import optuna  # noqa: PLC0415  # as above

        self._trial.report(evals_log["judged"][JUDGED_BY][-1], epoch)
        if self._trial.should_prune():
            raise optuna.TrialPruned
        return False


def _line(name: str, study: "optuna.Study", trial: "optuna.trial.FrozenTrial") -> str:
    finished = [one for one in study.trials if one.value is not None]
    best = f"{study.best_value:.4f}" if finished else "–"
    value = f"{trial.value:.4f}" if trial.value is not None else "–"
    return f"{name}: trial {trial.number + 1} {trial.state.name.lower()}, {value}; best {best}"


def write_tuned(path: Path, best: Mapping[str, Mapping[str, Any]]) -> None:
    """Write parameters by target as TOML; tables of other targets in the file stay."""
    tables = (tomllib.loads(path.read_text("utf-8")) if path.exists() else {}) | dict(best)
    text = "\n".join(
        f"[{name}]\n" + "".join(f"{key} = {value!r}\n" for key, value in sorted(table.items()))
        for name, table in sorted(tables.items())
    )
    with atomic(path) as temporary:
        temporary.write_text(text, "utf-8")
