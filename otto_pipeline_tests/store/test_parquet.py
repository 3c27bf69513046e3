"""Files written piece by piece hold what was given, for every type of column that stages write."""

from pathlib import Path

import polars as pl
import pytest

from otto_pipeline.store.parquet import read_pieces, write_pieces

INTEGERS = (pl.Int8, pl.UInt8, pl.Int16, pl.UInt16, pl.Int32, pl.UInt32, pl.Int64, pl.UInt64)


def extremes(dtype: type[pl.DataType]) -> pl.DataFrame:
    values = [dtype.min(), dtype.max(), pl.lit(0, dtype), dtype.min(), pl.lit(None, dtype)]
    return pl.select(pl.concat([pl.select(value).to_series() for value in values]).alias("x"))


PIECES = {
    **{dtype.__name__: extremes(dtype) for dtype in INTEGERS},
    "no rows": pl.DataFrame(schema={"x": pl.Int64}),
    "floats": pl.DataFrame({"x": [0.5, None, float("inf")]}, schema={"x": pl.Float32}),
    "text": pl.DataFrame({"x": ["a", None, "", "größe"]}),
    "types": pl.DataFrame({"x": ["b", None, "a"]}, schema={"x": pl.Enum(["a", "b"])}),
    "flags": pl.DataFrame({"x": [True, None, False]}),
    "lists": pl.DataFrame({"x": [[0.5, 1], [2, 3]]}, schema={"x": pl.Array(pl.Float32, 2)}),
}


@pytest.mark.parametrize("name", PIECES)
def test_pieces_come_back_as_they_were(tmp_path: Path, name: str) -> None:
    piece = PIECES[name]
    assert write_pieces(tmp_path / "x", [piece, piece], piece.clear()) == 2 * piece.height
    assert pl.read_parquet(tmp_path / "x").equals(pl.concat([piece, piece]))
    for read in read_pieces(tmp_path / "x"):
        assert read.equals(piece)
        assert read.schema == piece.schema


def test_long_piece_is_one_row_group(tmp_path: Path) -> None:
    piece = pl.select(x=pl.int_range(1_100_000))
    write_pieces(tmp_path / "x", [piece], piece.clear())
    assert [read.height for read in read_pieces(tmp_path / "x")] == [1_100_000]


def test_no_piece_makes_a_file_without_rows(tmp_path: Path) -> None:
    empty = PIECES["text"].clear()
    assert write_pieces(tmp_path / "x", [], empty) == 0
    assert pl.read_parquet(tmp_path / "x").equals(empty)
