"""XGBoost is the oracle: margins are its own, bit by bit."""

from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest
import xgboost as xgb
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from otto_pipeline.ranking.forest import MAX_THRESHOLDS, Codes, read_forests
from otto_pipeline.ranking.forest_kernels import BLOCK_ROWS

NAMES = ["position", "count", "rate", "price", "unused"]
TYPES = {"position": pl.Int8, "count": pl.Int16}
SPECIAL = [-1.0, 0.0, -0.0, 1e30, -1e30, 1e-40, float(np.finfo(np.float32).max)]
OBJECTIVES = ["rank:ndcg", "rank:pairwise", "binary:logistic"]


def rows_of(rng: np.random.Generator, rows: int) -> NDArray[np.float32]:
    """Small and larger whole numbers, a rate with sentinels, a long tail, a constant."""
    return np.column_stack(
        [
            rng.integers(-1, 20, rows),
            rng.integers(-1, 2000, rows),
            np.where(rng.random(rows) < 0.2, -1, rng.random(rows)),
            np.exp(rng.normal(0, 10, rows)),
            np.zeros(rows),
        ]
    ).astype(np.float32)


def booster_of(
    rng: np.random.Generator,
    trees: int,
    names: Sequence[str] | None = NAMES,
    rows: int = 400,
    **parameters: object,
) -> xgb.Booster:
    features = rows_of(rng, rows)
    label = (features[:, 2] + features[:, 0] / 20 + rng.random(rows) > 1.3).astype(np.uint8)
    parameters = {
        "objective": "rank:ndcg",
        "min_child_weight": 0,
        "lambda": 0.01,
        "seed": 1,
        "nthread": 1,
    } | parameters
    ranks = str(parameters["objective"]).startswith("rank")
    data = xgb.QuantileDMatrix(
        features,
        label,
        qid=np.arange(rows) // 20 if ranks else None,
        feature_names=names,
        max_bin=int(str(parameters.get("max_bin", 256))),
    )
    return xgb.train(parameters, data, trees)


def frame_of(features: NDArray[np.float32]) -> pl.DataFrame:
    columns = {name: features[:, number] for number, name in enumerate(NAMES)}
    return pl.DataFrame(columns)


def thresholds_of(booster: xgb.Booster) -> NDArray[np.float32]:
    coding, _forests = read_forests([booster])
    return np.concatenate([np.zeros(0, np.float32), *(slot.thresholds for slot in coding)])


def predicted(
    boosters: Sequence[xgb.Booster], frame: pl.DataFrame, threads: int = 1
) -> list[NDArray[np.float32]]:
    coding, forests = read_forests(boosters)
    codes = Codes(coding, frame.height)
    codes.add(frame, threads)
    return [forest.predict(codes, threads) for forest in forests]


def assert_bits_equal(booster: xgb.Booster, features: NDArray[np.float32]) -> None:
    (margins,) = predicted([booster], frame_of(features))
    expected = booster.inplace_predict(features, predict_type="margin")
    np.testing.assert_array_equal(margins.view(np.uint32), expected.view(np.uint32))


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    depth=st.integers(1, 10),
    trees=st.integers(1, 30),
    rows=st.sampled_from([1, 2, 63, BLOCK_ROWS - 1, BLOCK_ROWS, BLOCK_ROWS + 1, 3 * BLOCK_ROWS]),
    objective=st.sampled_from(OBJECTIVES),
)
@example(seed=2**32 - 2, depth=4, trees=1, rows=511, objective="binary:logistic")  # sum is -0.0
def test_margins_are_those_of_xgboost_also_at_thresholds_and_beside_them(
    seed: int, depth: int, trees: int, rows: int, objective: str
) -> None:
    rng = np.random.default_rng(seed)
    booster = booster_of(rng, trees, max_depth=depth, objective=objective)
    at = thresholds_of(booster)
    beside = [np.nextafter(at, np.float32(side)) for side in (-np.inf, np.inf)]
    values = np.concatenate([np.array(SPECIAL, np.float32), at, *beside])
    features = rng.choice(values, (rows, len(NAMES)))
    mixed = rng.random(features.shape) < 0.5
    features[mixed] = rows_of(rng, rows)[mixed]
    assert_bits_equal(booster, features)


def test_five_hundred_deep_trees() -> None:
    rng = np.random.default_rng(1)
    booster = booster_of(rng, 500, max_depth=8)
    assert_bits_equal(booster, rows_of(rng, 2000))


def test_tree_with_more_leaves_than_a_byte_can_number() -> None:
    rng = np.random.default_rng(2)
    booster = booster_of(rng, 3, rows=20_000, max_depth=10, objective="binary:logistic")
    _coding, (forest,) = read_forests([booster])
    assert np.diff(forest.first_leaf).max() > 256
    assert_bits_equal(booster, rows_of(rng, 3000))


def test_feature_with_more_thresholds_than_a_byte_can_count() -> None:
    rng = np.random.default_rng(3)
    booster = booster_of(
        rng, 40, rows=20_000, max_depth=8, max_bin=2000, objective="binary:logistic"
    )
    coding, _forests = read_forests([booster])
    slots = [slot for slot in coding if slot.feature == "rate"]
    assert len(slots) > 1
    assert all(len(slot.thresholds) <= MAX_THRESHOLDS for slot in coding)
    assert_bits_equal(booster, rows_of(rng, 3000))


def test_tree_of_one_leaf() -> None:
    rng = np.random.default_rng(4)
    booster = booster_of(rng, 2, gamma=1e9, objective="binary:logistic")
    assert len(thresholds_of(booster)) == 0
    assert_bits_equal(booster, rows_of(rng, 600))


