"""A dataset: a folder of shards, complete once its manifest is there."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from otto_pipeline.store.errors import StoreError
from otto_pipeline.store.files import atomic, text_hash

FORMAT_VERSION = 1
MANIFEST = "manifest.json"

Figures = dict[str, Any]
"""What a shard tells beside its file: counts and the like, JSON values by name."""


class Receipt(msgspec.Struct, frozen=True):
    """One finished shard."""

    shard: int
    file: str
    rows: int
    bytes: int
    hash: str
    seconds: float
    peak_bytes: int
    figures: Figures


class Manifest(msgspec.Struct, frozen=True):
    """What a complete dataset was made from, and what it holds.

    `beside` are the sizes of the files that its shards wrote beside themselves, by name.
    """

    format_version: int
    artifact: str
    fingerprint: str
    stage_version: str
    settings: dict[str, Any]
    inputs: dict[str, str]
    columns: dict[str, str]
    rows: int
    shards: list[Receipt]
    beside: dict[str, int] = {}  # not in manifests written before there was this field

    @property
    def sizes(self) -> dict[str, int]:
        """Size of every file, by name."""
        return self.beside | {receipt.file: receipt.bytes for receipt in self.shards}

    @property
    def seconds(self) -> float:
        """Time that the shards took, summed."""
        return sum(receipt.seconds for receipt in self.shards)

    @property
    def peak_bytes(self) -> int:
        """Largest resident memory of any shard's process."""
        return max((receipt.peak_bytes for receipt in self.shards), default=0)

    @property
    def bytes(self) -> int:
        """Size on disk."""
        return sum(self.sizes.values())


@dataclass(frozen=True)
class Dataset:
    """A complete dataset in `folder`; reading its manifest fails when it is not complete."""

    folder: Path

    @cached_property
    def manifest(self) -> Manifest:
        """The manifest.

        Raises:
            StoreError: there is none, or it was written by another version of the format.
        """
        manifest = read_manifest(self.folder)
        if manifest is None:
            raise StoreError(
                f"{self.folder}: is not there or not complete; materialize it first (a run of the "
                "job `rebuild` makes everything in order)"
            )
        return manifest

    @property
    def fingerprint(self) -> str:
        """Identity of the content: hash of inputs, settings read and stage version."""
        return self.manifest.fingerprint

    @property
    def files(self) -> list[Path]:
        """The shards' files in order of their numbers."""
        return [self.folder / receipt.file for receipt in self.manifest.shards]

    @property
    def layout(self) -> str:
        """Hash of how the content is cut into shards."""
        return text_hash(" ".join(receipt.hash for receipt in self.manifest.shards))

    def scan(self) -> pl.LazyFrame:
        """All Parquet shards, lazily."""
        return pl.scan_parquet(self.files)

    def read(self, *columns: str) -> pl.DataFrame:
        """All Parquet shards in memory: the given columns, or all."""
        scan = self.scan()
        return (scan.select(columns) if columns else scan).collect()

    def read_shard(self, shard: int) -> pl.DataFrame:
        """One Parquet shard in memory."""
        return pl.read_parquet(self.files[shard])

    def total(self, figure: str) -> int:
        """A figure that every shard has, summed."""
        return sum(receipt.figures[figure] for receipt in self.manifest.shards)

    def figures(self, shard: int = 0) -> Figures:
        """The figures of one shard."""
        return self.manifest.shards[shard].figures


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest in `folder`, None where there is none of this format."""
    try:
        manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
        return None
    return manifest if manifest.format_version == FORMAT_VERSION else None


def discard(folder: Path) -> None:
    """What an earlier build left in `folder` is no dataset any more."""
    (folder / MANIFEST).unlink(missing_ok=True)


def write_json(path: Path, value: object) -> None:
    """Write a value as indented JSON, whole or not at all."""
    with atomic(path) as temporary:
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(value), indent=1))
