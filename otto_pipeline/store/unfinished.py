"""A dataset on its way: begun or continued, filled shard by shard, finished by its manifest."""

import shutil
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pyarrow.parquet as pq

from otto_pipeline.settings import Settings
from otto_pipeline.store.dataset import (
    FORMAT_VERSION,
    MANIFEST,
    Figures,
    Manifest,
    Receipt,
    discard,
    read_manifest,
    write_json,
)
from otto_pipeline.store.files import content_hash, sweep, writing
from otto_pipeline.store.stage import Inputs, Stage

BUILDING = "building.json"
RECEIPT = ".receipt.json"


@dataclass(eq=False)
class Unfinished:
    """What `stage` is to make of `inputs` at `root/artifact`, and the shards that are there."""

    root: Path
    artifact: str
    stage: Stage
    inputs: Inputs
    settings: Settings
    receipts: dict[int, Receipt] = field(default_factory=dict)
    written: int = 0

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return self.root / self.artifact

    @property
    def name(self) -> str:
        """Last part of the artifact's path: its name among those of one pass."""
        return self.folder.name

    @cached_property
    def fingerprint(self) -> str:
        """Identity of what it is to be."""
        return self.stage.fingerprint(self.artifact, self.inputs, self.settings)

    @cached_property
    def _stamp(self) -> dict[str, Any]:
        return self.stage.stamp(self.fingerprint, self.inputs, self.settings)

    @property
    def shards(self) -> int:
        """How many shards it is cut into."""
        return self._stamp["shards"]

    def is_there(self) -> bool:
        """Whether the folder already holds exactly this dataset, whole."""
        manifest = read_manifest(self.folder)
        return (
            manifest is not None
            and manifest.fingerprint == self.fingerprint
            and all(_is_there(self.folder / name, size) for name, size in manifest.sizes.items())
        )

    def begin(self) -> None:
        """Keep the shards that a build with the same stamp left, or empty the folder."""
        mark = self.folder / BUILDING
        if mark.exists() and msgspec.json.decode(mark.read_bytes()) == self._stamp:
            discard(self.folder)
            sweep(self.folder)
            self.receipts = _receipts(self.folder)
        else:
            _empty(self.folder)
            write_json(mark, self._stamp)

    def missing(self) -> list[int]:
        """Numbers of the shards that are still to be written."""
        return [shard for shard in range(self.shards) if shard not in self.receipts]

    def file(self, shard: int) -> Path:
        """Where a shard lies."""
        return self.folder / self.stage.file.format(shard=shard)

    def receive(self, shard: int, figures: Figures, seconds: float, peak_bytes: int) -> None:
        """Note that a shard has been written."""
        path = self.file(shard)
        receipt = Receipt(
            shard=shard,
            file=path.name,
            rows=pq.read_metadata(path).num_rows if self.stage.is_parquet else 0,
            bytes=path.stat().st_size,
            hash=content_hash(path),
            seconds=round(seconds, 3),
            peak_bytes=peak_bytes,
            figures=figures,
        )
        write_json(self.folder / f"{path.name}{RECEIPT}", receipt)
        self.receipts[shard] = receipt
        self.written += 1

    def finish(self) -> None:
        """Write the manifest: from now on the dataset is complete."""
        shards = [self.receipts[shard] for shard in sorted(self.receipts)]
        manifest = Manifest(
            format_version=FORMAT_VERSION,
            artifact=self.artifact,
            fingerprint=self.fingerprint,
            stage_version=self.stage.version,
            settings=self.stage.values(self.settings),
            inputs={name: data.fingerprint for name, data in self.inputs.items()},
            columns=self._columns(),
            rows=sum(receipt.rows for receipt in shards),
            shards=shards,
            beside=self._beside(),
        )
        write_json(self.folder / MANIFEST, manifest)
        for receipt_file in self.folder.glob(f"*{RECEIPT}"):
            receipt_file.unlink()
        (self.folder / BUILDING).unlink()

    def _beside(self) -> dict[str, int]:
        """Sizes of the files that are neither shards nor the build's own."""
        shards = {receipt.file for receipt in self.receipts.values()}
        found = {
            str(path.relative_to(self.folder)): path.stat().st_size
            for path in sorted(self.folder.rglob("*"))
            if path.is_file() and path.name != BUILDING and not path.name.endswith(RECEIPT)
        }
        return {name: size for name, size in found.items() if name not in shards}

    def _columns(self) -> dict[str, str]:
        if not self.stage.is_parquet or not self.receipts:
            return {}
        schema = pl.read_parquet_schema(self.file(min(self.receipts)))
        return {name: str(dtype) for name, dtype in schema.items()}


def _receipts(folder: Path) -> dict[int, Receipt]:
    found = [
        msgspec.json.decode(path.read_bytes(), type=Receipt) for path in folder.glob(f"*{RECEIPT}")
    ]
    return {
        receipt.shard: receipt
        for receipt in found
        if _is_there(folder / receipt.file, receipt.bytes)
    }


def _is_there(path: Path, size: int) -> bool:
    """Whether a finished file is still there in its full length."""
    return path.exists() and path.stat().st_size == size


def _empty(folder: Path) -> None:
    with writing(folder):
        (folder / MANIFEST).unlink(missing_ok=True)  # first, lest a half emptied one looks whole
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
