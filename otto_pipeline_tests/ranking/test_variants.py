import numpy as np
import polars as pl
import pytest

from otto_pipeline.features.families import FAMILIES, source_features
from otto_pipeline.features.table import FEATURE_NAMES
from otto_pipeline.ranking.variants import (
    VARIANTS,
    chosen_variants,
    features_stage,
    judged_stage,
    learnt_stage,
    rows_stage,
)
from otto_pipeline.retrieval.sources import HISTORY, LIST_WEIGHTS, RANK_OFFSET, SESSION_KNN, SOURCES
from otto_pipeline.settings import Settings
from otto_pipeline.store.build import build
from otto_pipeline.store.dataset import Dataset
from otto_pipeline.store.stage import Stage

KEYS = ["session", "aid"]


@pytest.fixture
def make(made: dict[str, Dataset], tmp_path_factory: pytest.TempPathFactory):
    """Builds a stage of a variant on the lane, all of whose sessions with labels are judged."""
    root = tmp_path_factory.mktemp("variant")
    lane = {name: made[f"validation/{name}"] for name in ("features", "labels", "sessions")}

    def build_one(stage: Stage, **inputs: Dataset) -> Dataset:
        return build(root, "made", stage, lane | inputs, Settings(), lambda _: None).dataset

    lane["judged"] = build(root, "judged", judged_stage(None), lane, Settings(), print).dataset
    return build_one


def test_features_of_a_family_are_constant_and_no_others(made: dict[str, Dataset], make) -> None:
    whole = made["validation/features"].read()
    frame = make(features_stage(VARIANTS["session-item"])).read()
    family = [feature.name for feature in FAMILIES["session-item"]]
    assert all(
        frame[feature.name].unique().to_list() == [feature.missing]
        for feature in FAMILIES["session-item"]
    )
    labelled = whole.join(made["validation/labels"].read(), on="session", how="semi")
    assert frame.drop(family).equals(labelled.drop(family))
    assert frame.schema == whole.schema


@pytest.mark.parametrize("source", [HISTORY, "time", SESSION_KNN])
def test_without_a_source_go_its_features_its_own_candidates_and_its_part_of_the_list(
    made: dict[str, Dataset], make, source: str
) -> None:
    others = [other for other in SOURCES if other != source]
    candidates = made["validation/candidates"].read()
    score = np.zeros(candidates.height)
    for other in others:
        rank = candidates[f"{other}_rank"].cast(pl.Float64).to_numpy()
        part = LIST_WEIGHTS[other] / (RANK_OFFSET + rank) + (other == HISTORY)
        score += np.where(np.isnan(rank), 0, part)
    expected = (
        candidates.with_columns(list_score=score)
        .filter(pl.any_horizontal(pl.col(f"{other}_rank").is_not_null() for other in others))
        .join(made["validation/labels"].read(), on="session", how="semi")
    )
    frame = make(features_stage(VARIANTS[f"source:{source}"])).read()
    rows = make(rows_stage(VARIANTS[f"source:{source}"])).read()
    judged = candidates.join(made["validation/labels"].read(), on="session", how="semi")
    assert source != SESSION_KNN or frame.height < judged.height
    for found in (frame, rows):
        assert found.select(KEYS).equals(expected.select(KEYS))
        scores = found["list_score"].to_numpy()
        assert scores == pytest.approx(expected["list_score"].to_numpy(), rel=1e-4)
    count = expected.select(
        pl.sum_horizontal(pl.col(f"{other}_rank").is_not_null() for other in others)
    )
    assert frame["sources"].to_list() == count.to_series().to_list()
    constant = [name for name in FEATURE_NAMES if frame[name].n_unique() == 1]
    assert {feature.name for feature in source_features(source)} <= set(constant)


def test_of_two_shares_the_smaller_is_a_part_of_the_larger(make) -> None:
    half, quarter = (
        set(make(learnt_stage(VARIANTS[f"sessions-1/{part}"])).read()["session"]) for part in (2, 4)
    )
    judged = make(judged_stage(None)).read()
    assert quarter < half < set(judged["session"])
    assert len(half) == pytest.approx(judged.height / 2, rel=0.2)
    some = make(judged_stage(40)).read()
    assert some.height == 40
    assert some["session"].is_sorted()
    assert set(some["session"]) < set(judged["session"])


def test_unknown_name_is_refused_with_the_list_of_names() -> None:
    with pytest.raises(ValueError, match="sesion: is nothing that can be left out") as error:
        chosen_variants(["session", "sesion"])
    assert str(error.value).startswith("sesion: ")
    assert str(error.value).endswith(f"choose from {', '.join(VARIANTS)}")
    assert {"stacking", "sessions-1/2", "similarity-recent", "source:history"} < set(VARIANTS)
