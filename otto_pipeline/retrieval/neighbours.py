"""A matrix as arrays that kernels look neighbours up in."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from otto_pipeline.store.dataset import Dataset


@dataclass(frozen=True)
class NeighbourTable:
    """Item x has neighbours start[x] … start[x+1]−1, heaviest first.

    `share` is the neighbour's weight over the sum of the row: rows of frequent and of rare items
    count alike.
    """

    start: NDArray[np.int64]
    neighbour: NDArray[np.int32]
    share: NDArray[np.float32]


def open_neighbours(matrix: Dataset, n_items: int) -> NeighbourTable:
    """The neighbours of a co-visitation matrix."""
    weight = pl.col("weight").cast(pl.Float64)  # sums of these are exact, in any order
    rows = matrix.scan().select(
        "aid",
        "neighbour",
        share=(weight / weight.sum().over("aid")).cast(pl.Float32),
    )
    frame = rows.collect()
    counts = np.bincount(frame["aid"].to_numpy(), minlength=n_items)
    return NeighbourTable(
        start=np.concatenate([np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)]),
        neighbour=frame["neighbour"].to_numpy(),
        share=frame["share"].to_numpy(),
    )


def stack(tables: list[NeighbourTable]) -> tuple[NDArray, NDArray, NDArray]:
    """Tables as one set of arrays for a kernel: row m of `start` points into those of table m."""
    offsets = np.cumsum([0, *(len(table.neighbour) for table in tables[:-1])])
    return (
        np.stack([table.start + offset for table, offset in zip(tables, offsets, strict=True)]),
        np.concatenate([table.neighbour for table in tables]),
        np.concatenate([table.share for table in tables]),
    )
