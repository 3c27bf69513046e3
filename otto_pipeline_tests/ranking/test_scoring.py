from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from otto_pipeline.events.hashing import draw
from otto_pipeline.folds import row_folds
from otto_pipeline.ranking.margins import Margins, load_ranker, target_score
from otto_pipeline.ranking.scoring import (
    ranker_features,
    session_ranks,
    standardised,
    with_stacked,
)
from otto_pipeline.settings import Settings
from otto_pipeline.store.dataset import Dataset
from otto_pipeline_tests.building import dataset_of
from otto_pipeline_tests.ranking.conftest import of_all_lanes

SETTINGS = Settings()


@st.composite
def scored(draw: st.DrawFn) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]:
    """Sessions of distinct items with scores, some of them equal."""
    sizes = draw(st.lists(st.integers(1, 6), max_size=4))
    session = np.repeat(np.arange(len(sizes)) * 3, sizes).astype(np.int32)
    aids = [draw(st.permutations(range(size))) for size in sizes]
    values = st.sampled_from([-1.5, 0.0, 0.25, 7.0])
    score = [draw(values) for _ in range(len(session))]
    aid = np.array([aid for part in aids for aid in part], np.int32)
    return session, aid, np.array(score, np.float32)


@given(scored())
def test_ranks_are_places_by_falling_score_then_by_item(
    rows: tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]],
) -> None:
    session, aid, score = rows
    ranks = session_ranks(session, aid, score)
    for row in range(len(session)):
        before = [
            other
            for other in range(len(session))
            if session[other] == session[row]
            and (-score[other], aid[other]) < (-score[row], aid[row])
        ]
        assert ranks[row] == 1 + len(before)


@given(scored())
def test_standardised_scores_of_a_session_have_mean_0_and_deviation_1_or_are_all_0(
    rows: tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]],
) -> None:
    session, _aid, score = rows
    found = standardised(session, score)
    for one in np.unique(session):
        values, given = found[session == one], score[session == one]
        assert abs(values.mean()) < 1e-6
        assert np.isclose(values.std(), 0 if len(np.unique(given)) == 1 else 1, atol=1e-5)
        assert (
            np.sign(np.subtract.outer(values, values)) == np.sign(np.subtract.outer(given, given))
        ).all()


def test_score_of_a_session_is_by_the_ranker_that_has_not_seen_it(
    made: dict[str, Dataset],
) -> None:
    features = of_all_lanes(made, "features")
    sessions = of_all_lanes(made, "sessions").filter("query").select("session", "hash")
    scores = {"clicks": made["validation/fold_scores/clicks"].read()["score"].to_numpy()}
    rankers = made["validation/fold_rankers/carts"].files
    rows = features.join(sessions, on="session", maintain_order="left")
    folds = row_folds(draw(rows["hash"], SETTINGS.seed, "folds").to_numpy(), len(rankers))
    stacked = with_stacked(features, "carts", scores)
    matrix = stacked.select(pl.col(ranker_features("carts")).cast(pl.Float32)).to_numpy()
    found = made["validation/fold_scores/carts"].read()
    assert found.select("session", "aid").equals(features.select("session", "aid"))
    for fold, file in enumerate(rankers):
        of_fold = folds == fold
        margin = load_ranker(file, SETTINGS).inplace_predict(
            np.ascontiguousarray(matrix[of_fold]), predict_type="margin"
        )
        expected = standardised(features["session"].to_numpy()[of_fold], margin)
        assert (found["score"].to_numpy()[of_fold] == expected).all()


def test_target_without_rankers_is_ordered_by_the_list(
    made: dict[str, Dataset], tmp_path: Path
) -> None:
    frame = made["validation/features"].read_shard(0)
    no_rankers, sessions = dataset_of(tmp_path / "rankers"), made["validation/sessions"]
    score = target_score("orders", frame, {}, no_rankers, sessions, SETTINGS)
    ordered = frame.with_columns(score=pl.Series(score)).sort(
        ["session", "score", "aid"], descending=[False, True, False]
    )
    by_list = frame.sort(["session", "list_score", "aid"], descending=[False, True, False])
    assert ordered.select("session", "aid").equals(by_list.select("session", "aid"))


def test_forests_and_xgboost_give_the_same_margins(
    made: dict[str, Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_boosters: object) -> None:
        raise ValueError

    features = made["validation/features"].read_shard(0)
    lower = {"clicks": made["validation/fold_scores/clicks"].read_shard(0)["score"].to_numpy()}
    files = {name: made[f"validation/fold_rankers/{name}"].files[0] for name in ("clicks", "carts")}
    forests = Margins(files, features, SETTINGS)
    monkeypatch.setattr("otto_pipeline.ranking.margins.read_forests", refused)
    by_xgboost = Margins(files, features, SETTINGS)
    for name in files:
        np.testing.assert_array_equal(forests.of(name, lower), by_xgboost.of(name, lower))
