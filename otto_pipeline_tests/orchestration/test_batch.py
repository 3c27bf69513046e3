"""The step that makes all matrices of a lane: assets of their own, made in one pass."""

import dagster as dg
import pytest

from otto_pipeline.orchestration.artifact import Artifact
from otto_pipeline.orchestration.assets import ARTIFACTS
from otto_pipeline.store.dataset import Dataset
from otto_pipeline_tests.orchestration.conftest import Project
from otto_pipeline_tests.pipeline import build_until

MATRICES = [
    artifact.path
    for artifact in ARTIFACTS
    if artifact.batch and artifact.batch.name == "validation/covisitation"
]
LEFT_OUT, *OTHERS = MATRICES
CANDIDATES = "validation/candidates"


@pytest.fixture
def log_built(project: Project) -> Project:
    """A project in which all that the matrices are made from is there."""
    build_until("validation/event_log", project.store, None, "demo", demo_sessions=1500)
    return project


def shards_written(result: dg.ExecuteInProcessResult) -> dict[str, int]:
    """Shards written for each asset that was materialized, by its path."""
    return {
        event.asset_key.to_user_string(): event.materialization.metadata["shards_written"].value
        for event in result.get_asset_materialization_events()
    }


def checked(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    """Whether its check has passed, for each asset that was checked, by its path."""
    return {
        evaluation.asset_key.to_user_string(): evaluation.passed
        for evaluation in result.get_asset_check_evaluations()
    }


def test_subset_is_made_alone_and_what_is_added_later_too(log_built: Project) -> None:
    first = log_built.materialize("demo", *OTHERS)
    assert first.success
    assert shards_written(first) == dict.fromkeys(OTHERS, 1)
    assert not (log_built.store / "demo" / LEFT_OUT).exists()
    assert checked(first) == dict.fromkeys(OTHERS, True)

    second = log_built.materialize("demo", *MATRICES)
    assert second.success
    assert shards_written(second) == {LEFT_OUT: 1, **dict.fromkeys(OTHERS, 0)}


def test_each_matrix_has_its_own_fingerprint_as_data_version(log_built: Project) -> None:
    result = log_built.materialize("demo", *MATRICES)
    versions = {
        event.asset_key.to_user_string(): event.materialization.tags["dagster/data_version"]
        for event in result.get_asset_materialization_events()
    }
    root = log_built.store / "demo"
    assert versions == {path: Dataset(root / path).fingerprint for path in MATRICES}
    assert len(set(versions.values())) == len(MATRICES)


def test_check_of_one_matrix_stops_what_comes_after(
    log_built: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(artifact: Artifact, _dataset: Dataset) -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=artifact.path != LEFT_OUT)

    monkeypatch.setattr("otto_pipeline.orchestration.checks.check_dataset", check)
    result = log_built.materialize("demo", *MATRICES, CANDIDATES)
    assert not result.success
    assert checked(result) == {LEFT_OUT: False, **dict.fromkeys(OTHERS, True)}
    assert shards_written(result) == dict.fromkeys(MATRICES, 1)


def test_step_at_work_says_so_in_the_log_of_the_run(
    log_built: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("otto_pipeline.compute.local.ALIVE_SECONDS", 0.0)
    monkeypatch.setattr("otto_pipeline.compute.local.Watch.INTERVAL_SECONDS", 0.001)
    result = log_built.materialize("demo", *MATRICES)
    assert result.success
    lines = [
        entry.user_message
        for entry in log_built.instance.all_logs(result.run_id)
        if entry.step_key == "validation__covisitation" and "so far" in entry.user_message
    ]
    assert lines
    assert lines[0].startswith("validation/covisitation: at shard 1 of 1, 0 s so far, ")
