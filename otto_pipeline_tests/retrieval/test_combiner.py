from dataclasses import replace
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from polars.testing import assert_frame_equal

from otto_pipeline.events.event_log import EventLog
from otto_pipeline.retrieval.combiner import combined, partial_sums
from otto_pipeline.retrieval.matrix import Matrix
from otto_pipeline.schemas import COVISITATION
from otto_pipeline_tests.logs import frame, log_of
from otto_pipeline_tests.retrieval.drawing import logs, matrices, random_log, rows

Log = tuple[EventLog, NDArray[np.bool_]]


def of_ranges(
    log: EventLog,
    queries: NDArray[np.bool_],
    members: list[Matrix],
    cuts: list[int],
    threads: int = 1,
) -> dict[str, pl.DataFrame]:
    """The rows of matrices of one walk, made by ranges of sessions that end at the cuts."""
    bounds = [0, *sorted(min(cut, log.n_sessions) for cut in cuts), log.n_sessions]
    parts = [
        partial_sums(log, queries, members, range(first, last), log.last_second, threads)
        for first, last in pairwise(bounds)
    ]
    return dict(combined(parts))


@given(
    drawn=logs(),
    drawn_matrices=st.tuples(matrices("a"), matrices("b")),
    cuts=st.lists(st.integers(0, 6), max_size=3),
    threads=st.integers(1, 3),
)
@settings(max_examples=40)
def test_sums_of_ranges_of_sessions_give_the_same_rows(
    drawn: Log, drawn_matrices: tuple[Matrix, Matrix], cuts: list[int], threads: int
) -> None:
    first = drawn_matrices[0]
    shared = {
        field: getattr(first, field) for field in ("source_types", "type_weights", "last", "runs")
    }
    members = [first, replace(drawn_matrices[1], **shared)]
    found = of_ranges(*drawn, members, cuts, threads)
    for name, whole in rows(*drawn, members).items():
        assert_frame_equal(found[name], whole, check_exact=True)


def test_sums_of_a_larger_log_give_the_same_rows() -> None:
    log, queries = random_log(n_items=100, sessions=150)
    members = [Matrix("plain", "test"), Matrix("cosine", "test", normalisation="cosine", top_k=5)]
    found = of_ranges(log, queries, members, [20, 100], threads=2)
    for name, whole in rows(log, queries, members, items=(0, 100)).items():
        assert_frame_equal(found[name], whole, check_exact=True)


def test_log_without_events_has_no_sums() -> None:
    matrix = Matrix("plain", "test")
    found = of_ranges(log_of(frame()), np.zeros(0, np.bool_), [matrix], [])
    assert_frame_equal(found["plain"], COVISITATION.empty())


def test_matrices_of_two_walks_are_refused() -> None:
    log, queries = random_log(8)
    two = [Matrix("one", "test", last=5), Matrix("other", "test", last=6)]
    with pytest.raises(ValueError, match="several walks"):
        partial_sums(log, queries, two, range(2), log.last_second, threads=1)
