"""What may not be recommended is in no list of candidates and takes no place in one."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from otto_pipeline.events.eligibility import Eligibility
from otto_pipeline.events.errors import LogError
from otto_pipeline.events.event_log import EventLog
from otto_pipeline.retrieval.candidates import candidates
from otto_pipeline.retrieval.popularity import popular_items
from otto_pipeline.retrieval.union import sources_of
from otto_pipeline.schemas import POPULARITY
from otto_pipeline_tests.building import dataset_of
from otto_pipeline_tests.logs import N_ITEMS, frame, log_of, random_events
from otto_pipeline_tests.retrieval.test_candidates import (
    NOTHING_POPULAR,
    POPULAR,
    postings_of,
    tables_of,
)

NOBODY = np.zeros(N_ITEMS, np.bool_)


def found_by(
    log: EventLog,
    queries: NDArray[np.int32],
    eligibility: Eligibility,
    max_candidates: int,
    popular: pl.DataFrame = POPULAR,
) -> tuple[pl.DataFrame, int]:
    sources = sources_of(log, tables_of(log), postings_of(log), popular, eligibility)
    found, figures = candidates(sources, queries, max_candidates, 1)
    return found, figures["ineligible_removed"]


def ordered_in(log: EventLog, session: int) -> set[int]:
    events = slice(log.session_start[session], log.session_start[session + 1])
    return set(log.aid[events][log.type[events] == 2].tolist())


@given(
    events=random_events(),
    denied=st.sets(st.integers(0, N_ITEMS - 1), max_size=N_ITEMS - 1),
    exclude_ordered=st.booleans(),
    max_candidates=st.integers(1, N_ITEMS),
)
@settings(max_examples=60)
def test_candidates_are_the_eligible_ones_of_the_whole_union_in_its_order(
    events: pl.DataFrame, denied: set[int], exclude_ordered: bool, max_candidates: int
) -> None:
    log = log_of(events)
    queries = np.unique(events["session"].to_numpy()).astype(np.int32)
    mask = NOBODY.copy()
    mask[list(denied)] = True
    popular = POPULAR.filter(~pl.col("aid").is_in(list(denied)))
    found, removed = found_by(
        log, queries, Eligibility(mask, exclude_ordered), max_candidates, popular
    )
    union, none_removed = found_by(log, queries, Eligibility(NOBODY, False), N_ITEMS, popular)
    assert none_removed == 0
    eligible = 0
    for session in queries.tolist():
        in_union = union.filter(pl.col("session") == session)["aid"].to_list()
        allowed = [aid for aid in in_union if aid not in denied]
        new = [aid for aid in allowed if aid not in ordered_in(log, session)]
        expected = new if exclude_ordered and new else allowed
        eligible += len(expected)
        of_session = found.filter(pl.col("session") == session)["aid"].to_list()
        assert of_session == expected[:max_candidates]
    assert removed == union.height - eligible


def test_session_that_has_ordered_all_there_is_gets_it_again() -> None:
    log = log_of(frame((0, 4, 0, "orders"), (0, 5, 1, "orders")))
    found, removed = found_by(
        log, np.array([0], np.int32), Eligibility(NOBODY, True), 20, NOTHING_POPULAR
    )
    assert set(found["aid"]) == {4, 5}
    assert removed == 0


def popularity_of(folder: Path, *items: tuple[int, int]) -> pl.DataFrame:
    """Popular items where those of (sessions of the week, events) are given, the first denied."""
    rows = [
        {"aid": aid, "sessions_week": week, "carts_week": 0, "events": events}
        for aid, (week, events) in enumerate(items)
    ]
    table = pl.DataFrame(rows, schema=POPULARITY.empty().schema)
    denied = np.zeros(len(items), np.bool_)
    denied[0] = True
    return popular_items(dataset_of(folder / "popularity", table), denied)


def test_popular_items_are_allowed_ones(tmp_path: Path) -> None:
    popular = popularity_of(tmp_path, (9, 9), (1, 9), (3, 3), (0, 5))
    assert popular["aid"].to_list() == [2, 1]


def test_where_no_allowed_item_was_seen_lately_older_ones_fill(tmp_path: Path) -> None:
    assert popularity_of(tmp_path, (9, 9), (0, 4), (0, 0), (0, 7)).rows() == [(3, 7.0), (1, 4.0)]


def test_nothing_allowed_at_all_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(LogError, match=r"denies every item .* allow some items"):
        popularity_of(tmp_path, (9, 9), (0, 0))
