import numpy as np
import polars as pl
import pytest

from otto_pipeline.evaluation.bootstrap import intervals, paired_intervals


def rows(*counts: tuple[int, str, int, int]) -> pl.DataFrame:
    return pl.DataFrame(
        counts,
        schema={"session": pl.Int32, "type": pl.String, "hits": pl.Int64, "labels": pl.Int64},
        orient="row",
    )


def test_interval_of_a_proportion_is_the_one_of_the_textbook() -> None:
    n, share = 2000, 0.3
    found = intervals(rows(*((s, "clicks", int(s < n * share), 1) for s in range(n))), seed=1)
    low, high = found["clicks"]
    spread = 1.96 * np.sqrt(share * (1 - share) / n)
    assert low == pytest.approx(share - spread, abs=0.004)
    assert high == pytest.approx(share + spread, abs=0.004)


def test_type_without_labels_has_no_interval_and_leaves_the_total_to_the_others() -> None:
    found = intervals(rows(*((s, "clicks", s % 2, 1) for s in range(100))), seed=1)
    assert found["orders"] == (None, None)
    assert found["total"] == found["clicks"]


def test_no_session_has_no_interval() -> None:
    assert set(intervals(rows(), seed=1).values()) == {(None, None)}


def test_interval_follows_the_seed() -> None:
    data = rows(*((s, "carts", s % 3, 3) for s in range(50)))
    assert intervals(data, seed=1) == intervals(data.reverse(), seed=1)
    assert intervals(data, seed=1) != intervals(data, seed=2)


def test_interval_of_a_difference_is_paired() -> None:
    n = 2000
    data = rows(*((s, "clicks", s % 2, 1) for s in range(n)))
    # both are right on half of the sessions; the other wins 5 % more of them and loses none
    wins = (pl.col("session") % 40 == 0).cast(pl.Int64)
    paired = data.with_columns(other_hits=pl.col("hits") + wins)
    low, high = paired_intervals(paired, seed=1)["clicks"]
    share = 1 / 40
    spread = 1.96 * np.sqrt(share * (1 - share) / n)
    assert low == pytest.approx(share - spread, abs=0.002)
    assert high == pytest.approx(share + spread, abs=0.002)


def test_difference_of_equal_hits_is_zero() -> None:
    data = rows(*((s, "orders", s % 2, 1) for s in range(100)))
    found = paired_intervals(data.with_columns(other_hits="hits"), seed=1)
    assert found["orders"] == found["total"] == (0, 0)
    assert found["clicks"] == (None, None)
