"""Runs that only look alive: those whose process is gone.

A run that is killed stays STARTED in Dagster's storage, and blocks the queue. Its first engine
event names the process that executed it.
"""

import os
from pathlib import Path

import psutil
from dagster import DagsterEventType, DagsterInstance, DagsterRun, DagsterRunStatus, RunsFilter

from otto_pipeline.settings import SettingsError

ALIVE = [DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING]
MESSAGE = (
    "The process of this run ({pid}) is gone: it was killed, or the machine went down. Run the "
    "job again: it continues with what is missing."
)


def dagster_instance() -> DagsterInstance:
    """Dagster's storage.

    Raises:
        SettingsError: DAGSTER_HOME names no folder.
    """
    home = os.environ.get("DAGSTER_HOME", "")
    if not Path(home).is_absolute() or not Path(home).is_dir():
        raise SettingsError(
            f"DAGSTER_HOME={home}: must be the folder of this project, where dagster.yaml lies, as "
            "an absolute path; `make` sets it"
        )
    return DagsterInstance.get()


def fail_dead_runs(instance: DagsterInstance) -> list[str]:
    """Mark the runs of dead processes as failed; return their ids."""
    dead = []
    for run in instance.get_runs(filters=RunsFilter(statuses=ALIVE)):
        pid, since = _process_of(instance, run)
        if pid is not None and not _lives(pid, since):
            instance.report_run_failed(run, MESSAGE.format(pid=pid))
            dead.append(run.run_id)
    return dead


def _process_of(instance: DagsterInstance, run: DagsterRun) -> tuple[int | None, float]:
    """Process of a run and the time (s) of the event that names it."""
    for entry in instance.all_logs(run.run_id, of_type=DagsterEventType.ENGINE_EVENT):
        event = entry.dagster_event
        metadata = event.engine_event_data.metadata if event else {}
        if "pid" in metadata:
            return int(str(metadata["pid"].value)), entry.timestamp
    return None, 0.0


def _lives(pid: int, since: float) -> bool:
    """Whether the process is there, and is not a later one with the same number."""
    try:
        process = psutil.Process(pid)
        return process.create_time() <= since and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
