"""Building what a step makes: what Dagster, the command line and the benchmarks share."""

from collections.abc import Callable, Sequence
from pathlib import Path

from otto_pipeline.orchestration.artifact import Artifact, by_name
from otto_pipeline.settings import Settings
from otto_pipeline.store.build import Built, build, build_together
from otto_pipeline.store.dataset import Dataset


def inputs_of(artifact: Artifact, root: Path) -> dict[str, Dataset]:
    """The datasets of a scale's folder that an artifact is made from."""
    return {name: Dataset(root / path) for name, path in artifact.inputs.items()}


def build_step(
    artifacts: Sequence[Artifact], scale: str, settings: Settings, log: Callable[[str], None]
) -> dict[str, Built]:
    """Build what a step makes, one after the other, those of a batch in one pass; by path.

    Raises:
        StoreError: an input is missing, the store cannot be written, or another process writes.
    """
    built: dict[str, Built] = {}
    for group in by_name(artifacts, lambda artifact: artifact.made_as).values():
        built |= _build(group, scale, settings, log)
    return built


def _build(
    artifacts: Sequence[Artifact], scale: str, settings: Settings, log: Callable[[str], None]
) -> dict[str, Built]:
    """Build one artifact, or some of a batch in one pass."""
    root, first = settings.store_dir / scale, artifacts[0]
    inputs = inputs_of(first, root)
    stages = {artifact.path: artifact.stage_for(scale) for artifact in artifacts}
    if first.batch:
        return build_together(root, stages, first.batch.write, inputs, settings, log)
    return {first.path: build(root, first.path, stages[first.path], inputs, settings, log)}
