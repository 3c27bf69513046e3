import numpy as np
import polars as pl
import pytest

from otto_pipeline.features.feature import Feature
from otto_pipeline.ranking.drift import LARGE_DRIFT, NOTEWORTHY_DRIFT, drift, drift_plot

RATE = Feature("rate", "A rate.", pl.col("rate"))
COUNT = Feature("count", "A count.", pl.col("count"), pl.Int16, missing=0)
OF_ITEM = Feature("item_trend", "An item's.", pl.col("item_trend"))
OF_SESSION = Feature("session_minutes", "A session's.", pl.col("session_minutes"))


def frame_of(rows: int, seed: int = 0) -> pl.DataFrame:
    """Candidates of as many sessions."""
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "session": np.arange(rows),
            "rate": rng.random(rows),
            "count": rng.integers(0, 50, rows).astype(np.int16),
        }
    )


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


def test_drift_is_the_population_stability_index_beyond_chance() -> None:
    reference = frame_of(300).with_columns(rate=pl.when(pl.col("rate") > 0.1).then("rate") * 1.0)
    reference = reference.with_columns(pl.col("rate").fill_null(-1))
    other = frame_of(200, seed=1).with_columns(pl.col("count") // 2)
    table = drift([RATE, COUNT], reference, other)
    for name, missing in (("rate", -1), ("count", 0)):
        row = table.row(by_predicate=pl.col("feature") == name, named=True)
        lanes = [lane[name].to_list() for lane in (reference, other)]
        by_chance = 10 * (1 / 300 + 1 / 200)  # eleven bins: ten and what is missing
        assert row["psi"] == pytest.approx(reference_psi(*lanes, missing) - by_chance)
        assert row["missing_reference"] == pytest.approx(lanes[0].count(missing) / 300)
        assert row["missing_other"] == pytest.approx(lanes[1].count(missing) / 200)


def test_drift_is_small_between_draws_of_one_distribution_and_large_after_a_shift() -> None:
    reference, again = frame_of(5000), frame_of(5000, seed=1)
    assert drift([RATE, COUNT], reference, again)["psi"].max() < NOTEWORTHY_DRIFT / 20  # type: ignore[operator]
    shifted = again.with_columns(pl.col("rate") + 0.3)
    table = drift([COUNT, RATE], reference, shifted)
    assert table["feature"].to_list() == ["rate", "count"]
    assert table["psi"][0] > LARGE_DRIFT


@pytest.mark.parametrize("candidates", [1, 50])
def test_small_samples_of_one_distribution_differ_by_chance_alone(candidates: int) -> None:
    """However many candidates a session has, as they all have its value."""
    pairs = [
        [pl.concat([frame_of(200, seed)] * candidates) for seed in (2 * draw, 2 * draw + 1)]
        for draw in range(30)
    ]
    found = [drift([RATE], *pair)["psi"].item() for pair in pairs]
    raw = [reference_psi(*(lane["rate"].to_list() for lane in pair), -1) for pair in pairs]
    assert np.mean(raw) > NOTEWORTHY_DRIFT * 0.8
    assert np.mean(found) < NOTEWORTHY_DRIFT / 4


@pytest.mark.parametrize(("of", "key"), [(OF_ITEM, "aid"), (OF_SESSION, "session")])
def test_item_or_session_counts_once_however_many_candidates_it_has(of: Feature, key: str) -> None:
    rng = np.random.default_rng(0)
    values = rng.random(500)
    keys = np.arange(500)
    often = np.concatenate([keys, np.full(500, values.argmax())])  # in half of the candidates
    reference, other = (
        pl.DataFrame({"session": 0, "aid": 0, of.name: values[rows], "rate": values[rows]})
        .with_columns(pl.Series(key, rows))
        .with_columns(pl.int_range(pl.len()).alias("session") if key == "aid" else pl.col(key))
        for rows in (keys, often)
    )
    found = dict(drift([of, RATE], reference, other).select("feature", "psi").iter_rows())
    assert found[of.name] == 0
    assert found["rate"] > LARGE_DRIFT


def test_feature_that_is_always_missing_in_the_reference_drifts_when_it_appears() -> None:
    reference = frame_of(100).with_columns(rate=pl.lit(-1.0))
    assert drift([RATE], reference, reference)["psi"].item() == 0
    assert drift([RATE], reference, frame_of(100))["psi"].item() > LARGE_DRIFT


def test_picture_is_a_png() -> None:
    drifts = drift([RATE, COUNT], frame_of(100), frame_of(100, seed=1))
    assert drift_plot(drifts).startswith(b"\x89PNG")
