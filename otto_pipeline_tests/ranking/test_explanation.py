import numpy as np
import polars as pl
import pytest
import xgboost as xgb

from otto_pipeline.features.feature import Feature
from otto_pipeline.ranking.explanation import (
    LARGE_DRIFT,
    NOTEWORTHY_DRIFT,
    drift,
    drift_plot,
    gain_importance,
    importance_plot,
    sample_rows,
    shap_contributions,
    shap_importance,
)
from otto_pipeline.ranking.forest import Codes, read_forests
from otto_pipeline.store.dataset import Dataset

PNG = b"\x89PNG"
RATE = Feature("rate", "A rate.", pl.col("rate"))
COUNT = Feature("count", "A count.", pl.col("count"), pl.Int16, missing=0)


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
    step = table.height // 50
    rows = drawn.join(table, on=columns, maintain_order="left")["index"]
    assert (rows // step).to_list() == list(range(drawn.height))
    assert (rows % step).n_unique() > 1
    assert sample_rows(features, read, rows=10**9, seed=1).equals(features.read(*columns))


def reference_psi(reference: list[float], other: list[float], missing: float) -> float:
    """The definition, value by value."""
    present = [value for value in reference if value != missing]
    edges = sorted({float(np.quantile(present, tenth / 10)) for tenth in range(1, 10)})

    def shares(values: list[float]) -> list[float]:
        counts = [0.5] * (len(edges) + 2)
        for value in values:
            counts[0 if value == missing else 1 + sum(edge <= value for edge in edges)] += 1
        return [count / sum(counts) for count in counts]

    pairs = zip(shares(reference), shares(other), strict=True)
    return sum((q - p) * np.log(q / p) for p, q in pairs)


def test_drift_is_the_population_stability_index() -> None:
    reference = frame_of(300).with_columns(rate=pl.when(pl.col("rate") > 0.1).then("rate") * 1.0)
    reference = reference.with_columns(pl.col("rate").fill_null(-1))
    other = frame_of(200, seed=1).with_columns(pl.col("count") // 2)
    table = drift([RATE, COUNT], reference, other)
    for name, missing in (("rate", -1), ("count", 0)):
        row = table.row(by_predicate=pl.col("feature") == name, named=True)
        lanes = [lane[name].to_list() for lane in (reference, other)]
        assert row["psi"] == pytest.approx(reference_psi(*lanes, missing))
        assert row["missing_reference"] == pytest.approx(lanes[0].count(missing) / 300)
        assert row["missing_other"] == pytest.approx(lanes[1].count(missing) / 200)


def test_drift_is_small_between_draws_of_one_distribution_and_large_after_a_shift() -> None:
    reference, again = frame_of(5000), frame_of(5000, seed=1)
    assert drift([RATE, COUNT], reference, again)["psi"].max() < NOTEWORTHY_DRIFT / 5  # type: ignore[operator]
    shifted = again.with_columns(pl.col("rate") + 0.3)
    table = drift([COUNT, RATE], reference, shifted)
    assert table["feature"].to_list() == ["rate", "count"]
    assert table["psi"][0] > LARGE_DRIFT


def test_feature_that_is_always_missing_in_the_reference_drifts_when_it_appears() -> None:
    reference = pl.DataFrame({"rate": [-1.0] * 100})
    assert drift([RATE], reference, reference)["psi"].item() == 0
    assert drift([RATE], reference, frame_of(100))["psi"].item() > LARGE_DRIFT


def test_pictures_are_png(rankers: dict[str, xgb.Booster]) -> None:
    assert importance_plot(gain_importance(rankers), "gain").startswith(PNG)
    frames = frame_of(100), frame_of(100, seed=1)
    assert drift_plot(drift([RATE, COUNT], *frames)).startswith(PNG)
