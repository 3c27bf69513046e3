"""Matrices and embeddings as memory-mapped look-up tables, shared by all threads and processes.

In go the Parquet datasets of a lane's matrices and embeddings, out comes one file for each: the
arrays of a `NeighbourTable` one after the other, 10 bytes a neighbour and 8 an item. The neighbours
of an item in an embedding are the nearest, of the items that query sessions hold.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from otto_pipeline.compute.kernels import inner_njit
from otto_pipeline.retrieval.embeddings import EMBEDDINGS
from otto_pipeline.retrieval.matrices import MATRICES
from otto_pipeline.retrieval.nearest import (
    CELL_ITEMS,
    NEAREST,
    PROBED,
    SHARPNESS,
    nearest_neighbours,
)
from otto_pipeline.retrieval.sources import NEIGHBOUR_SOURCES
from otto_pipeline.schemas import NEIGHBOURS
from otto_pipeline.settings import Settings
from otto_pipeline.store.arrays import Layout, map_arrays, offsets
from otto_pipeline.store.dataset import Dataset, Figures
from otto_pipeline.store.errors import StoreError
from otto_pipeline.store.parquet import read_pieces
from otto_pipeline.store.stage import Inputs, Stage

CHECKED_ITEMS = 50_000
"""Items that one piece of a check holds."""


class NeighbourTable(NamedTuple):
    """Item x has the neighbours start[x] … start[x+1]−1, in the order of their indices.

    `share` is the neighbour's weight over the sum of the row: rows of frequent and of rare items
    count alike. `rank` is its place in the row by weight, from 1.
    """

    start: NDArray[np.int64]
    neighbour: NDArray[np.int32]
    share: NDArray[np.float32]
    rank: NDArray[np.uint16]


@inner_njit
def share_of(table: NeighbourTable, x: int, y: int) -> float:
    """The share of neighbour y in the row of x; 0 where it is none. Takes log2(k) steps."""
    low, high = table.start[x], table.start[x + 1]
    while low < high:
        middle = (low + high) // 2
        if table.neighbour[middle] < y:
            low = middle + 1
        else:
            high = middle
    if low < table.start[x + 1] and table.neighbour[low] == y:
        return table.share[low]
    return 0.0


def neighbour_table(rows: pl.DataFrame, n_items: int) -> NeighbourTable:
    """The table of the `COVISITATION` rows of a whole matrix, in memory."""
    sorted_rows = _with_shares(rows)
    counts = np.bincount(rows["aid"].to_numpy(), minlength=n_items)
    return NeighbourTable(
        np.concatenate([np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)]),
        *(sorted_rows[name].to_numpy(writable=True) for name in ("neighbour", "share", "rank")),
    )


def open_neighbours(dataset: Dataset) -> tuple[NeighbourTable, ...]:
    """Map the tables of all matrices and embeddings, in the order of `NEIGHBOUR_SOURCES`.

    Raises:
        StoreError: they are of others.
    """
    shards = [receipt.figures for receipt in dataset.manifest.shards]
    made = [figures["source"] for figures in shards]
    if made != list(NEIGHBOUR_SOURCES):
        raise StoreError(
            f"{dataset.folder}: is made of {', '.join(made)}, not of "
            f"{', '.join(NEIGHBOUR_SOURCES)} as OTTO_MATRICES and OTTO_EMBEDDINGS say; "
            "materialize it first"
        )
    return tuple(
        NeighbourTable(*map_arrays(file, _layout(figures["items"], figures["neighbours"])))
        for file, figures in zip(dataset.files, shards, strict=True)
    )


def _layout(items: int, neighbours: int) -> Layout:
    return {
        "start": (np.int64, items + 1),
        "neighbour": (np.int32, neighbours),
        "share": (np.float32, neighbours),
        "rank": (np.uint16, neighbours),
    }


def write_neighbours(inputs: Inputs, shard: int, settings: Settings, path: Path) -> Figures:
    """The table of one matrix or embedding, piece by piece."""
    items, source = inputs["event_log"].figures()["items"], NEIGHBOUR_SOURCES[shard]
    dataset = inputs[source]
    if shard < len(MATRICES):
        rows, pieces = dataset.manifest.rows, _row_groups(dataset)
    else:
        nearest = [*nearest_neighbours(inputs, dataset, settings)]
        rows, pieces = sum(piece.height for piece in nearest), iter(nearest)
    _write_table(path, items, rows, map(_with_shares, pieces))
    return {"source": source, "items": items, "neighbours": rows}


def _write_table(path: Path, items: int, rows: int, pieces: Iterable[pl.DataFrame]) -> None:
    places = offsets(_layout(items, rows))
    counts = np.zeros(items, np.int64)
    with path.open("wb") as file:
        for piece in pieces:
            of_piece = np.bincount(piece["aid"].to_numpy())
            counts[: len(of_piece)] += of_piece
            for name in ("neighbour", "share", "rank"):
                file.seek(places[name])
                places[name] += file.write(piece[name].to_numpy().tobytes())
        file.seek(0)
        file.write(np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)]).tobytes())


def _row_groups(matrix: Dataset) -> Iterator[pl.DataFrame]:
    for file in matrix.files:
        yield from read_pieces(file)


def _with_shares(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows of whole items by item and neighbour, with the share of each."""
    weight = pl.col("weight").cast(pl.Float64)
    share = (weight / weight.sum().over("aid")).cast(pl.Float32)
    return rows.with_columns(share=share).sort("aid", "neighbour")


def frames(dataset: Dataset) -> Iterator[pl.LazyFrame]:
    """The tables as rows, piece by piece, for the check of the contract."""
    for table in open_neighbours(dataset):
        n_items = len(table.start) - 1
        for first in range(0, n_items, CHECKED_ITEMS):
            last = min(first + CHECKED_ITEMS, n_items)
            begin, end = table.start[first], table.start[last]
            counts = np.diff(table.start[first : last + 1])
            yield pl.LazyFrame(
                {
                    "aid": np.repeat(np.arange(first, last, dtype=np.int32), counts),
                    "neighbour": table.neighbour[begin:end],
                    "share": table.share[begin:end],
                    "rank": table.rank[begin:end],
                },
                schema=NEIGHBOURS.empty().schema,
            )


def _one_each(_inputs: Inputs, _settings: Settings) -> int:
    return len(NEIGHBOUR_SOURCES)


NEIGHBOURS_STAGE = Stage(
    write=write_neighbours,
    version=f"4 {NEIGHBOUR_SOURCES} {NEAREST} {SHARPNESS} {CELL_ITEMS} {PROBED}",
    shards=_one_each,
    settings=("seed",) if EMBEDDINGS else (),
    file="source-{shard}.bin",
)
