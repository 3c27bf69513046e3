from pathlib import Path

import numpy as np
import polars as pl
import pytest
import xgboost as xgb
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from otto_pipeline.events.hashing import draw
from otto_pipeline.folds import row_folds
from otto_pipeline.orchestration.checks import table_failures
from otto_pipeline.orchestration.lane import source_inputs
from otto_pipeline.retrieval.pre_ranker import (
    DEPTH,
    MIN_POSITIVE_SESSIONS,
    TREES,
    add_trees,
    open_pre_rankers,
    trees_of,
    write_fold_pre_ranker,
)
from otto_pipeline.retrieval.sources import SOURCES, UNION_SAMPLE
from otto_pipeline.retrieval.union import FACTS, UNRANKED, open_sources
from otto_pipeline.retrieval.union_sample import KEPT_NEGATIVES, unions
from otto_pipeline.schemas import TYPES
from otto_pipeline.settings import load_settings
from otto_pipeline.store.dataset import Dataset
from otto_pipeline_tests.pipeline import build_until

LANE = "validation"


@njit
def scored(model: int, trees: tuple, fact: np.ndarray) -> np.ndarray:
    score = np.zeros(fact.shape[1], np.float32)
    add_trees(model, trees, fact, fact.shape[1], score)
    return score


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Dataset]:
    store: Path = tmp_path_factory.mktemp("store")
    built = build_until(f"{LANE}/candidates", store, None, "demo", demo_sessions=4000)
    return built | build_until(f"{LANE}/pre_ranker", store, None, "demo", demo_sessions=4000)


@given(seed=st.integers(0, 10**6), rows=st.integers(2, 300), depth=st.integers(1, DEPTH))
@settings(max_examples=25)
def test_kernel_adds_the_same_trees_as_xgboost(seed: int, rows: int, depth: int) -> None:
    generator = np.random.default_rng(seed)
    facts = generator.integers(1, 30, (rows, len(FACTS)))
    label = generator.random(rows) < 1 / facts[:, 0]
    matrix = xgb.QuantileDMatrix(facts.astype(np.float32), label=label)
    parameters = {"max_depth": depth, "objective": "binary:logistic", "base_score": 0.5}
    booster = xgb.train(parameters | {"min_child_weight": 0}, matrix, TREES)
    other = xgb.train(parameters | {"lambda": 50}, matrix, TREES)
    trees = trees_of([other, booster])
    found = scored(1, trees, np.ascontiguousarray(facts.T, np.uint16))
    expected = booster.inplace_predict(facts.astype(np.float32), predict_type="margin")
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_sample_holds_every_label_of_the_unions_and_a_share_of_the_rest(
    made: dict[str, Dataset],
) -> None:
    sample = made[f"{LANE}/union_sample"].read()
    assert not table_failures(UNION_SAMPLE, sample)
    paths = source_inputs(LANE)
    sources = open_sources({name: made[path] for name, path in paths.items()}, load_settings({}))
    labels = made[f"{LANE}/labels"].read()
    sessions = labels["session"].unique().sort().to_numpy()
    union = unions(sources, sessions, 1)
    labelled = union.join(labels.select("session", "aid").unique(), on=["session", "aid"])
    positive = sample.filter(pl.col("is_label") == 1)
    assert set(positive["session", "aid"].rows()) == set(labelled["session", "aid"].rows())
    assert set(positive["weight"]) == {1}
    negative = sample.filter(pl.col("is_label") == 0)
    assert set(negative["weight"]) == {KEPT_NEGATIVES}
    rest = union.height - labelled.height
    assert 0.9 * rest < negative.height * KEPT_NEGATIVES < 1.1 * rest


def test_union_is_what_is_among_the_best_of_a_source(made: dict[str, Dataset]) -> None:
    sample = made[f"{LANE}/union_sample"].read()
    best = sample.select(pl.min_horizontal(f"{source}_rank" for source in SOURCES)).to_series()
    assert best.max() < UNRANKED
    assert sample["own_items"].min() >= 1
    assert (sample["events"] >= sample["own_items"]).all()


def test_pre_score_of_a_session_is_by_the_model_that_has_not_seen_it(
    made: dict[str, Dataset],
) -> None:
    models = open_pre_rankers(made[f"{LANE}/fold_pre_rankers"])
    assert len(models.leaf) == 5
    hashes = made[f"{LANE}/sessions"].read("session", "hash")
    sample = made[f"{LANE}/union_sample"].read()
    candidates = made[f"{LANE}/candidates"].read().join(hashes, on="session")
    both = candidates.join(sample, on=["session", "aid"], suffix="_of_sample")
    assert both.height > 1000
    folds = row_folds(draw(both["hash"], 42, "folds").to_numpy(), 5)
    facts = np.ascontiguousarray(both.select(_in_sample(sample, both)).to_numpy().T, np.uint16)
    found = np.choose(folds, [scored(fold, models, facts) for fold in range(5)])
    np.testing.assert_allclose(found, both["pre_score"], atol=1e-5)


def _in_sample(sample: pl.DataFrame, joined: pl.DataFrame) -> list[str]:
    """Names of the sample's facts after a join with candidates, which have ranks too."""
    return [f"{n}_of_sample" if f"{n}_of_sample" in joined.columns else n for n in FACTS]


def test_fold_model_does_not_depend_on_labels_of_its_fold(tmp_path: Path) -> None:
    one = build_until(f"{LANE}/fold_pre_rankers", tmp_path, None, "demo", demo_sessions=4000)
    sample = one[f"{LANE}/union_sample"]
    frame = sample.read()
    fold = row_folds(draw(frame["hash"], 42, "folds").to_numpy(), 5)
    changed = frame.with_columns(
        is_label=pl.when(pl.Series(fold) == 2)
        .then(1 - pl.col("is_label"))
        .otherwise("is_label")
        .cast(pl.UInt8)
    )
    before = [file.read_bytes() for file in one[f"{LANE}/fold_pre_rankers"].files]
    changed.write_parquet(sample.files[0])
    after = tmp_path / "model.ubj"
    for number, same in ((2, True), (1, False)):
        write_fold_pre_ranker({"union_sample": sample}, number, load_settings({}), after)
        assert (after.read_bytes() == before[number]) == same


def test_too_few_labels_leave_the_order_to_the_list(tmp_path: Path) -> None:
    made = build_until(f"{LANE}/candidates", tmp_path, None, "demo", demo_sessions=300)
    positive = made[f"{LANE}/union_sample"].total("positive_sessions")
    assert 0 < positive < MIN_POSITIVE_SESSIONS
    assert made[f"{LANE}/fold_pre_rankers"].files == []
    candidates = made[f"{LANE}/candidates"].read()
    assert candidates["pre_score"].equals(candidates["list_score"].rename("pre_score"))
    assert set(made[f"{LANE}/labels"].read()["type"]) <= set(TYPES)
