"""Building a dataset: reuse it if it is what would be made, else continue or begin."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec
import polars as pl
import pyarrow.parquet as pq

from otto_pipeline.compute.local import Done, map_shards
from otto_pipeline.settings import Settings
from otto_pipeline.store.dataset import (
    FORMAT_VERSION,
    MANIFEST,
    Dataset,
    Figures,
    Manifest,
    Receipt,
    read_manifest,
    write_json,
)
from otto_pipeline.store.files import atomic, content_hash, writing
from otto_pipeline.store.lock import hold
from otto_pipeline.store.progress import Progress
from otto_pipeline.store.stage import Inputs, Stage

BUILDING = "building.json"
RECEIPT = ".receipt.json"


@dataclass(frozen=True)
class Built:
    """A dataset and how it came about: `written` shards, or `reused` as it was."""

    dataset: Dataset
    written: int

    @property
    def reused(self) -> bool:
        """Nothing had to be done."""
        return self.written == 0


def build(
    root: Path,
    artifact: str,
    stage: Stage,
    inputs: Inputs,
    settings: Settings,
    log: Callable[[str], None],
) -> Built:
    """Make `root/artifact` what `stage` makes of `inputs`.

    A complete dataset with the same fingerprint is taken as it is. Shards that an earlier,
    interrupted build finished under the same stamp are kept. Anything else in the folder is
    removed before the first shard is written.

    Raises:
        StoreError: the store cannot be written, or another process is writing.
    """
    folder = root / artifact
    fingerprint = stage.fingerprint(artifact, inputs, settings)
    manifest = read_manifest(folder)
    if manifest is not None and manifest.fingerprint == fingerprint and _whole(folder, manifest):
        return Built(Dataset(folder), written=0)

    hold(root)
    stamp = stage.stamp(fingerprint, inputs, settings)
    receipts = _begin(folder, stamp)
    missing = [shard for shard in range(stamp["shards"]) if shard not in receipts]
    if receipts:
        log(f"{artifact}: continues, {len(receipts)} of {stamp['shards']} shards are there")
    progress = Progress(artifact, total=len(missing), log=log)
    write = partial(_write_shard, stage, inputs, settings, folder)
    for done in map_shards(write, missing):
        receipts[done.shard] = _receive(folder, stage, done)
        progress.advance()
    _finish(folder, artifact, stage, inputs, settings, fingerprint, receipts)
    return Built(Dataset(folder), written=max(1, len(missing)))


def _begin(folder: Path, stamp: dict[str, object]) -> dict[int, Receipt]:
    """Receipts of the shards that a build with the same stamp left; an empty folder otherwise."""
    mark = folder / BUILDING
    if mark.exists() and msgspec.json.decode(mark.read_bytes()) == stamp:
        found = [
            msgspec.json.decode(path.read_bytes(), type=Receipt)
            for path in folder.glob(f"*{RECEIPT}")
        ]
        return {receipt.shard: receipt for receipt in found if _is_there(folder, receipt)}
    with writing(folder):
        (folder / MANIFEST).unlink(missing_ok=True)
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
    write_json(mark, stamp)
    return {}


def _whole(folder: Path, manifest: Manifest) -> bool:
    return all(_is_there(folder, receipt) for receipt in manifest.shards)


def _is_there(folder: Path, receipt: Receipt) -> bool:
    """Whether a finished shard is still there in its full length."""
    path = folder / receipt.file
    return path.exists() and path.stat().st_size == receipt.bytes


def _write_shard(
    stage: Stage, inputs: Inputs, settings: Settings, folder: Path, shard: int
) -> Figures:
    with atomic(_shard_file(folder, stage, shard)) as temporary:
        return stage.write(inputs, shard, settings, temporary)


def _receive(folder: Path, stage: Stage, done: Done[Figures]) -> Receipt:
    path = _shard_file(folder, stage, done.shard)
    receipt = Receipt(
        shard=done.shard,
        file=path.name,
        rows=pq.read_metadata(path).num_rows if stage.is_parquet else 0,
        bytes=path.stat().st_size,
        hash=content_hash(path),
        seconds=round(done.seconds, 3),
        peak_bytes=done.peak_bytes,
        figures=done.result,
    )
    write_json(folder / f"{path.name}{RECEIPT}", receipt)
    return receipt


def _finish(
    folder: Path,
    artifact: str,
    stage: Stage,
    inputs: Inputs,
    settings: Settings,
    fingerprint: str,
    receipts: dict[int, Receipt],
) -> None:
    shards = [receipts[shard] for shard in sorted(receipts)]
    manifest = Manifest(
        format_version=FORMAT_VERSION,
        artifact=artifact,
        fingerprint=fingerprint,
        stage_version=stage.version,
        settings=stage.values(settings),
        inputs={name: data.fingerprint for name, data in inputs.items()},
        columns=_columns(folder, stage, shards),
        rows=sum(receipt.rows for receipt in shards),
        shards=shards,
    )
    write_json(folder / MANIFEST, manifest)
    for receipt_file in folder.glob(f"*{RECEIPT}"):
        receipt_file.unlink()
    (folder / BUILDING).unlink()


def _columns(folder: Path, stage: Stage, shards: list[Receipt]) -> dict[str, str]:
    if not stage.is_parquet or not shards:
        return {}
    schema = pl.read_parquet_schema(folder / shards[0].file)
    return {name: str(dtype) for name, dtype in schema.items()}


def _shard_file(folder: Path, stage: Stage, shard: int) -> Path:
    return folder / stage.file.format(shard=shard)
