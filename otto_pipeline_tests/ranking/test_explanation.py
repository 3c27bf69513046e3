import numpy as np
import polars as pl
import pytest
import xgboost as xgb

from otto_pipeline.ranking.explanation import (
    gain_importance,
    importance_plot,
    sample_rows,
    shap_contributions,
    shap_importance,
)
from otto_pipeline.ranking.forest import Codes, read_forests
from otto_pipeline.store.dataset import Dataset

PNG = b"\x89PNG"


def frame_of(rows: int, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "noise": rng.random(rows),
            "rate": rng.random(rows),
            "count": rng.integers(0, 50, rows).astype(np.int16),
        }
    )


def booster_of(frame: pl.DataFrame, decisive: str) -> xgb.Booster:
    label = (frame[decisive] > frame[decisive].median()).cast(pl.UInt8).to_numpy()
    data = xgb.DMatrix(frame.to_numpy(), label, feature_names=frame.columns)
    return xgb.train({"objective": "binary:logistic", "max_depth": 3, "nthread": 1}, data, 10)


@pytest.fixture(scope="module")
def rankers() -> dict[str, xgb.Booster]:
    frame = frame_of(500)
    return {"clicks": booster_of(frame, "rate"), "orders": booster_of(frame, "count")}


def test_gain_shows_the_decisive_feature_of_each_type_first(
    rankers: dict[str, xgb.Booster],
) -> None:
    table = gain_importance(rankers)
    firsts = table.group_by("type", maintain_order=True).first()
    assert firsts["type"].to_list() == ["clicks", "orders"]
    assert firsts["feature"].to_list() == ["rate", "count"]
    sums = table.group_by("type").agg(pl.col("importance").sum())["importance"]
    assert sums.to_list() == pytest.approx([1, 1])


def test_ranker_without_a_split_has_no_gain() -> None:
    frame = frame_of(50)
    data = xgb.DMatrix(frame.to_numpy(), np.zeros(50), feature_names=frame.columns)
    booster = xgb.train({"nthread": 1, "base_score": 0.0}, data, 1)
    assert gain_importance({"carts": booster}).height == 0


def test_contributions_and_the_average_margin_sum_to_the_margin(
    rankers: dict[str, xgb.Booster],
) -> None:
    rows = frame_of(200, seed=1)
    coding, (forest,) = read_forests([rankers["clicks"]])
    codes = Codes(coding, rows.height)
    codes.add(rows, threads=1)
    contributions = shap_contributions(rankers["clicks"], rows.select(reversed(rows.columns)))
    assert contributions.shape == (200, 3)
    average = forest.predict(codes, threads=1) - contributions.sum(axis=1)
    np.testing.assert_allclose(average, average[0], atol=1e-5)


def test_shap_importance_is_the_mean_absolute_contribution(
    rankers: dict[str, xgb.Booster],
) -> None:
    rows = frame_of(200, seed=1)
    table = shap_importance(rankers, rows)
    assert table.group_by("type", maintain_order=True).first()["feature"].to_list() == [
        "rate",
        "count",
    ]
    expected = np.abs(shap_contributions(rankers["clicks"], rows)).mean(axis=0)
    found = dict(table.filter(type="clicks").select("feature", "importance").iter_rows())
    assert [found[name] for name in rows.columns] == pytest.approx(expected.tolist())


def test_sample_takes_one_row_of_each_stretch_whatever_the_shards(
    made: dict[str, Dataset],
) -> None:
    features = made["validation/features"]
    columns = ["session", "aid"]
    table = features.read(*columns).with_row_index()

    def read(shard: int) -> pl.DataFrame:
        return features.read_shard(shard).select(columns)

    drawn = sample_rows(features, read, rows=50, seed=1)
    assert table.height % 50
    rows = drawn.join(table, on=columns, maintain_order="left")["index"].cast(pl.Int64)
    assert ((50 * (rows + 1) - 1) // table.height).to_list() == list(range(50))
    assert (rows % (table.height // 50)).n_unique() > 1
    assert sample_rows(features, read, rows=10**9, seed=1).equals(features.read(*columns))


def test_picture_is_a_png(rankers: dict[str, xgb.Booster]) -> None:
    assert importance_plot(gain_importance(rankers), "gain").startswith(PNG)
