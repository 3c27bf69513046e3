"""Small logs for tests: by hand, and random ones for hypothesis."""

import polars as pl
from hypothesis import strategies as st

from otto_pipeline.events.event_log import EventLog, event_log_of
from otto_pipeline.schemas import EVENTS, TYPES

N_ITEMS = 8
HOUR = 3600


def frame(*rows: tuple[int, int, int, str]) -> pl.DataFrame:
    """Events from (session, aid, second, type)."""
    return pl.DataFrame(
        [(session, aid, second * 1000, kind) for session, aid, second, kind in rows],
        schema=EVENTS.empty().schema,
        orient="row",
    )


def log_of(events: pl.DataFrame, n_items: int = N_ITEMS, first_second: int = 0) -> EventLog:
    """The EventLog of a frame of events; second 0 is `first_second`."""
    last = events["session"].max()
    n_sessions = 0 if last is None else int(last) + 1  # type: ignore[arg-type]
    return event_log_of(
        events, n_sessions=n_sessions, n_items=n_items, first_ts=1000 * first_second
    )


@st.composite
def random_events(draw: st.DrawFn, max_sessions: int = 6, max_events: int = 12) -> pl.DataFrame:
    """Events of a few sessions over a few items, with equal times, repeats and long gaps."""
    rows = []
    for session in range(draw(st.integers(1, max_sessions))):
        second = draw(st.integers(0, 20 * 24)) * HOUR
        for _ in range(draw(st.integers(0, max_events))):
            second += draw(st.sampled_from([0, 1, 60, HOUR, 23 * HOUR, 24 * HOUR, 15 * 24 * HOUR]))
            aid = draw(st.integers(0, N_ITEMS - 1))
            rows.append((session, aid, second, draw(st.sampled_from(TYPES))))
    return frame(*rows)
