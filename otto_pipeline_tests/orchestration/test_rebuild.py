"""The job from raw log to submission, on a small generated log."""

import json
from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl
import pytest

from otto_pipeline.definitions import defs
from otto_pipeline.evaluation.history import read_history
from otto_pipeline.evaluation.official import official_score
from otto_pipeline.evaluation.summary import report_text
from otto_pipeline.events.generate import generate_log
from otto_pipeline.orchestration.assets import ARTIFACTS
from otto_pipeline.orchestration.checks import check_dataset
from otto_pipeline.store.dataset import Dataset
from otto_pipeline.submission.submission import faults
from otto_pipeline_tests.orchestration.conftest import Project, failures

Demo = tuple[Project, dg.ExecuteInProcessResult]
PATHS = [artifact.path for artifact in ARTIFACTS]


def times(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_rebuild_makes_every_artifact_and_every_check_passes(demo: Demo) -> None:
    result = demo[1]
    assert result.success, failures(result)
    made = {event.asset_key for event in result.get_asset_materialization_events()}
    assert {artifact.key for artifact in ARTIFACTS} < made
    evaluations = result.get_asset_check_evaluations()
    assert len(evaluations) == len(ARTIFACTS) + 3
    warnings = [one for one in evaluations if one.severity == dg.AssetCheckSeverity.WARN]
    assert [one.check_name for one in warnings] == ["drift"]
    assert all(one.passed for one in evaluations if one not in warnings)


def test_scores_json_holds_scores_baselines_and_sources(demo: Demo) -> None:
    report = json.loads((demo[0].store / "demo/validation/report/scores.json").read_text())
    total = report["scores"]["total"]
    assert total > max(baseline["total"] for baseline in report["baselines"].values())
    for name in ("clicks", "carts", "orders"):
        assert report["scores"][name] <= report["candidates"][name]
        assert report["sources"]["history"][name] <= report["candidates"][name]
    assert report["interval_95"]["total"][0] < total < report["interval_95"]["total"][1]


def test_submission_is_valid_and_can_be_scored_by_the_official_rules(demo: Demo) -> None:
    root = demo[0].store / "demo"
    csv = root / "submission/submission/submission.csv"
    test_sessions = (root / "log/raw/generated/test.jsonl").read_text().splitlines()
    lines = csv.read_text().splitlines()
    assert lines[0] == "session_type,labels"
    assert len(lines) == 1 + 3 * len(test_sessions)
    scores = official_score(root / "log/raw/generated/test_labels.jsonl", csv)
    assert scores["total"] > 0.3


def test_second_rebuild_reuses_everything_and_touches_nothing(demo: Demo) -> None:
    project, _ = demo
    before = times(project.store)
    result = project.rebuild("demo")
    assert result.success, failures(result)
    assert times(project.store) == before
    for event in result.get_asset_materialization_events():
        metadata = event.materialization.metadata
        if "reused" in metadata:
            assert metadata["reused"].value is True
            assert metadata["shards_written"].value == 0
    assert read_history(project.store / "score_history").height == 1


def test_data_version_is_the_fingerprint(demo: Demo) -> None:
    project, result = demo
    events = result.asset_materializations_for_node("validation__candidates")
    dataset = Dataset(project.store / "demo/validation/candidates")
    assert events[0].tags["dagster/data_version"] == dataset.fingerprint


def test_pictures_and_generated_files_belong_to_their_datasets(demo: Demo) -> None:
    root = demo[0].store / "demo"
    beside = {
        artifact.path: set(Dataset(root / artifact.path).manifest.beside) for artifact in ARTIFACTS
    }
    assert {path: names for path, names in beside.items() if names} == {
        "log/raw": {f"generated/{name}.jsonl" for name in ("train", "test", "test_labels")},
        "log/statistics": {"statistics.png"},
        "validation/report": {"recall.png"},
    }


def test_report_names_costs_scores_and_places(demo: Demo) -> None:
    root = demo[0].store / "demo"
    text = report_text(root, PATHS)
    for expected in (
        "validation/candidates",
        "baseline: own history",
        "better baseline",
        "in the union",
    ):
        assert expected in text
    assert str(root / "submission/submission/submission.csv") in text


def test_broken_submission_is_seen(demo: Demo, tmp_path: Path) -> None:
    root = demo[0].store / "demo"
    lines = (root / "submission/submission/submission.csv").read_text().splitlines()
    first = lines[1].split(",")[0]
    broken = [
        lines[0],
        f"{first},",
        f"{first},1 1",
        f"{first},999999999",
        "nobody_clicks,1",
        *lines[5:],
    ]
    copy = tmp_path / "submission"
    copy.mkdir()
    (copy / "submission.csv").write_text("\n".join(broken) + "\n")
    manifest = (root / "submission/submission/manifest.json").read_text()
    (copy / "manifest.json").write_text(manifest)
    items = Dataset(root / "log/items")
    nothing_denied = np.zeros(items.manifest.rows, np.bool_)
    found = faults(Dataset(copy), Dataset(root / "log/sessions"), items, nothing_denied)
    assert found["lines without or with more than 20 items"] == 1
    assert found["lines with repeated items"] == 1
    assert found["repeated lines"] == 2
    assert found["missing lines"] == 3
    assert found["lines of other sessions"] == 1
    assert found["unknown items"] >= 1


def test_check_fails_on_content_that_breaks_the_contract(demo: Demo, tmp_path: Path) -> None:
    artifact = next(a for a in ARTIFACTS if a.path == "validation/popularity")
    source = demo[0].store / "demo" / artifact.path
    copy = tmp_path / "popularity"
    copy.mkdir()
    frame = pl.read_parquet(source / "part-00000.parquet")
    frame.with_columns(last_seen=pl.lit(-7, pl.Int32)).write_parquet(copy / "part-00000.parquet")
    (copy / "manifest.json").write_text((source / "manifest.json").read_text())
    result = check_dataset(artifact, Dataset(copy))
    assert not result.passed
    assert "last_seen" in str(result.description)
    assert check_dataset(artifact, Dataset(source)).metadata["read"].value is False


def test_submission_lane_comes_and_goes_with_the_test_file(
    project: Project, tmp_path: Path
) -> None:
    log, put_aside = tmp_path / "log", tmp_path / "test.jsonl"
    log.mkdir()
    generate_log(log, sessions=300, test_sessions=30, items=60, seed=5)
    (log / "test.jsonl").rename(put_aside)
    text = report_without_submission(project, log)
    put_aside.rename(log / "test.jsonl")
    result = project.rebuild("full", OTTO_DATA_DIR=str(log))
    assert result.success, failures(result)
    assert "submission.csv" in report_text(project.store / "full", PATHS)
    (log / "test.jsonl").unlink()
    assert report_without_submission(project, log) == text


def report_without_submission(project: Project, log: Path) -> str:
    """The report of a rebuild that skips the submission lane, and says why; without costs."""
    result = project.rebuild("full", OTTO_DATA_DIR=str(log))
    assert result.success, failures(result)
    made = {event.asset_key.to_user_string() for event in result.get_asset_materialization_events()}
    assert {"validation/report", "score_history"} < made
    assert not {key for key in made if key.startswith("submission/")}
    messages = [entry.user_message for entry in project.instance.all_logs(result.run_id)]
    assert any("no test file" in message for message in messages)
    text = report_text(project.store / "full", PATHS)
    assert "submission.csv" not in text
    assert "submission/candidates" not in text
    return text[text.index("Recall@20") :]


def test_history_can_be_materialized_alone(demo: Demo) -> None:
    project, _ = demo
    result = dg.materialize(
        [*(defs.assets or [])],
        selection=dg.AssetSelection.assets("score_history"),
        instance=project.instance,
        resources=defs.resources,
        run_config=project.config(),
    )
    assert result.success


def test_unknown_partition_and_none_are_refused_with_the_list(project: Project) -> None:
    job = defs.resolve_job_def("rebuild")
    with pytest.raises(dg.DagsterUnknownPartitionError, match="demo, pct1, pct10, full"):
        job.execute_in_process(partition_key="pct5", instance=project.instance)
    message = failures(project.rebuild("pct5"))["log__raw"]
    assert "there is no partition 'pct5'; the partitions are demo, pct1, pct10, full" in message


def test_malformed_log_stops_the_run_with_its_message(project: Project, tmp_path: Path) -> None:
    folder = tmp_path / "log"
    folder.mkdir()
    good = '{"session": %d, "events": [{"aid": 1, "ts": 5, "type": "clicks"}]}'
    (folder / "train.jsonl").write_text("\n".join([good % 1, "nonsense", good % 2]))
    result = project.rebuild("full", OTTO_DATA_DIR=str(folder))
    assert not result.success
    message = failures(result)["log__quarantine"]
    assert "train.jsonl, line 2" in message
    assert "OTTO_MAX_QUARANTINED_SHARE" in message


def test_other_seed_is_refused_by_a_store_that_has_one(demo: Demo) -> None:
    result = demo[0].rebuild("demo", OTTO_SEED="7")
    assert "holds the artifacts of seed 42" in failures(result)["log__raw"]


def test_single_artifact_can_be_materialized(demo: Demo) -> None:
    result = demo[0].materialize("demo", "validation/candidates")
    assert result.success
    made = {event.asset_key for event in result.get_asset_materialization_events()}
    assert made == {dg.AssetKey(["validation", "candidates"])}
