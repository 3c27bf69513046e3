"""Small row groups are checked together, whole ones at a time."""

from pathlib import Path

import polars as pl
import pytest

from otto_pipeline.orchestration import artifact
from otto_pipeline.store.dataset import Dataset
from otto_pipeline.store.parquet import write_pieces


class TwoFiles(Dataset):
    """A folder with two files of row groups of 4, 4, 4, 4 and 1 rows."""

    @property
    def files(self) -> list[Path]:
        return [self.folder / "a", self.folder / "b"]


def test_pieces_are_whole_row_groups_of_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifact, "CHECKED_ROWS", 7)
    rows = pl.DataFrame({"x": range(17)})
    dataset = TwoFiles(tmp_path)
    for file in dataset.files:
        write_pieces(file, [rows[begin : begin + 4] for begin in range(0, 17, 4)], rows.clear())
    pieces = [piece.collect() for piece in artifact.parquet_pieces(dataset)]
    assert [piece.height for piece in pieces] == [8, 8, 1, 8, 8, 1]
    assert pl.concat(pieces).equals(pl.concat([rows, rows]))
