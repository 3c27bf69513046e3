"""Whether two ways found the same neighbours."""

from dataclasses import dataclass

import polars as pl

TOLERANCE = 2e-6
"""Relative difference of two weights that count as equal: ours are float32 of a sum of weights
rounded to 2**-20."""


@dataclass(frozen=True)
class Agreement:
    """Rows of ours, those with the same neighbour at the same rank, and those that differ.

    Rows whose weights tie within the tolerance may change places, also with those beyond the top.
    """

    rows: int
    same: int
    wrong: int


def agreement(ours: pl.DataFrame, theirs: pl.DataFrame) -> Agreement:
    """Compare the rows of a matrix, its pairs and its ranks."""
    ours, theirs = (_comparable(frame) for frame in (ours, theirs))
    by_rank = ours.join(theirs, on=["aid", "rank"], how="full", suffix="_theirs")
    by_pair = ours.join(theirs, on=["aid", "neighbour"], how="full", suffix="_theirs")
    same = by_rank.filter(pl.col("neighbour") == pl.col("neighbour_theirs")).height
    # a pair that only one side has must tie with the last of its row
    tied = by_pair.with_columns(
        weight=pl.coalesce("weight", "lightest_theirs"),
        weight_theirs=pl.coalesce("weight_theirs", "lightest"),
    )
    return Agreement(ours.height, same, _differing(by_rank) + _differing(tied))


def _comparable(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select(
        pl.col("aid", "neighbour", "rank").cast(pl.Int64),
        pl.col("weight").cast(pl.Float64),
    ).with_columns(lightest=pl.col("weight").min().over("aid"))


def _differing(joined: pl.DataFrame) -> int:
    weight, theirs = pl.col("weight"), pl.col("weight_theirs")
    is_equal = (weight - theirs).abs() <= TOLERANCE * theirs
    return joined.filter(~is_equal.fill_null(False)).height
