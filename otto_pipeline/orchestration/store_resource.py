"""The store as a Dagster resource: builds artifacts, and turns what they hold into metadata."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from otto_pipeline.events.errors import LogError
from otto_pipeline.events.raw import claim_store
from otto_pipeline.orchestration.artifact import Artifact
from otto_pipeline.orchestration.building import build_step, inputs_of
from otto_pipeline.orchestration.scales import scale_of
from otto_pipeline.schemas import Table
from otto_pipeline.settings import Settings, SettingsError, load_settings
from otto_pipeline.store.build import Built
from otto_pipeline.store.dataset import Dataset, discard
from otto_pipeline.store.errors import StoreError
from otto_pipeline.submission.submission import SubmissionError

EXPECTED = (LogError, StoreError, SettingsError, SubmissionError)
"""Errors whose message says what to do: shown without a stack trace."""


class StoreResource(dg.ConfigurableResource):
    """Settings and datasets; `environment` overrides environment variables."""

    environment: dict[str, str] = Field(default_factory=dict)

    def settings(self) -> Settings:
        """The settings of this run."""
        return load_settings({**os.environ, **self.environment})

    def root(self, scale: str) -> Path:
        """Folder of a scale."""
        return self.settings().store_dir / scale

    def dataset(self, scale: str, path: str) -> Dataset:
        """A dataset of a scale."""
        return Dataset(self.root(scale) / path)

    def inputs(self, artifact: Artifact, scale: str) -> dict[str, Dataset]:
        """The datasets that an artifact is made from."""
        return inputs_of(artifact, self.root(scale))

    def materialize(
        self, context: dg.AssetExecutionContext, artifacts: Sequence[Artifact]
    ) -> Iterator[dg.MaterializeResult]:
        """Build what a step makes, one artifact or several; yields nothing for what is skipped."""
        scale = scale_of(context)
        with plain_failures():
            wanted = [artifact for artifact in artifacts if not self._skipped(context, artifact)]
            if not wanted:
                return
            claim_store(scale, self.settings())
            built = build_step(wanted, scale, self.settings(), context.log.info)
            for line in summaries(built):
                context.log.info(line)
            for artifact in wanted:
                yield _result(artifact, built[artifact.path])

    def _skipped(self, context: dg.AssetExecutionContext, artifact: Artifact) -> bool:
        """Whether there is a reason not to make it; then what an earlier run made is dropped."""
        scale = scale_of(context)
        reason = artifact.skip(self.inputs(artifact, scale)) if artifact.skip else None
        if reason:
            context.log.warning(f"{artifact.path} is skipped: {reason}")
            discard(self.root(scale) / artifact.path)
        return bool(reason)


@contextmanager
def plain_failures() -> Iterator[None]:
    """Show an error that says what to do as Dagster's failure of the step, not to be retried."""
    try:
        yield
    except EXPECTED as error:
        raise dg.Failure(str(error), allow_retries=False) from error


def table_schema(table: Table) -> dg.TableSchema:
    """Columns with types and descriptions, as the UI shows them."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                name=column.name,
                type=" or ".join(map(str, column.dtype))
                if isinstance(column.dtype, tuple)
                else str(column.dtype),
                description=column.description,
                constraints=dg.TableColumnConstraints(nullable=column.nullable),
            )
            for column in table.columns
        ]
    )


def _result(artifact: Artifact, built: Built) -> dg.MaterializeResult:
    return dg.MaterializeResult(
        asset_key=artifact.key,
        metadata=_metadata(artifact, built),
        data_version=dg.DataVersion(built.dataset.fingerprint),
    )


def summaries(built: Mapping[str, Built]) -> list[str]:
    """A line for each artifact by its path, and one for all that have no shard."""
    empty = [path for path, one in built.items() if not one.dataset.manifest.shards]
    lines = [_summary(path, one) for path, one in built.items() if path not in empty]
    return [*lines, f"nothing to make: {', '.join(empty)}"] if empty else lines


def _summary(path: str, built: Built) -> str:
    manifest = built.dataset.manifest
    content = f"{manifest.rows:,} rows" if manifest.columns else f"{len(manifest.shards)} files"
    if built.reused:
        return f"{path}: reused as it is, {content}"
    return (
        f"{path}: {content} in {manifest.seconds:.1f} s, "
        f"peak {manifest.peak_bytes / 2**20:,.0f} MB, {built.dataset.folder}"
    )


def _metadata(artifact: Artifact, built: Built) -> dict[str, Any]:
    manifest = built.dataset.manifest
    return {
        **artifact.metadata(built.dataset),
        **_figures(built.dataset),
        "dagster/row_count": manifest.rows,
        "dagster/column_schema": table_schema(artifact.table),
        "reused": built.reused,
        "shards": len(manifest.shards),
        "shards_written": built.written,
        "seconds": manifest.seconds,
        "peak_memory_mb": round(manifest.peak_bytes / 2**20),
        "size_mb": round(manifest.bytes / 2**20, 2),
        "path": dg.MetadataValue.path(built.dataset.folder),
        "fingerprint": manifest.fingerprint,
    }


def _figures(dataset: Dataset) -> dict[str, Any]:
    """Figures of the shards: whole numbers summed, others where there is one shard only."""
    shards = [receipt.figures for receipt in dataset.manifest.shards]
    if not shards:
        return {}
    return {
        name: sum(figures[name] for figures in shards) if _is_count(value) else value
        for name, value in shards[0].items()
        if (_is_count(value) or len(shards) == 1) and value is not None
    }


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
