"""Similarities equal their definition, written out with dictionaries."""

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings

from otto_pipeline.events.event_log import EventLog
from otto_pipeline.features.feature import PARTS
from otto_pipeline.features.similarity import COSINE_MEANINGS, MEANINGS
from otto_pipeline.features.similarity_kernels import (
    AGGREGATES,
    COSINES,
    cosines,
    shares,
)
from otto_pipeline.retrieval.neighbours import NeighbourTable, share_of
from otto_pipeline_tests.logs import N_ITEMS, log_of, random_events
from otto_pipeline_tests.retrieval.test_candidates import candidates_of, tables_of


def weights_of(log: EventLog, session: int) -> dict[int, float]:
    """Weight of each item by recency, the latest item first, in the words of OTTO.md."""
    first, stop = log.session_start[session], log.session_start[session + 1]
    found: dict[int, float] = {}
    for event in reversed(range(first, stop)):
        recency = 1.0 if stop - first == 1 else 0.1 + 0.9 * (event - first) / (stop - first - 1)
        found.setdefault(int(log.aid[event]), 2**recency - 1)
    return found


def reference(log: EventLog, table: NeighbourTable, session: int, y: int) -> dict[str, float]:
    weights = weights_of(log, session)
    latest = next(iter(weights))
    weighted = {x: w * share_of(table, x, y) for x, w in weights.items()}
    return {
        "recent": sum(weighted.values()) / sum(weights.values()),
        "last": share_of(table, latest, y),
        "back": share_of(table, y, latest),
    }


@given(events=random_events())
@settings(max_examples=40)
def test_shares_equal_dictionaries_for_any_number_of_threads(events: pl.DataFrame) -> None:
    log, sessions = log_of(events), events["session"].unique().sort().to_list()
    tables, found = tables_of(log), candidates_of(log, sessions)
    made = shares(log, found, tables, 1)
    assert np.array_equal(made, shares(log, found, tables, 3))
    for row, (session, aid) in enumerate(found.select("session", "aid").iter_rows()):
        for index, table in enumerate(tables):
            expected = reference(log, table, session, aid)
            column = index * len(AGGREGATES)
            for kind in AGGREGATES:
                wanted = math.sqrt(expected[kind]) * PARTS
                assert made[column, row] == pytest.approx(wanted, abs=0.51), kind
                column += 1


@given(events=random_events())
@settings(max_examples=30)
def test_cosines_equal_numpy_for_any_number_of_threads(events: pl.DataFrame) -> None:
    log, sessions = log_of(events), events["session"].unique().sort().to_list()
    found = candidates_of(log, sessions)
    vectors = np.random.default_rng(3).normal(size=(N_ITEMS, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[2] = 0
    made = cosines(log, found, vectors, 1)
    assert np.array_equal(made, cosines(log, found, vectors, 3))
    for row, (session, aid) in enumerate(found.select("session", "aid").iter_rows()):
        recent = weights_of(log, session)
        values = vectors[list(recent)] @ vectors[aid]
        weights = np.array(list(recent.values()))
        expected = {
            "mean": values @ weights / weights.sum(),
            "max": values.max(),
            "last": values[0],
        }
        wanted = [expected[kind] * PARTS for kind in COSINES]
        assert made[:, row] == pytest.approx(wanted, abs=0.6)


def test_every_aggregate_is_described() -> None:
    assert tuple(MEANINGS) == AGGREGATES
    assert tuple(COSINE_MEANINGS) == COSINES
