from pathlib import Path

import numpy as np
import polars as pl
import pytest
import xgboost as xgb

from otto_pipeline.events.hashing import draw
from otto_pipeline.features.table import FEATURE_NAMES
from otto_pipeline.folds import row_folds, usable_folds
from otto_pipeline.ranking import ranker
from otto_pipeline.ranking.matrix import TrainingData, read_training_data
from otto_pipeline.ranking.ranker import load_ranker
from otto_pipeline.settings import Settings
from otto_pipeline.store.dataset import Dataset
from otto_pipeline_tests.ranking.conftest import SMALL

SETTINGS = Settings(boosting_rounds=5)


def inputs_of(made: dict[str, Dataset], name: str = "clicks") -> dict[str, Dataset]:
    return {
        "features": made["validation/features"],
        "training_rows": made["validation/training_rows"],
        "fold_rankers": made[f"validation/fold_rankers/{name}"],
    }


def test_fold_ranker_sees_no_session_of_its_fold_and_stops_by_others_still(
    made: dict[str, Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[TrainingData, TrainingData]] = []

    def fit(data: TrainingData, stopping: TrainingData, _settings: Settings) -> xgb.Booster:
        seen.append((data, stopping))
        return xgb.Booster()

    monkeypatch.setattr(ranker, "_fit_until_best", fit)
    monkeypatch.setattr(ranker, "_save", lambda *_args, **_facts: {})
    for fold in range(5):
        ranker.write_fold_ranker("clicks", inputs_of(made), fold, SETTINGS, tmp_path / "x")
    everyone = set(made["validation/training_rows"].read().filter("in_clicks")["session"])
    held_out = []
    for data, stopping in seen:
        learnt, stops = set(data.session.tolist()), set(stopping.session.tolist())
        assert learnt
        assert stops
        assert not learnt & stops
        held_out.append(everyone - learnt - stops)
    assert all(held_out)
    assert sum(map(len, held_out)) == len(everyone) == len(set().union(*held_out))


def test_prediction_of_a_session_is_by_the_ranker_that_has_not_seen_it(
    made: dict[str, Dataset],
) -> None:
    features = made["validation/features"].read()
    sessions = made["validation/sessions"].read().filter("query").select("session", "hash")
    rankers = made["validation/fold_rankers/clicks"].files
    rows = features.join(sessions, on="session", maintain_order="left")
    folds = row_folds(draw(rows["hash"], SETTINGS.seed, "folds").to_numpy(), len(rankers))
    matrix = rows.select(pl.col(FEATURE_NAMES).cast(pl.Float32)).to_numpy()
    predictions = made["validation/predictions"].read().filter(pl.col("type") == "clicks")
    for fold, file in enumerate(rankers):
        score = load_ranker(file, SETTINGS).predict(
            xgb.DMatrix(matrix[folds == fold], feature_names=FEATURE_NAMES)
        )
        expected = (
            rows.filter(folds == fold)
            .select("session", "aid", score=pl.Series(score))
            .sort(["session", "score", "aid"], descending=[False, True, False])
            .group_by("session", maintain_order=True)
            .head(20)
        )
        found = predictions.join(expected.select("session").unique(), on="session", how="semi")
        assert found.select("session", "aid", "score").equals(expected)


def test_matrix_is_dense_and_sessions_lie_together(made: dict[str, Dataset]) -> None:
    data = read_training_data(
        made["validation/features"], made["validation/training_rows"], "clicks", SETTINGS
    )
    assert data.features.dtype == np.float32
    assert not np.isnan(data.features).any()
    assert (np.diff(data.session) >= 0).all()
    assert data.features.shape == (len(data.label), len(FEATURE_NAMES))


def test_cap_on_training_rows_takes_whole_sessions(made: dict[str, Dataset]) -> None:
    rows = made["validation/training_rows"]
    capped = read_training_data(
        made["validation/features"], rows, "clicks", Settings(training_rows=1000)
    )
    whole = rows.read().filter("in_clicks")
    taken = whole.filter(pl.col("session").is_in(set(capped.session.tolist())))
    assert 500 < len(capped.label) < 1500
    assert taken.height == len(capped.label)


def test_ranker_file_names_features_and_facts(made: dict[str, Dataset]) -> None:
    dataset = made["validation/fold_rankers/clicks"]
    assert len(dataset.files) == 5
    booster = load_ranker(dataset.files[2], SETTINGS)
    assert booster.feature_names == FEATURE_NAMES
    assert booster.attributes()["fold"] == "2"
    frame = pl.concat(ranker.frames(dataset)).collect()
    assert frame["fold"].to_list() == [0, 1, 2, 3, 4]
    assert frame["trees"].is_between(1, SMALL["boosting_rounds"]).all()


def test_ranker_for_the_submission_takes_the_mean_number_of_trees(
    made: dict[str, Dataset], tmp_path: Path
) -> None:
    folds = made["validation/fold_rankers/clicks"]
    figures = ranker.write_ranker("clicks", inputs_of(made), 0, SETTINGS, tmp_path / "ranker.ubj")
    assert figures["trees"] == round(folds.total("trees") / 5)
    assert figures["fold"] == ranker.ALL_SESSIONS
    assert figures["rows"] == made["validation/training_rows"].total("rows_clicks")


@pytest.mark.parametrize(
    ("positive", "folds"), [(0, 0), (9, 0), (10, 2), (14, 2), (15, 3), (24, 4), (25, 5), (999, 5)]
)
def test_few_labels_get_fewer_folds_and_fewer_than_ten_none(positive: int, folds: int) -> None:
    assert usable_folds(positive, 5) == folds
