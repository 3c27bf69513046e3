"""The partitions: one per scale, side by side in the store."""

from typing import Any

import dagster as dg
from dagster import DagsterUnknownPartitionError

from otto_pipeline.settings import SCALES


class ScalePartitions(dg.StaticPartitionsDefinition):
    """Static partitions that, asked for one that does not exist, name those that do."""

    def validate_partition_key(self, partition_key: str, context: Any = None) -> None:
        """Refuse an unknown scale before a run exists."""
        try:
            super().validate_partition_key(partition_key, context=context)
        except DagsterUnknownPartitionError:
            raise DagsterUnknownPartitionError(unknown(partition_key)) from None


def unknown(scale: str | None) -> str:
    """What to say of a scale that does not exist."""
    problem = f"there is no partition {scale!r}" if scale else "the run names no partition"
    return f"{problem}; the partitions are {', '.join(SCALES)}"


SCALE_PARTITIONS = ScalePartitions(list(SCALES))


def scale_of(context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext) -> str:
    """The scale that a run is for.

    Raises:
        dagster.Failure: the run names none, or one that does not exist.
    """
    scale = context.run.tags.get("dagster/partition")
    if scale in SCALES:
        return scale
    raise dg.Failure(
        f"""{unknown(scale)}. Name one, as in --tags '{{"dagster/partition": "demo"}}'""",
        allow_retries=False,
    )
