"""Building datasets: reuse one if it is what would be made, else continue or begin."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from os.path import commonpath
from pathlib import Path

from otto_pipeline.compute.local import map_shards
from otto_pipeline.settings import Settings
from otto_pipeline.store.dataset import Dataset, Figures
from otto_pipeline.store.files import atomic
from otto_pipeline.store.lock import hold
from otto_pipeline.store.progress import Progress
from otto_pipeline.store.stage import Inputs, Stage, WriteTogether
from otto_pipeline.store.unfinished import Unfinished

Log = Callable[[str], None]


@dataclass(frozen=True)
class Built:
    """A dataset and how it came about: `written` shards, or `reused` as it was."""

    dataset: Dataset
    written: int
    reused: bool


def build(
    root: Path, artifact: str, stage: Stage, inputs: Inputs, settings: Settings, log: Log
) -> Built:
    """Make `root/artifact` what `stage` makes of `inputs`.

    A complete dataset with the same fingerprint is taken as it is. Shards that an earlier,
    interrupted build finished under the same stamp are kept. Anything else in the folder is
    removed before the first shard is written.

    Raises:
        StoreError: the store cannot be written, or another process is writing.
    """
    write = partial(_write_alone, stage)
    return build_together(root, {artifact: stage}, write, inputs, settings, log)[artifact]


def build_together(
    root: Path,
    stages: Mapping[str, Stage],
    write: WriteTogether,
    inputs: Inputs,
    settings: Settings,
    log: Log,
) -> dict[str, Built]:
    """Make several datasets, each as `build` would, of the same inputs in one pass.

    `stages` are theirs by artifact; `write` writes one shard of some of them at once. A dataset
    that is complete takes no part, and each shard is written for those that lack it. Its time is
    shared out evenly among these, so that the seconds of all receipts add up to the time taken.

    Raises:
        StoreError: the store cannot be written, or another process is writing.
    """
    members = [
        Unfinished(root, artifact, stage, inputs, settings) for artifact, stage in stages.items()
    ]
    lacking = [member for member in members if not member.is_there()]
    if lacking:
        hold(root)
        _make(lacking, write, inputs, settings, log)
    return {
        member.artifact: Built(Dataset(member.folder), member.written, member not in lacking)
        for member in members
    }


def _make(
    members: Sequence[Unfinished],
    write: WriteTogether,
    inputs: Inputs,
    settings: Settings,
    log: Log,
) -> None:
    for member in members:
        _begin(member, log)
    lacking = _lacking(members)
    paths = {
        shard: {member.name: member.file(shard) for member in some}
        for shard, some in lacking.items()
    }
    name = commonpath([member.artifact for member in members])
    progress = Progress(name, total=len(lacking), log=log)
    write_shard = partial(_write_shard, write, inputs, settings, paths)
    for done in map_shards(write_shard, sorted(lacking), progress.alive):
        some = lacking[done.shard]
        for member in some:
            figures = done.result[member.name]
            member.receive(done.shard, figures, done.seconds / len(some), done.peak_bytes)
        progress.advance()
    for member in members:
        member.finish()


def _begin(member: Unfinished, log: Log) -> None:
    member.begin()
    if member.receipts:
        there = len(member.receipts)
        log(f"{member.artifact}: continues, {there} of {member.shards} shards are there")


def _lacking(members: Sequence[Unfinished]) -> dict[int, list[Unfinished]]:
    """Who lacks it, for each shard that is to be written."""
    lacking: dict[int, list[Unfinished]] = {}
    for member in members:
        for shard in member.missing():
            lacking.setdefault(shard, []).append(member)
    return lacking


def _write_shard(
    write: WriteTogether,
    inputs: Inputs,
    settings: Settings,
    paths: Mapping[int, Mapping[str, Path]],
    shard: int,
) -> Mapping[str, Figures]:
    with ExitStack() as files:
        temporary = {name: files.enter_context(atomic(path)) for name, path in paths[shard].items()}
        return write(inputs, shard, settings, temporary)


def _write_alone(
    stage: Stage, inputs: Inputs, shard: int, settings: Settings, paths: Mapping[str, Path]
) -> dict[str, Figures]:
    """The pass over one dataset."""
    return {name: stage.write(inputs, shard, settings, path) for name, path in paths.items()}
