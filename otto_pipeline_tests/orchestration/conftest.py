from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from otto_pipeline.definitions import defs

DEMO = {"OTTO_DEMO_SESSIONS": "1500", "OTTO_BOOSTING_ROUNDS": "20"}


@dataclass(frozen=True)
class Project:
    """A store and a Dagster instance of a test's own."""

    store: Path
    instance: dg.DagsterInstance

    def rebuild(self, scale: str, **environment: str) -> dg.ExecuteInProcessResult:
        """Run the job `rebuild`; what fails is in the result."""
        return defs.resolve_job_def("rebuild").execute_in_process(
            instance=self.instance,
            run_config=self.config(**environment),
            tags={"dagster/partition": scale},
            raise_on_error=False,
        )

    def materialize(self, scale: str, *paths: str) -> dg.ExecuteInProcessResult:
        """Materialize the assets of these paths alone, with their checks."""
        return dg.materialize(
            [*(defs.assets or []), *(defs.asset_checks or [])],
            selection=dg.AssetSelection.assets(*(path.split("/") for path in paths)),
            partition_key=scale,
            instance=self.instance,
            resources=defs.resources,
            run_config=self.config(),
            raise_on_error=False,
        )

    def config(self, **environment: str) -> dict[str, Any]:
        """Run configuration: this store, and settings over those of the environment."""
        environment = {"OTTO_STORE_DIR": str(self.store), **DEMO, **environment}
        return {"resources": {"store": {"config": {"environment": environment}}}}


def failures(result: dg.ExecuteInProcessResult) -> dict[str, str]:
    """Message of each failed step, by its name."""
    return {
        event.step_key: str(event.step_failure_data.error.cause or event.step_failure_data.error)
        for event in result.all_events
        if event.is_step_failure
    }


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:
        yield Project(tmp_path / "store", instance)


@pytest.fixture(scope="package")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Project, Any]]:
    """A project in which `demo` has been rebuilt once, and the result of that."""
    folder = tmp_path_factory.mktemp("demo")
    with dg.instance_for_test(temp_dir=str(folder)) as instance:
        project = Project(folder / "store", instance)
        yield project, project.rebuild("demo")
