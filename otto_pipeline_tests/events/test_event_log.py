import tempfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otto_pipeline.events.errors import LogError
from otto_pipeline.events.event_log import (
    EVENT_LOG_STAGE,
    EventLog,
    event_log_of,
    frames,
    open_event_log,
)
from otto_pipeline.orchestration.checks import table_failures
from otto_pipeline.schemas import EVENT_LOG, EVENTS, ITEMS, LANE_SESSIONS, TYPES
from otto_pipeline.settings import Settings
from otto_pipeline.store.build import build
from otto_pipeline.store.dataset import Dataset
from otto_pipeline_tests.building import dataset_of
from otto_pipeline_tests.logs import N_ITEMS, frame, random_events

YEAR_MS = 31_557_600_000


def event_log_dataset(folder: Path, *shards: pl.DataFrame) -> Dataset:
    """The event log of a lane with the given events; it sees the sessions that have some."""
    events = pl.concat(shards)
    sessions = events.group_by("session", maintain_order=True).agg(
        query=pl.lit(False),
        n_events=pl.len().cast(pl.Int32),
        first_ts=pl.col("ts").min(),
        last_ts=pl.col("ts").max(),
        hash=pl.lit(0, pl.UInt64),
    )
    assert sessions.schema == LANE_SESSIONS.empty().schema
    items = pl.DataFrame(
        [(aid, 100 + aid, 0) for aid in range(N_ITEMS)], ITEMS.empty().schema, orient="row"
    )
    inputs = {
        "events": dataset_of(folder / "events", *shards),
        "sessions": dataset_of(folder / "sessions", sessions),
        "items": dataset_of(folder / "items", items),
    }
    return build(folder, "event_log", EVENT_LOG_STAGE, inputs, Settings(), lambda _: None).dataset


def arrays(log: EventLog) -> list[list[int]]:
    return [array.tolist() for array in (log.session_start, log.aid, log.ts, log.type)]


def slow_arrays(events: pl.DataFrame) -> list[list[int]]:
    rows = events.rows()
    first = min((ts for _, _, ts, _ in rows), default=0)
    last = max((session for session, *_ in rows), default=-1)
    starts = [sum(row[0] < session for row in rows) for session in range(last + 2)]
    return [
        starts,
        [aid for _, aid, _, _ in rows],
        [(ts - first) // 1000 for _, _, ts, _ in rows],
        [TYPES.index(kind) for _, _, _, kind in rows],
    ]


@given(events=random_events(), cuts=st.lists(st.integers(0, 6), max_size=3).map(sorted))
@settings(max_examples=25)
def test_arrays_equal_a_slow_reference_however_events_are_cut(
    events: pl.DataFrame, cuts: list[int]
) -> None:
    shards = [
        events.filter(pl.col("session").is_between(low, high, closed="left"))
        for low, high in zip([0, *cuts], [*cuts, 7], strict=True)
    ]
    with tempfile.TemporaryDirectory() as folder:
        dataset = event_log_dataset(Path(folder), *shards)
        log = open_event_log(dataset)
        assert arrays(log) == slow_arrays(events)
        assert [a.dtype.name for a in (log.session_start, log.aid, log.ts, log.type)] == [
            "int64",
            "int32",
            "int32",
            "uint8",
        ]
        assert log.n_items == N_ITEMS
        assert log.n_events == events.height
        assert log.first_ts == (events["ts"].min() or 0)
        assert log.last_second == max(log.ts, default=0)
        in_memory = event_log_of(
            events, n_sessions=log.n_sessions, n_items=N_ITEMS, first_ts=log.first_ts
        )
        assert arrays(in_memory) == arrays(log)
        assert pl.concat(frames(dataset)).collect().rows() == [
            (session, aid, (ts - log.first_ts) // 1000, TYPES.index(kind))
            for session, aid, ts, kind in events.rows()
        ]


def test_sessions_that_the_lane_does_not_see_are_empty(tmp_path: Path) -> None:
    events = frame((1, 3, 0, "clicks"), (1, 4, 9, "carts"), (4, 5, 2, "orders"))
    log = open_event_log(event_log_dataset(tmp_path, events))
    assert log.session_start.tolist() == [0, 0, 2, 2, 2, 3]
    assert log.n_sessions == 5
    assert log.aid[log.session_start[1] : log.session_start[2]].tolist() == [3, 4]


def test_seconds_count_from_the_first_event_and_are_rounded_down(tmp_path: Path) -> None:
    times = [1_661_724_000_700, 1_661_724_001_699, 1_661_724_001_700]
    events = pl.DataFrame(
        [(0, 0, ts, "clicks") for ts in times], EVENTS.empty().schema, orient="row"
    )
    log = open_event_log(event_log_dataset(tmp_path, events))
    assert log.ts.tolist() == [0, 0, 1]
    assert log.first_ts == times[0]


def test_lane_without_events(tmp_path: Path) -> None:
    dataset = event_log_dataset(tmp_path, EVENTS.empty())
    log = open_event_log(dataset)
    assert arrays(log) == [[0], [], [], []]
    assert (log.n_sessions, log.n_events, log.last_second) == (0, 0, 0)
    assert [table.collect().height for table in frames(dataset)] == [0]


def test_arrays_are_mapped_and_cannot_be_written(tmp_path: Path) -> None:
    log = open_event_log(event_log_dataset(tmp_path, frame((0, 1, 0, "clicks"))))
    for array in (log.session_start, log.aid, log.ts, log.type):
        assert isinstance(array, np.memmap)
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def span(years: float) -> pl.DataFrame:
    rows = [(0, 1, 0, "clicks"), (1, 1, int(years * YEAR_MS), "clicks")]
    return pl.DataFrame(rows, EVENTS.empty().schema, orient="row")


def test_log_of_more_than_68_years_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LogError, match="the log spans 70 years, more than 68: look at the largest"):
        event_log_dataset(tmp_path, span(70))


def test_log_of_68_years_fits(tmp_path: Path) -> None:
    log = open_event_log(event_log_dataset(tmp_path, span(68)))
    assert log.ts.tolist() == [0, 68 * YEAR_MS // 1000]


def test_check_reads_piece_by_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("otto_pipeline.events.event_log.CHECKED_EVENTS", 2)
    events = frame(*((session, session, session, "carts") for session in (0, 0, 0, 2, 3)))
    pieces = [piece.collect() for piece in frames(event_log_dataset(tmp_path, events))]
    assert [piece["session"].to_list() for piece in pieces] == [[0, 0], [0, 2], [3]]
    assert all(table_failures(EVENT_LOG, piece) == [] for piece in pieces)
