import os
import subprocess
import sys

import dagster as dg
import pytest
from dagster import DagsterEvent, DagsterRunStatus
from dagster._core.events import EngineEventData

from otto_pipeline.orchestration.runs import fail_dead_runs


def run_of_process(instance: dg.DagsterInstance, pid: int) -> str:
    """A run that process `pid` is executing, as Dagster's storage has it."""
    run = instance.create_run_for_job(_job, status=DagsterRunStatus.STARTED)
    instance.report_dagster_event(
        DagsterEvent(
            event_type_value="ENGINE_EVENT",
            job_name="_job",
            message="Executing steps in process",
            event_specific_data=EngineEventData.in_process(pid),
        ),
        run.run_id,
    )
    return run.run_id


@dg.job
def _job() -> None:
    pass


@pytest.mark.parametrize("alive", [True, False])
def test_run_is_failed_only_when_its_process_is_gone(alive: bool) -> None:
    gone = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True
    )
    pid = os.getpid() if alive else int(gone.stdout)
    with dg.instance_for_test() as instance:
        run_id = run_of_process(instance, pid)
        assert fail_dead_runs(instance) == ([] if alive else [run_id])
        run = instance.get_run_by_id(run_id)
        assert run is not None
        assert run.status == (DagsterRunStatus.STARTED if alive else DagsterRunStatus.FAILURE)


def test_run_is_failed_once_its_process_was_killed() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        with dg.instance_for_test() as instance:
            run_id = run_of_process(instance, child.pid)
            assert fail_dead_runs(instance) == []
            child.kill()
            child.wait()
            assert fail_dead_runs(instance) == [run_id]
    finally:
        child.kill()
