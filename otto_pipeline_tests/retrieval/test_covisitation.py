import re
from collections.abc import Sequence
from dataclasses import fields, replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from polars.testing import assert_frame_equal

from otto_pipeline.events.event_log import EventLog
from otto_pipeline.retrieval.covisitation import neighbours
from otto_pipeline.retrieval.matrices import CATALOGUE
from otto_pipeline.retrieval.matrix import DAY, HOUR, MOST_EVENTS, NO_LIMIT, ORDERS, Decay, Matrix
from otto_pipeline_tests.logs import N_ITEMS, frame, log_of
from otto_pipeline_tests.retrieval.drawing import logs, matrices, random_log, rows
from otto_pipeline_tests.retrieval.reference import reference

Log = tuple[EventLog, NDArray[np.bool_]]

SHIPPED = {matrix.name: matrix for matrix in CATALOGUE}
TIME, CART_ORDER, BUY2BUY = SHIPPED["time"], SHIPPED["cart_order"], SHIPPED["buy2buy"]
PLAIN = Matrix("plain", "test")
BASE = replace(PLAIN, by_time=Decay("halves", HOUR), distances=(1, 4))
CHANGES = (
    ("source_types", (ORDERS,)),
    ("type_weights", (1, 6, 3)),
    ("forward", True),
    ("last", 3),
    ("runs", True),
    ("distances", (2, 4)),
    ("distances", (1, 2)),
    ("max_seconds", HOUR),
    ("last_days", 3),
    ("queries_only", True),
    ("session_events", (10, NO_LIMIT)),
    ("session_events", (1, 9)),
    ("recency_gain", 3),
    ("by_time", Decay("log", 2)),
    ("by_distance", Decay("reciprocal")),
    ("by_length", Decay("log2")),
    ("backward", 0.6),
    ("occurrences", "max"),
    ("occurrences", "once"),
    ("occurrences", "once_per_type"),
    ("self_pairs", True),
    ("normalisation", "row"),
    ("normalisation", "cosine"),
    ("normalisation", "log_cosine"),
    ("top_k", 3),
)


def of_one(log: EventLog, matrix: Matrix, item: int) -> dict[int, float]:
    """The weights of the neighbours of an item, heaviest first."""
    found = rows(log, np.ones(log.n_sessions, np.bool_), [matrix], (item, item + 1))[matrix.name]
    return dict(zip(found["neighbour"], found["weight"], strict=True))


@given(drawn=logs(), matrix=matrices())
@settings(max_examples=200)
def test_kernel_does_what_the_fields_of_a_matrix_say(drawn: Log, matrix: Matrix) -> None:
    found = rows(*drawn, [matrix])[matrix.name]
    assert_frame_equal(found, reference(*drawn, matrix), check_exact=True)


@given(drawn=logs())
@settings(max_examples=10)
def test_shipped_matrices_are_what_they_say(drawn: Log) -> None:
    found = rows(*drawn, CATALOGUE, threads=2)
    for matrix in CATALOGUE:
        assert_frame_equal(found[matrix.name], reference(*drawn, matrix), check_exact=True)


@given(drawn=logs(), together=st.tuples(matrices("a"), matrices("b"), matrices("c")))
@settings(max_examples=40)
def test_matrices_of_one_pass_do_not_see_each_other(
    drawn: Log, together: tuple[Matrix, ...]
) -> None:
    walk = together[0]
    sharing = [replace(matrix, last=walk.last, runs=walk.runs) for matrix in together]
    found = rows(*drawn, sharing)
    for matrix in sharing:
        assert_frame_equal(found[matrix.name], rows(*drawn, [matrix])[matrix.name])


@given(
    drawn=logs(), matrix=matrices(), cut=st.integers(0, N_ITEMS), threads=st.sampled_from([2, 3])
)
@settings(max_examples=40)
def test_ranges_of_items_and_threads_leave_no_trace(
    drawn: Log, matrix: Matrix, cut: int, threads: int
) -> None:
    parts = [
        rows(*drawn, [matrix], items, threads)[matrix.name] for items in ((0, cut), (cut, N_ITEMS))
    ]
    assert_frame_equal(pl.concat(parts), rows(*drawn, [matrix])[matrix.name], check_exact=True)


def test_shipped_matrices_of_a_larger_log_are_what_they_say() -> None:
    log = random_log(n_items=100, sessions=150)
    found = rows(*log, CATALOGUE, items=(0, 100), threads=2)
    for matrix in CATALOGUE:
        assert_frame_equal(found[matrix.name], reference(*log, matrix), check_exact=True)


@pytest.mark.parametrize(("field", "value"), CHANGES)
def test_every_field_changes_the_result(field: str, value: object) -> None:
    log = random_log(N_ITEMS)
    changed = replace(BASE, **{field: value})
    before, after = (rows(*log, [matrix])["plain"] for matrix in (BASE, changed))
    assert not after.equals(before)
    assert_frame_equal(after, reference(*log, changed), check_exact=True)


