"""Building artifacts without Dagster, for tests of later stages."""

from pathlib import Path

from otto_pipeline.orchestration.assets import ARTIFACTS
from otto_pipeline.orchestration.building import build_step
from otto_pipeline.settings import load_settings
from otto_pipeline.store.dataset import Dataset


def build_until(
    path: str, store: Path, data_dir: Path | None, scale: str = "full", **settings: object
) -> dict[str, Dataset]:
    """Build what `path` is made from, and itself; every dataset by its path.

    `settings` are given by their names in small letters.
    """
    values = {"store_dir": store, "data_dir": data_dir, **settings}
    loaded = load_settings(
        {f"OTTO_{name.upper()}": str(value) for name, value in values.items() if value is not None}
    )
    made: dict[str, Dataset] = {}
    for artifact in _needed(path):
        built = build_step([artifact], scale, loaded, _no_log)
        made[artifact.path] = built[artifact.path].dataset
    return made


def _needed(path: str) -> list:
    wanted = {path}
    for artifact in reversed(ARTIFACTS):
        if artifact.path in wanted:
            wanted |= set(artifact.inputs.values())
    return [artifact for artifact in ARTIFACTS if artifact.path in wanted]


def _no_log(_message: str) -> None:
    pass
