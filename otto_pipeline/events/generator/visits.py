"""When the sessions of a generated log begin, and when their events happen."""

from typing import NamedTuple

import numpy as np

from otto_pipeline.events.generator.shop import (
    DAILY,
    DAY_MS,
    HOURLY,
    SHOP,
    START_MS,
    Bools,
    Floats,
    Ints,
)


class Events(NamedTuple):
    """One entry per event, in the order of sessions, then of time; `start` has one per session.

    session: i64, from 0; start: i64[sessions + 1], where each session begins; ts: i64, ms; opens:
    the first of its visit; left: i64, events of its visit that follow.
    """

    session: Ints
    start: Ints
    ts: Ints
    opens: Bools
    left: Ints


def draw_events(period: range, numbers: range, total: int, rng: np.random.Generator) -> Events:
    """Return the events of the sessions ``numbers`` of the ``total`` that begin in ``period``."""
    starts = _starts(period, numbers, total, rng)
    return _events(*_visits(starts, period, rng), period, rng)


def position(counts: Ints) -> Ints:
    """Return 0, 1, … inside each group of ``counts[i]`` entries."""
    return np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)


def _starts(period: range, numbers: range, total: int, rng: np.random.Generator) -> Floats:
    """Draw when the sessions begin, in ascending days.

    A user's visits are a Poisson process, its rate gamma distributed over users. So first visits
    are Lomax distributed: frequent users come early, and the test week's are rare guests. The i-th
    session lies in the i-th of ``total`` quantiles, so that blocks follow each other in time.
    """
    ends = np.array([period.start, period.stop - 2 / (24 * 60)])  # two minutes are left at least
    not_seen = (1 + ends / SHOP.visit_days) ** -SHOP.visit_shape
    quantile = (np.array(numbers) + rng.random(len(numbers))) / total
    not_seen_yet = not_seen[0] + (not_seen[1] - not_seen[0]) * quantile
    return (not_seen_yet ** (-1 / SHOP.visit_shape) - 1) * SHOP.visit_days


def _visits(starts: Floats, period: range, rng: np.random.Generator) -> tuple[Ints, Ints, Ints]:
    """Add the later visits, and return the session, the start and the length of each visit."""
    # given the first, the rate of the others is again gamma distributed
    rate = rng.gamma(SHOP.visit_shape + 1, 1 / (SHOP.visit_days + starts))
    counts = 1 + rng.poisson(rate * (period.stop - starts))
    session = np.repeat(np.arange(len(starts)), counts)
    is_first = position(counts) == 0
    day = starts[session] + rng.random(len(session)) * (period.stop - starts[session])
    day[is_first] = starts
    day = day[np.lexsort((day, session))]
    log_length = rng.normal(SHOP.visit_log_events_mean, SHOP.visit_log_events_sd, len(session))
    log_length += rng.normal(0, SHOP.user_log_events_sd, len(starts))[session]
    length = 1 + np.exp(log_length).astype(np.int64)
    return session, _clock_ms(day), np.clip(length, 1 + is_first, SHOP.max_events)


def _clock_ms(day: Floats) -> Ints:
    """Map days of even activity to the clock, which gives the rhythm of the day and the week."""
    activity = np.concatenate([[0], np.cumsum(np.outer(DAILY, HOURLY))])
    week, in_week = np.divmod(day, 7)
    clock = np.interp(in_week, 7 * activity / activity[-1], np.arange(len(activity)) / 24)
    return START_MS + ((week * 7 + clock) * DAY_MS).astype(np.int64)


def _events(
    session: Ints, start_ms: Ints, length: Ints, period: range, rng: np.random.Generator
) -> Events:
    """Lay out the events of all visits in time and drop what lies past the period's end."""
    visit, of_visit = np.repeat(np.arange(len(length)), length), position(length)
    gaps = np.exp(rng.normal(SHOP.gap_log_ms_mean, SHOP.gap_log_ms_sd, len(visit)))
    passed = np.cumsum(gaps)
    ts = start_ms[visit] + (passed - passed[of_visit == 0][visit]).astype(np.int64)
    session = session[visit]
    end_ms = START_MS + period.stop * DAY_MS
    step = position(np.bincount(session))
    # a session has two events even if it begins at the very end
    ts[step == 1] = np.minimum(ts[step == 1], end_ms - 1)
    # visits may overlap: a session's times are put in order, and its visits stay whole
    ts = np.sort((session << 42) + ts) & (2**42 - 1)
    keep = (ts < end_ms) & (step < SHOP.max_events)
    session = session[keep]
    return Events(
        session=session,
        start=np.concatenate([[0], np.cumsum(np.bincount(session))]),
        ts=ts[keep],
        opens=(of_visit == 0)[keep],
        left=(length[visit] - of_visit)[keep] - 1,
    )