def test_no_field_is_left_out_of_the_test_before() -> None:
    assert {field for field, _ in CHANGES} == {
        field.name for field in fields(Matrix) if field.name not in ("name", "source")
    }


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "a/b"},
        {"name": "aid"},
        {"source_types": ()},
        {"source_types": (3,)},
        {"type_weights": (0, 0, 0)},
        {"type_weights": (-1, 1, 1)},
        {"type_weights": (1, 1, 1e15)},
        {"last": 0},
        {"last": 5000},
        {"distances": (0, 3)},
        {"distances": (3, 2)},
        {"max_seconds": 0},
        {"last_days": -1},
        {"session_events": (5, 1)},
        {"recency_gain": -5},
        {"backward": -1},
        {"backward": 2},
        {"occurrences": "twice"},
        {"normalisation": "column"},
        {"top_k": 0},
        {"top_k": 70_000},
    ],
    ids=str,
)
def test_matrix_refuses_what_makes_no_sense(wrong: dict[str, object]) -> None:
    (field, value) = next(iter(wrong.items()))
    named = wrong.get("name", "plain")
    said = re.escape(f"matrix {named!r}: {field}={value!r} must be ")
    with pytest.raises(ValueError, match=said):
        replace(PLAIN, **wrong)


@pytest.mark.parametrize(
    ("kind", "by"),
    [("log", 1), ("log2", 0), ("geometric", 0), ("geometric", 2), ("halves", -1), ("linear", 1)],
)
def test_decay_refuses_what_makes_no_sense(kind: str, by: float) -> None:
    with pytest.raises(ValueError, match=f"decay '{kind}'"):
        Decay(kind, by)


def test_pair_counts_once_a_session_in_the_time_matrix_and_each_time_in_the_others() -> None:
    log = log_of(
        frame((0, 1, 0, "clicks"), (0, 2, 10, "clicks"), (0, 1, 20, "clicks"), (0, 2, 30, "clicks"))
    )
    assert of_one(log, TIME, 1) == {2: pytest.approx(1 + 3 * 20 / 30)}  # by x's latest occurrence
    assert of_one(log, CART_ORDER, 1) == {2: 4}


def test_pairs_a_day_apart_are_not_counted() -> None:
    for gap, counted in ((DAY - 1, 1), (DAY, 0)):
        log = log_of(frame((0, 1, 0, "clicks"), (0, 2, gap, "clicks")))
        assert len(of_one(log, TIME, 1)) == counted


def test_carts_weigh_six_and_orders_three_as_target() -> None:
    log = log_of(frame((0, 1, 0, "clicks"), (0, 2, 1, "carts"), (0, 3, 2, "orders")))
    assert list(of_one(log, CART_ORDER, 1).items()) == [(2, 6.0), (3, 3.0)]


def test_buy2buy_knows_no_clicks_and_two_weeks() -> None:
    log = log_of(
        frame(
            (0, 1, 0, "carts"),
            (0, 2, 13 * DAY, "orders"),
            (0, 3, 13 * DAY, "clicks"),
            (0, 4, 14 * DAY, "orders"),
        )
    )
    assert of_one(log, BUY2BUY, 1) == {2: 1}


def test_ties_go_to_the_smaller_item() -> None:
    log = log_of(frame((0, 5, 0, "clicks"), (0, 7, 0, "clicks"), (0, 3, 0, "clicks")))
    assert list(of_one(log, TIME, 5)) == [3, 7]


def test_positions_count_by_event_or_by_run_of_one_item() -> None:
    log = log_of(frame(*((0, item, 0, "clicks") for item in (1, 2, 2, 3))))
    near = replace(PLAIN, distances=(1, 2))
    assert list(of_one(log, near, 1)) == [2]
    assert list(of_one(log, replace(near, runs=True), 1)) == [2, 3]


def test_repeats_of_an_item_are_its_own_neighbours_where_they_are_kept() -> None:
    log = log_of(frame((0, 1, 0, "clicks"), (0, 1, 1, "clicks"), (0, 2, 2, "orders")))
    forward = replace(PLAIN, forward=True, self_pairs=True)
    assert of_one(log, forward, 1) == {2: 2, 1: 1}


def test_of_a_bot_only_the_latest_events_count() -> None:
    items = [0] * 905 + [1, 2] * 2_500
    log = log_of(frame(*((0, item, second, "clicks") for second, item in enumerate(items))))
    adjacent = replace(PLAIN, last=MOST_EVENTS, distances=(1, 1))
    assert of_one(log, adjacent, 0) == {}
    assert of_one(log, adjacent, 1) == {2: MOST_EVENTS - 1}
    assert of_one(log, replace(adjacent, last=10), 1) == {2: 9}
    assert of_one(log, replace(adjacent, by_length=Decay("reciprocal")), 1) == {
        2: pytest.approx((MOST_EVENTS - 1) / MOST_EVENTS, rel=1e-3)  # no session is longer
    }


def test_of_a_bot_that_stays_on_one_item_only_the_latest_events_count() -> None:
    items = [1] + [2] * 5_000 + [3]
    log = log_of(frame(*((0, item, second, "clicks") for second, item in enumerate(items))))
    runs = replace(PLAIN, runs=True)
    assert of_one(log, runs, 1) == {}
    assert of_one(log, runs, 3) == {2: MOST_EVENTS - 1}


@pytest.mark.parametrize("shipped", [CATALOGUE, [BUY2BUY]])
def test_log_without_events_has_no_neighbours(shipped: Sequence[Matrix]) -> None:
    found = rows(log_of(frame()), np.zeros(0, np.bool_), shipped, threads=2)
    assert [rows.height for rows in found.values()] == [0] * len(shipped)


@given(drawn=logs(), drawn_matrix=matrices(), threads=st.integers(2, 3))
@settings(max_examples=10)
def test_blocks_are_the_same_for_any_number_of_threads(
    drawn: Log, drawn_matrix: Matrix, threads: int
) -> None:
    one, several = (
        [frame for _, frame in neighbours(*drawn, [drawn_matrix], 0, N_ITEMS, n)]
        for n in (1, threads)
    )
    assert len(one) == len(several)
    assert all(a.equals(b) for a, b in zip(one, several, strict=True))
