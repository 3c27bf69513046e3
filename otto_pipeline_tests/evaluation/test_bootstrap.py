import numpy as np
import polars as pl
import pytest

from otto_pipeline.evaluation.bootstrap import gains, intervals


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


def test_interval_of_a_gain_is_paired_by_session() -> None:
    one = rows(*((s, "clicks", s % 2, 1) for s in range(1000)))
    other = rows(*((s, "clicks", s % 2 and s > 100, 1) for s in range(1000)))
    low, high = intervals(gains(one, other.reverse()), seed=1)["clicks"]
    spread = 1.96 * np.sqrt(0.05 * 0.95 / 1000)
    assert low == pytest.approx(0.05 - spread, abs=0.004)
    assert high == pytest.approx(0.05 + spread, abs=0.004)


def test_nothing_is_gained_on_itself() -> None:
    data = rows(*((s, "orders", s % 3, 3) for s in range(50)))
    assert intervals(gains(data, data), seed=1)["total"] == (0, 0)
