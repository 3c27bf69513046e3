"""One artifact as Dagster sees it: an asset that builds its dataset, and its blocking check."""

import base64
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
import polars as pl

from otto_pipeline.schemas import Table
from otto_pipeline.store.dataset import Dataset
from otto_pipeline.store.parquet import read_pieces
from otto_pipeline.store.stage import Stage, WriteTogether

OWNERS = ["team:recsys"]


def parquet_frames(dataset: Dataset) -> Iterable[pl.LazyFrame]:
    """The shards of a dataset of Parquet files."""
    return (pl.scan_parquet(file) for file in dataset.files)


CHECKED_ROWS = 1_000_000
"""Rows of a piece for the check of the contract, where row groups are smaller: a check costs some
ten milliseconds, however few they are."""


def parquet_pieces(dataset: Dataset) -> Iterator[pl.LazyFrame]:
    """The rows of a dataset of Parquet files, some row groups of a file at once."""
    for file in dataset.files:
        pieces: list[pl.DataFrame] = []
        for piece in read_pieces(file):
            pieces.append(piece)
            if sum(one.height for one in pieces) >= CHECKED_ROWS:
                yield pl.concat(pieces).lazy()
                pieces.clear()
        if pieces:
            yield pl.concat(pieces).lazy()


def no_metadata(_dataset: Dataset) -> dict[str, Any]:
    """Nothing beyond what every artifact shows."""
    return {}


def picture(title: str, png: bytes) -> dg.MetadataValue:
    """A picture that the UI shows in place."""
    encoded = base64.b64encode(png).decode()
    return dg.MetadataValue.md(f"![{title}](data:image/png;base64,{encoded})")


def by_name(
    artifacts: Iterable["Artifact"], name: Callable[["Artifact"], str]
) -> dict[str, list["Artifact"]]:
    """Artifacts in their order, by a name that several may share."""
    groups: dict[str, list[Artifact]] = {}
    for artifact in artifacts:
        groups.setdefault(name(artifact), []).append(artifact)
    return groups


@dataclass(frozen=True)
class Batch:
    """Artifacts with the same inputs that one step makes in one pass, by `write`."""

    name: str
    write: WriteTogether


@dataclass(frozen=True)
class Artifact:
    """What there is to know of an artifact.

    `path` is its asset key and its folder in the store, `inputs` are the paths of what its stage
    reads, by the stage's name for it. `stage` may depend on the scale. `frames` reads its content
    as tables for the check. `skip` says why the artifact, and all that is made from it, is not
    made; None where it is. The artifacts of one `batch` are made together. `step` names the step
    that makes it with others, one after the other; None: a step of its own, or of its batch.
    """

    path: str
    stage: Stage | Callable[[str], Stage]
    table: Table
    group: str
    description: str
    inputs: Mapping[str, str] = field(default_factory=dict)
    kinds: frozenset[str] = frozenset({"polars", "parquet"})
    frames: Callable[[Dataset], Iterable[pl.LazyFrame]] = parquet_frames
    metadata: Callable[[Dataset], dict[str, Any]] = no_metadata
    skip: Callable[[Mapping[str, Dataset]], str | None] | None = None
    batch: Batch | None = None
    step: str | None = None

    @property
    def key(self) -> dg.AssetKey:
        """Its asset key."""
        return dg.AssetKey(self.path.split("/"))

    @property
    def made_as(self) -> str:
        """Path of what is made in one go: its own, or that of its batch."""
        return self.batch.name if self.batch else self.path

    @property
    def step_name(self) -> str:
        """Name of the step that makes it."""
        return (self.step or self.made_as).replace("/", "__")

    def stage_for(self, scale: str) -> Stage:
        """Its stage at a scale."""
        return self.stage if isinstance(self.stage, Stage) else self.stage(scale)
