"""Parquet files written and read piece by piece, so that memory does not grow with the file."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq


class PieceWriter:
    """Writes frames of the schema of `empty` as the row groups of one file; counts the `rows`."""

    def __init__(self, path: Path, empty: pl.DataFrame) -> None:
        schema = empty.to_arrow().schema
        self._writer = pq.ParquetWriter(path, schema, compression="zstd", **_encodings(schema))
        self.rows = 0

    def __enter__(self) -> "PieceWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def write(self, piece: pl.DataFrame) -> None:
        """Append a row group, however long: a session or item never lies in two."""
        self._writer.write_table(piece.to_arrow(), row_group_size=max(1, piece.height))
        self.rows += piece.height


def write_pieces(path: Path, pieces: Iterable[pl.DataFrame], empty: pl.DataFrame) -> int:
    """Write frames of one schema as the row groups of one file; return the number of rows.

    `empty` has the schema and is what the file holds when there is no piece.
    """
    with PieceWriter(path, empty) as writer:
        for piece in pieces:
            writer.write(piece)
    return writer.rows


def read_pieces(path: Path, columns: list[str] | None = None) -> Iterator[pl.DataFrame]:
    """The row groups of a file, one after the other: the given columns, or all."""
    file = pq.ParquetFile(path)
    for group in range(file.num_row_groups):
        yield _to_frame(file.read_row_group(group, columns))


def _encodings(schema: pa.Schema) -> dict[str, Any]:
    """Dictionaries for text only, differences for integers.

    pyarrow's default, dictionaries for all, takes nearly twice the time to write and three times
    the time to read ids and moments, and makes larger files of them.
    """
    text = [field.name for field in schema if _is_text(field.type)]
    integers = [field.name for field in schema if pa.types.is_integer(field.type)]
    return {
        "use_dictionary": text,
        "column_encoding": dict.fromkeys(integers, "DELTA_BINARY_PACKED"),
    }


def _is_text(dtype: pa.DataType) -> bool:
    return pa.types.is_dictionary(dtype) or pa.types.is_large_string(dtype)


def _to_frame(table: pa.Table) -> pl.DataFrame:
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame
