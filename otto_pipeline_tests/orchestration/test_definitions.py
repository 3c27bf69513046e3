import json
import os
from pathlib import Path

import dagster as dg

from otto_pipeline.definitions import defs
from otto_pipeline.orchestration.assets import ARTIFACTS
from otto_pipeline.orchestration.halves import HALVES_ARTIFACTS
from otto_pipeline.orchestration.jobs import weekly_rebuild
from otto_pipeline.retrieval.matrices import MATRICES
from otto_pipeline.schemas import SCORE_HISTORY

SNAPSHOT = Path(__file__).with_name("graph.json")
UPDATE = "UPDATE_GRAPH"


def graph() -> dict:
    """All that a change of the graph would change, in a form that reads well in a diff."""
    assets = defs.resolve_asset_graph()
    nodes = {
        key.to_user_string(): {
            "group": assets.get(key).group_name,
            "deps": sorted(dep.to_user_string() for dep in assets.get(key).parent_keys),
            "checks": sorted(check.name for check in assets.get(key).check_keys),
            "partitioned": assets.get(key).is_partitioned,
            "step": assets.get(key).assets_def.op.name,
        }
        for key in sorted(assets.get_all_asset_keys())
    }
    jobs = [job.name for job in defs.resolve_all_job_defs() if not job.name.startswith("__")]
    schedules = {
        schedule.name: f"{schedule.cron_schedule}, {schedule.default_status.value}"
        for schedule in defs.schedules or []
        if isinstance(schedule, dg.ScheduleDefinition)
    }
    return {"assets": nodes, "jobs": jobs, "schedules": schedules}


def test_graph_is_the_one_that_was_agreed_on() -> None:
    text = json.dumps(graph(), indent=1, ensure_ascii=False) + "\n"
    if os.environ.get(UPDATE):
        SNAPSHOT.write_text(text)
    assert text == SNAPSHOT.read_text(), (
        f"the graph has changed; if that is meant, run `{UPDATE}=1 make test` and commit the diff"
    )


def test_lanes_are_the_same_chain() -> None:
    nodes = graph()["assets"]

    def chain(lane: str) -> set[str]:
        return {key.removeprefix(f"{lane}/") for key in nodes if key.startswith(f"{lane}/")}

    of_lane = chain("submission") - {"submission", "sessions"}
    assert of_lane < chain("validation")
    of_half = chain("half_a") - {"events", "labels", "sessions"}
    assert of_half == of_lane - {"predictions"}
    for name in of_half - {"event_log", "candidates", "features"}:
        deps = [
            {dep.removeprefix(f"{lane}/") for dep in nodes[f"{lane}/{name}"]["deps"]}
            for lane in ("validation", "submission", "half_a", "half_b")
        ]
        assert deps == [deps[0]] * len(deps)


def test_halves_see_and_learn_alike() -> None:
    nodes = graph()["assets"]

    def of_half(half: str) -> str:
        mine = {key: node for key, node in nodes.items() if key.startswith(f"{half}/")}
        return json.dumps(mine, sort_keys=True).replace(half, "half")

    assert of_half("half_a") == of_half("half_b")


def test_matrices_of_a_lane_and_the_halves_are_one_step_and_all_else_is_its_own() -> None:
    members: dict[str, set[str]] = {}
    for key, node in graph()["assets"].items():
        members.setdefault(node["step"], set()).add(key)
    joint = {step: keys for step, keys in members.items() if len(keys) > 1}
    assert joint.pop("halves") == {artifact.path for artifact in HALVES_ARTIFACTS}
    assert joint == {
        f"{lane}__covisitation": {f"{lane}/covisitation/{matrix.name}" for matrix in MATRICES}
        for lane in ("validation", "submission")
    }


def test_every_asset_says_what_it_is() -> None:
    for spec in defs.resolve_all_asset_specs():
        assert spec.description, spec.key
        assert spec.group_name, spec.key


def test_every_column_says_what_it_means() -> None:
    for table in [*(artifact.table for artifact in ARTIFACTS), SCORE_HISTORY]:
        assert table.row
        for column in table.columns:
            assert column.description.endswith("."), (table.row, column.name)


def test_every_artifact_has_a_blocking_schema_check() -> None:
    checks = {
        spec.asset_key: spec
        for definition in defs.asset_checks or []
        for spec in definition.check_specs
        if spec.name == "schema"
    }
    for artifact in ARTIFACTS:
        assert checks[artifact.key].blocking


def test_inputs_come_before_what_is_made_from_them() -> None:
    made: set[str] = set()
    for artifact in ARTIFACTS:
        assert set(artifact.inputs.values()) <= made, artifact.path
        made.add(artifact.path)


def test_weekly_schedule_asks_for_the_full_scale_and_is_off() -> None:
    schedule = defs.resolve_schedule_def("weekly_rebuild")
    assert schedule.default_status == dg.DefaultScheduleStatus.STOPPED
    assert weekly_rebuild().partition_key == "full"
