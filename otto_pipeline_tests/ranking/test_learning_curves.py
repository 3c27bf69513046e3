from pathlib import Path

import pytest

from otto_pipeline.ranking import ranker
from otto_pipeline.ranking.learning_curves import curves_plot, read_curves
from otto_pipeline.ranking.recipe import RECIPES, STOPPING_ROUNDS
from otto_pipeline.settings import Settings
from otto_pipeline.store.build import build
from otto_pipeline.store.dataset import Dataset
from otto_pipeline_tests.ranking.conftest import SMALL
from otto_pipeline_tests.ranking.test_ranker import inputs_of

SETTINGS = Settings(**SMALL)


def test_ranker_of_a_fixed_number_of_rounds_has_no_curve(made: dict[str, Dataset]) -> None:
    assert read_curves(made["validation/fold_rankers/clicks"]).is_empty()


def test_curve_is_what_the_stopping_sessions_said_after_each_round(
    made: dict[str, Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranker, "recipe_for", lambda _sessions: RECIPES[1])
    stage = ranker.fold_rankers_stage("clicks")
    rankers = build(tmp_path, "rankers", stage, inputs_of(made), SETTINGS, print).dataset
    curves = read_curves(rankers)
    assert curves["fold"].unique().sort().to_list() == [0, 1, 2, 3, 4]
    for fold in range(5):
        curve = curves.filter(fold=fold)
        trees = rankers.figures(fold)["trees"]
        assert curve["round"].to_list() == list(range(1, curve.height + 1))
        assert curve["trees"].unique().to_list() == [trees]
        assert curve["ndcg"].arg_max() == trees - 1
        assert curve.height == min(trees + STOPPING_ROUNDS, SETTINGS.boosting_rounds)
    assert curves_plot(curves).startswith(b"\x89PNG")
