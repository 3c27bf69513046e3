"""How a ranker is fitted, by the number of sessions that there are to learn from."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from otto_pipeline.schemas import TYPES
from otto_pipeline.settings import Settings, SettingsError

STOPPING_SHARE = 0.15
"""Share of the training sessions that decide when to stop, and are not learnt from."""
STOPPING_ROUNDS = 30

_COMMON = {
    "objective": "rank:ndcg",
    "eval_metric": "ndcg@20",
    "tree_method": "hist",
    "subsample": 0.8,
    "min_child_weight": 10,
    "lambda": 10,
    "lambdarank_pair_method": "topk",
    "lambdarank_num_pair_per_sample": 20,
}


@dataclass(frozen=True)
class Recipe:
    """Parameters of XGBoost for `sessions` positive sessions or more.

    `rounds` is the number of boosting rounds; None: as many as a part of the sessions decides.
    """

    sessions: int
    rounds: int | None
    parameters: Mapping[str, Any]


RECIPES = (
    # too few sessions to spare any for early stopping; shallow trees, little to overfit with
    Recipe(0, 60, {**_COMMON, "max_depth": 3, "eta": 0.1, "colsample_bytree": 0.4}),
    Recipe(1_000, None, {**_COMMON, "max_depth": 5, "eta": 0.1, "colsample_bytree": 0.5}),
    Recipe(50_000, None, {**_COMMON, "max_depth": 6, "eta": 0.2, "colsample_bytree": 0.4}),
)
"""From few sessions to many (RANKING.md, the recipe in precise terms)."""


def recipe_for(positive_sessions: int) -> Recipe:
    """The recipe for that many sessions with a label among their candidates."""
    return [recipe for recipe in RECIPES if recipe.sessions <= positive_sessions][-1]


SETTING = "OTTO_RANKERS_FILE"


def tuned_parameters(name: str, settings: Settings) -> dict[str, float]:
    """Parameters of a target in the file of the setting `rankers_file`; none where it is not set.

    Raises:
        SettingsError: the file cannot be read, or what it says is not numbers by parameter.
    """
    path = settings.rankers_file
    if path is None:
        return {}
    try:
        tables = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(f"{SETTING}={path}: cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{SETTING}={path}: is not TOML: {error}") from None
    unknown = sorted(set(tables).difference(TYPES))
    if unknown:
        raise SettingsError(
            f"{SETTING}={path}: has a table [{unknown[0]}]; there may be {', '.join(TYPES)}"
        )
    table = tables.get(name, {})
    for key, value in table.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise SettingsError(f"{SETTING}={path}: {name}.{key} = {value!r} is not a number")
    return dict(table)