def test_single_leaf_between_other_trees() -> None:
    rng = np.random.default_rng(5)
    booster = booster_of(rng, 60, gamma=0.4, objective="binary:logistic")
    _coding, (forest,) = read_forests([booster])
    assert 0 < (np.diff(forest.first_leaf) == 1).sum() < forest.trees
    assert_bits_equal(booster, rows_of(rng, 600))


def test_negative_zero_is_zero() -> None:
    rng = np.random.default_rng(6)
    booster = booster_of(rng, 20, base_score=-0.0)
    features = np.zeros((4, len(NAMES)), np.float32)
    features[::2] = -0.0
    assert_bits_equal(booster, features)


def test_infinite_values_are_on_the_far_side_of_every_threshold() -> None:
    rng = np.random.default_rng(7)
    booster = booster_of(rng, 20)
    largest = np.finfo(np.float32).max
    finite = rng.choice(np.array([-largest, largest], np.float32), (700, len(NAMES)))
    infinite = np.copysign(np.float32(np.inf), finite)
    np.testing.assert_array_equal(
        predicted([booster], frame_of(infinite))[0], predicted([booster], frame_of(finite))[0]
    )


def test_typed_columns_in_any_order_are_as_good_as_a_matrix() -> None:
    rng = np.random.default_rng(8)
    booster, features = booster_of(rng, 20), rows_of(rng, 1000)
    frame = frame_of(features).cast(TYPES).select(reversed(NAMES))  # type: ignore[arg-type]
    expected = booster.inplace_predict(features)
    np.testing.assert_array_equal(predicted([booster], frame)[0], expected)
    chunked = pl.concat([frame[:300], frame[300:]], rechunk=False)
    np.testing.assert_array_equal(predicted([booster], chunked)[0], expected)


def test_several_models_share_the_codes() -> None:
    rng = np.random.default_rng(9)
    boosters = [booster_of(np.random.default_rng(seed), 20, max_depth=7) for seed in range(3)]
    features = rows_of(rng, 1000)
    for booster, margins in zip(boosters, predicted(boosters, frame_of(features)), strict=True):
        np.testing.assert_array_equal(margins, booster.inplace_predict(features))


def test_scores_of_one_model_can_be_added_for_the_next() -> None:
    rng = np.random.default_rng(10)
    first = booster_of(rng, 20, names=["a", "b", "c", "d", "e"])
    second = booster_of(rng, 20, names=["a", "b", "score", "d", "e"])
    features = rows_of(rng, 1000)
    coding, (one, two) = read_forests([first, second])
    codes = Codes(coding, 1000)
    codes.add(pl.DataFrame(features, list("abcde")), threads=1)
    with pytest.raises(ValueError, match="no codes of features \\['score'\\]"):
        two.predict(codes, threads=1)
    score = one.predict(codes, threads=1)
    codes.add(pl.DataFrame({"score": score}), threads=1)
    stacked = features.copy()
    stacked[:, 2] = score
    np.testing.assert_array_equal(two.predict(codes, threads=1), second.inplace_predict(stacked))


def test_threads_do_not_change_a_bit() -> None:
    rng = np.random.default_rng(11)
    booster, frame = booster_of(rng, 20), frame_of(rows_of(rng, 20 * BLOCK_ROWS + 7))
    np.testing.assert_array_equal(
        predicted([booster], frame, threads=1), predicted([booster], frame, threads=4)
    )


def test_no_rows() -> None:
    booster = booster_of(np.random.default_rng(12), 3)
    (margins,) = predicted([booster], frame_of(np.zeros((0, len(NAMES)), np.float32)))
    assert margins.shape == (0,)
    assert margins.dtype == np.float32


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_missing_value_without_a_sentinel_is_refused(missing: float | None) -> None:
    rng = np.random.default_rng(13)
    booster, frame = booster_of(rng, 20), frame_of(rows_of(rng, 600))
    rate = [*frame["rate"].to_list()[:-1], missing]
    with pytest.raises(ValueError, match="feature rate has null or NaN"):
        predicted([booster], frame.with_columns(rate=pl.Series(rate, dtype=pl.Float32)))


def test_frame_of_another_length_is_refused() -> None:
    rng = np.random.default_rng(14)
    coding, _forests = read_forests([booster_of(rng, 3)])
    with pytest.raises(ValueError, match="5 rows of features instead of 6"):
        Codes(coding, 6).add(frame_of(rows_of(rng, 5)), threads=1)


def test_categorical_splits_are_refused() -> None:
    rng = np.random.default_rng(15)
    kind = rng.integers(0, 5, 300)
    data = xgb.DMatrix(
        kind[:, None].astype(np.float32),
        (kind % 2).astype(np.uint8),
        feature_names=["kind"],
        feature_types=["c"],
        enable_categorical=True,
    )
    booster = xgb.train({"objective": "binary:logistic", "nthread": 1}, data, 2)
    with pytest.raises(ValueError, match="categorical"):
        read_forests([booster])


def test_what_is_not_one_sum_of_trees_is_refused() -> None:
    rng = np.random.default_rng(16)
    with pytest.raises(ValueError, match="one sum of trees"):
        read_forests([booster_of(rng, 2, booster="dart", rate_drop=0.5)])
    with pytest.raises(ValueError, match="one sum of trees"):
        read_forests([booster_of(rng, 2, objective="multi:softmax", num_class=2)])
    labels = rng.random((100, 2))
    data = xgb.DMatrix(rows_of(rng, 100), labels, feature_names=NAMES)
    with pytest.raises(ValueError, match="one sum of trees"):
        read_forests([xgb.train({"nthread": 1}, data, 2)])
    with pytest.raises(ValueError, match="no names of features"):
        read_forests([booster_of(rng, 2, names=None)])
    with pytest.raises(ValueError, match="no trees"):
        read_forests([booster_of(rng, 0)])
