from pathlib import Path

import numpy as np
import polars as pl
import pytest
import xgboost as xgb

from otto_pipeline.features.table import FEATURE_NAMES
from otto_pipeline.folds import ALL_SESSIONS, usable_folds
from otto_pipeline.ranking import matrix, ranker
from otto_pipeline.ranking.margins import load_ranker
from otto_pipeline.ranking.matrix import chosen_rows, read_training_data
from otto_pipeline.ranking.recipe import RECIPES, recipe_for
from otto_pipeline.ranking.scoring import STACKED, ranker_features
from otto_pipeline.schemas import TYPES
from otto_pipeline.settings import Settings
from otto_pipeline.store.dataset import Dataset
from otto_pipeline_tests.building import dataset_of
from otto_pipeline_tests.ranking.conftest import SMALL

SETTINGS = Settings(boosting_rounds=5)


def inputs_of(made: dict[str, Dataset], name: str = "clicks") -> dict[str, Dataset]:
    return {
        "training_features": made["validation/training_features"],
        "training_rows": made["validation/training_rows"],
        "fold_rankers": made[f"validation/fold_rankers/{name}"],
        **{other: made[f"validation/fold_scores/{other}"] for other in STACKED[name]},
    }


def training_data(
    made: dict[str, Dataset], name: str = "clicks", settings: Settings = SETTINGS
) -> pl.DataFrame:
    chosen = chosen_rows(made["validation/training_rows"], name, settings)
    return read_training_data(inputs_of(made, name), name, chosen)


def test_fold_ranker_sees_no_session_of_its_fold_and_stops_by_others_still(
    made: dict[str, Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[pl.DataFrame, pl.DataFrame]] = []

    def fit(data: pl.DataFrame, stopping: pl.DataFrame, *_others: object) -> xgb.Booster:
        seen.append((data, stopping))
        return xgb.Booster()

    monkeypatch.setattr(ranker, "recipe_for", lambda _sessions: RECIPES[1])
    monkeypatch.setattr(ranker, "_fit_until_best", fit)
    monkeypatch.setattr(ranker, "_save", lambda *_args, **_facts: {})
    for fold in range(5):
        ranker.write_fold_ranker("clicks", inputs_of(made), fold, SETTINGS, tmp_path / "x")
    everyone = set(made["validation/training_rows"].read().filter("in_clicks")["session"])
    held_out = []
    for data, stopping in seen:
        learnt, stops = set(data["session"]), set(stopping["session"])
        assert learnt
        assert stops
        assert not learnt & stops
        assert data["is_cut"].any()
        assert not stopping["is_cut"].any()
        held_out.append(everyone - learnt - stops)
    assert all(held_out)
    assert sum(map(len, held_out)) == len(everyone) == len(set().union(*held_out))


@pytest.mark.parametrize("name", TYPES)
def test_training_data_are_whole_sessions_without_missing_values(
    made: dict[str, Dataset], name: str
) -> None:
    data = training_data(made, name)
    values = data.select(pl.col(ranker_features(name)).cast(pl.Float32)).to_numpy()
    assert not np.isnan(values).any()
    assert data["session"].rle_id().max() == data["session"].n_unique() - 1
    assert data.height == made["validation/training_rows"].total(f"rows_{name}")


def test_stacked_feature_of_a_training_row_is_the_out_of_fold_score(
    made: dict[str, Dataset],
) -> None:
    data = training_data(made, "orders").select("session", "aid", "stacked_carts_score")
    scores = made["validation/fold_scores/carts"].read()
    joined = data.join(scores, on=["session", "aid"], how="left", maintain_order="left")
    assert joined["score"].equals(joined["stacked_carts_score"], check_names=False)


def test_cap_on_training_rows_takes_whole_sessions(made: dict[str, Dataset]) -> None:
    capped = training_data(made, settings=Settings(training_rows=1000))
    whole = made["validation/training_rows"].read().filter("in_clicks")
    taken = whole.join(capped.select("session").unique(), on="session", how="semi")
    assert 500 < capped.height < 1500
    assert taken.height == capped.height


def test_batches_give_the_matrix_of_all_rows_at_once(
    made: dict[str, Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = training_data(made)
    monkeypatch.setattr(matrix, "BATCH_ROWS", 100)
    batched = matrix.quantile_matrix(data, "clicks", threads=2)
    whole = xgb.DMatrix(
        data.select(pl.col(FEATURE_NAMES).cast(pl.Float32)).to_numpy(),
        label=data["label"].to_numpy(),
        qid=data["session"].rle_id().to_numpy(),
        feature_names=FEATURE_NAMES,
    )
    assert (batched.num_row(), batched.num_col()) == (data.height, len(FEATURE_NAMES))
    assert batched.feature_names == FEATURE_NAMES
    assert (batched.get_label() == whole.get_label()).all()
    assert (batched.get_uint_info("group_ptr") == whole.get_uint_info("group_ptr")).all()


def test_batches_do_not_follow_the_shards(made: dict[str, Dataset], tmp_path: Path) -> None:
    cut = Settings(sessions_per_shard=37, **SMALL)
    one, other = tmp_path / "one.ubj", tmp_path / "other.ubj"
    shards = (
        made["validation/training_features"].read().partition_by("session", maintain_order=True)
    )
    parts = [pl.concat(shards[first : first + 37]) for first in range(0, len(shards), 37)]
    inputs = inputs_of(made)
    ranker.write_fold_ranker("clicks", inputs, 0, cut, one)
    inputs["training_features"] = dataset_of(tmp_path / "training_features", *parts)
    ranker.write_fold_ranker("clicks", inputs, 0, cut, other)
    assert one.read_bytes() == other.read_bytes()


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
    assert figures["fold"] == ALL_SESSIONS
    assert figures["rows"] == made["validation/training_rows"].total("rows_clicks")


@pytest.mark.parametrize(
    ("positive", "folds"),
    [(0, 0), (9, 0), (10, 2), (14, 2), (15, 3), (24, 4), (25, 5), (999, 5), (10**6, 2)],
)
def test_few_labels_get_fewer_folds_fewer_than_ten_none_and_many_two(
    positive: int, folds: int
) -> None:
    assert usable_folds(positive, 5) == folds


def test_more_labels_get_deeper_trees() -> None:
    depths = [recipe_for(positive).parameters["max_depth"] for positive in (10, 10**4, 10**6)]
    assert depths == sorted(depths)
    assert recipe_for(10).rounds is not None
    assert recipe_for(10**6).rounds is None
