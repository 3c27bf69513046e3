"""Small logs written line by line, what is made from them, and datasets of given frames."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import polars as pl

from otto_pipeline.settings import Settings
from otto_pipeline.store.build import build
from otto_pipeline.store.dataset import Dataset, Figures
from otto_pipeline.store.files import text_hash
from otto_pipeline.store.stage import Inputs, Stage
from otto_pipeline_tests.pipeline import build_until

Line = str | bytes
Files = Mapping[str, Sequence[Line] | bytes]
Artifacts = dict[str, Dataset]
Event = tuple[object, object, int, str]


def log_line(session: int | str, events: Iterable[tuple[int | str, int, str]]) -> str:
    """One line of a log: a session with events (aid, ts in ms, type)."""
    found = [{"aid": aid, "ts": ts, "type": kind} for aid, ts, kind in events]
    return json.dumps({"session": session, "events": found})


def write_log(folder: Path, files: Files) -> Path:
    """A log folder of files by name: lines, each with its line break, or bytes as they are."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        whole = content if isinstance(content, bytes) else b"".join(map(_line, content))
        (folder / name).write_bytes(whole)
    return folder


def build_log(
    tmp_path: Path,
    lines_or_files: Sequence[Line] | Files,
    scale: str = "full",
    until: str = "log/events",
    **settings: object,
) -> Artifacts:
    """Write a log to `tmp_path` and build its artifacts up to `until`; each by its path.

    Lines alone are those of `train.jsonl`.
    """
    files = (
        lines_or_files if isinstance(lines_or_files, Mapping) else {"train.jsonl": lines_or_files}
    )
    data_dir = write_log(tmp_path / "data", files)
    return build_until(until, tmp_path / "store", data_dir, scale, **settings)


def decoded(made: Artifacts) -> list[Event]:
    """Events with their original ids: (session, item, ts, type)."""
    sessions = made["log/sessions"].read("session", "session_id")
    items = made["log/items"].read("aid", "item_id")
    events = made["log/events"].read().join(sessions, on="session", maintain_order="left")
    joined = events.join(items, on="aid", maintain_order="left")
    return joined.select("session_id", "item_id", "ts", "type").rows()


def set_aside(made: Artifacts) -> list[tuple[str, int]]:
    """File name and line of what is in quarantine."""
    rows = made["log/quarantine"].read("file", "line").rows()
    return [(Path(file).name, line) for file, line in rows]


def dataset_of(folder: Path, *frames: pl.DataFrame) -> Dataset:
    """A complete dataset whose shards are the given frames."""

    def write(_inputs: Inputs, shard: int, _settings: Settings, path: Path) -> Figures:
        frames[shard].write_parquet(path)
        return {}

    content = text_hash("".join(frame.write_json() for frame in frames))
    stage = Stage(write=write, version=content, shards=lambda _inputs, _settings: len(frames))
    return build(folder.parent, folder.name, stage, {}, Settings(), lambda _message: None).dataset


def _line(line: Line) -> bytes:
    return (line.encode() if isinstance(line, str) else line) + b"\n"
