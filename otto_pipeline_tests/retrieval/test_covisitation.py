from dataclasses import replace

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otto_pipeline.events.event_log import EventLog
from otto_pipeline.retrieval.covisitation import ONE, RECENCY_GAIN, neighbours
from otto_pipeline.retrieval.matrices import MATRICES, Matrix
from otto_pipeline_tests.logs import HOUR, N_ITEMS, frame, log_of, random_events

TIME, CART_ORDER, BUY2BUY = MATRICES


def reference(events: pl.DataFrame, log: EventLog, matrix: Matrix) -> pl.DataFrame:
    """The matrix by a self-join, in the words of its declaration."""
    kept = (
        events.with_columns(second=pl.col("ts") // 1000, code=pl.col("type").to_physical())
        .filter(pl.col("code").is_in(matrix.types))
        .with_columns(place=pl.int_range(pl.len()).over("session"))
        .filter(pl.col("place") + matrix.last_events >= pl.len().over("session"))
    )
    gain = RECENCY_GAIN * ONE / max(log.last_second, 1) if matrix.by_recency else 0.0
    weights = dict(enumerate(matrix.type_weights))
    pairs = (
        kept.join(kept, on="session", suffix="_y")
        .filter(pl.col("aid") != pl.col("aid_y"))
        .filter((pl.col("second") - pl.col("second_y")).abs() < matrix.max_seconds)
        .with_columns(
            weight=pl.col("second").map_elements(
                lambda second: ONE + round(gain * second), return_dtype=pl.Int64
            )
            * pl.col("code_y").cast(pl.Int64).replace_strict(weights, return_dtype=pl.Int64)
        )
    )
    if matrix.once:
        pairs = pairs.group_by("session", "aid", "aid_y").agg(pl.col("weight").max())
    return (
        pairs.group_by("aid", neighbour="aid_y")
        .agg(pl.col("weight").sum())
        .sort(["aid", "weight", "neighbour"], descending=[False, True, False])
        .with_columns(rank=1 + pl.int_range(pl.len()).over("aid"))
        .filter(pl.col("rank") <= matrix.top_k)
        .select(
            "aid",
            "neighbour",
            weight=(pl.col("weight") / ONE).cast(pl.Float32),
            rank=pl.col("rank").cast(pl.UInt16),
        )
    )


@pytest.mark.parametrize("matrix", MATRICES, ids=lambda matrix: matrix.name)
@given(events=random_events(), last_events=st.integers(1, 12), top_k=st.integers(1, 8))
@settings(max_examples=60, deadline=None)
def test_kernel_equals_the_self_join(
    matrix: Matrix, events: pl.DataFrame, last_events: int, top_k: int
) -> None:
    matrix = replace(matrix, last_events=last_events, top_k=top_k)
    log = log_of(events)
    assert neighbours(log, matrix, 0, N_ITEMS, threads=1).equals(reference(events, log, matrix))


@given(events=random_events(), cut=st.integers(0, N_ITEMS), threads=st.integers(1, 3))
@settings(max_examples=30, deadline=None)
def test_ranges_of_items_and_threads_leave_no_trace(
    events: pl.DataFrame, cut: int, threads: int
) -> None:
    log = log_of(events)
    whole = neighbours(log, CART_ORDER, 0, N_ITEMS, threads=1)
    parts = [neighbours(log, CART_ORDER, *r, threads) for r in ((0, cut), (cut, N_ITEMS))]
    assert pl.concat(parts).equals(whole)


def test_pair_counts_once_a_session_in_the_time_matrix_and_each_time_in_the_others() -> None:
    events = frame(
        (0, 1, 0, "clicks"), (0, 2, 10, "clicks"), (0, 1, 20, "clicks"), (0, 2, 30, "clicks")
    )
    log = log_of(events)
    once = neighbours(log, TIME, 1, 2, 1)["weight"].item()
    each = neighbours(log, CART_ORDER, 1, 2, 1)["weight"].item()
    assert once == pytest.approx(1 + 3 * 20 / 30)  # by x's latest occurrence
    assert each == 4


def test_pairs_a_day_apart_are_not_counted() -> None:
    for gap, rows in ((24 * HOUR - 1, 2), (24 * HOUR, 0)):
        log = log_of(frame((0, 1, 0, "clicks"), (0, 2, gap, "clicks")))
        assert neighbours(log, TIME, 0, N_ITEMS, 1).height == rows


def test_carts_weigh_six_and_orders_three_as_target() -> None:
    log = log_of(frame((0, 1, 0, "clicks"), (0, 2, 1, "carts"), (0, 3, 2, "orders")))
    found = neighbours(log, CART_ORDER, 1, 2, 1)
    assert found["neighbour"].to_list() == [2, 3]
    assert found["weight"].to_list() == [6.0, 3.0]


def test_buy2buy_knows_no_clicks_and_two_weeks() -> None:
    log = log_of(
        frame(
            (0, 1, 0, "carts"),
            (0, 2, 13 * 24 * HOUR, "orders"),
            (0, 3, 13 * 24 * HOUR, "clicks"),
            (0, 4, 14 * 24 * HOUR, "orders"),
        )
    )
    assert neighbours(log, BUY2BUY, 1, 2, 1)["neighbour"].to_list() == [2]


def test_ties_go_to_the_smaller_item() -> None:
    log = log_of(frame((0, 5, 0, "clicks"), (0, 7, 0, "clicks"), (0, 3, 0, "clicks")))
    assert neighbours(log, TIME, 5, 6, 1)["neighbour"].to_list() == [3, 7]


def test_log_without_events_has_no_neighbours() -> None:
    assert neighbours(log_of(frame()), TIME, 0, N_ITEMS, 2).height == 0
