"""The file formats of a generated log: how a block of events is encoded, and how it is appended.

Encoding is done by many threads, appending by one. The content does not depend on the number of
threads: a block is one piece of the file in every format (lines, a zstd frame, a row group).
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import polars as pl
import pyarrow.parquet as pq
import zstandard

from otto_pipeline.events.jsonl_writer import session_lines
from otto_pipeline.schemas import EVENTS


class Appendable(Protocol):
    """An open file that takes encoded blocks."""

    def write(self, encoded: Any, /) -> object:
        """Append a block."""

    def close(self) -> None:
        """Complete the file."""


@dataclass(frozen=True)
class Format:
    """`encode` turns a block of events into what `open(path).write` appends."""

    suffix: str
    encode: Callable[[pl.DataFrame], Any]
    open: Callable[[Path], Appendable]


def _lines(events: pl.DataFrame) -> bytes:
    return session_lines(events.with_columns(session_id="session"))


def _compressed(events: pl.DataFrame) -> bytes:
    return zstandard.compress(_lines(events))


class _ParquetFile:
    def __init__(self, path: Path) -> None:
        schema = EVENTS.empty().to_arrow().schema
        self._writer = pq.ParquetWriter(path, schema, compression="zstd")

    def write(self, events: pl.DataFrame) -> None:
        self._writer.write_table(events.to_arrow())

    def close(self) -> None:
        self._writer.close()


def _open_bytes(path: Path) -> Appendable:
    return path.open("wb")


FORMATS = {
    "jsonl": Format(".jsonl", _lines, _open_bytes),
    "jsonl.zst": Format(".jsonl.zst", _compressed, _open_bytes),
    "parquet": Format(".parquet", lambda events: events, _ParquetFile),
}
