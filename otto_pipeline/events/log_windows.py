"""What a validation window of some length leaves to test and learn on, and which one to take.

In goes the sample of a log's `Profile`, out come counts by the very functions that split the log
(`split.py`), scaled up where the sample is not the whole log.
"""

import math
from dataclasses import dataclass, replace

import polars as pl

from otto_pipeline.events.log_profile import Profile
from otto_pipeline.events.split import (
    DAY_MS,
    cut,
    hashed_cuts,
    keep_known,
    labels_of,
    split_moment,
    test_part,
    train_part,
)
from otto_pipeline.folds import MIN_POSITIVE_SESSIONS
from otto_pipeline.schemas import TYPES

WINDOWS_DAYS = (0.02, 0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 7, 14, 28)
"""Lengths that are tried, in days, where they leave at least half of the log to learn from."""
FAIR_SHARE = 0.25
"""Share of a log that a window should rather not exceed (OTTO: 7 of 28 days)."""
GAPS_HOURS = (1, 2, 4, 8, 12, 24)
"""Idle gaps that are tried."""
HOUR_MS = 3_600_000
MANY_CARRIED = 0.8
"""Share of the sessions in a window that began before it from which on a log is one of users."""


@dataclass(frozen=True)
class Window:
    """A window of `days` at the end of a log.

    train_sessions: those left to learn from; sessions: those to test on; labels: of each type;
    labelled: sessions with a label of each type; carried: share of the sessions with an event in
    the window that began before it.
    """

    days: float
    train_sessions: int
    sessions: int
    labels: dict[str, int]
    labelled: dict[str, int]
    carried: float

    @property
    def trainable(self) -> list[str]:
        """Types with enough labelled sessions to train a ranker."""
        return [name for name in TYPES if self.labelled[name] >= MIN_POSITIVE_SESSIONS]


@dataclass(frozen=True)
class Windows:
    """The configured window, the best of all, and, for a log of users, an idle gap in hours with
    the best window that it leaves.
    """

    configured: Window
    best: Window
    gap_hours: float | None = None
    best_with_gap: Window | None = None

    @property
    def keyed_by_users(self) -> bool:
        """Whether nearly all that happens in the best window belongs to earlier sessions."""
        return self.best.carried > MANY_CARRIED


def windows_of(profile: Profile, days: float, seed: int) -> Windows:
    """Try windows on a log; `days` is the configured one."""
    first, last = profile.train.first_ts, profile.train.last_ts
    assert first is not None
    assert last is not None
    span_days = (last - first) / DAY_MS
    lengths = _lengths(span_days, days)
    wanted = min(days, max(FAIR_SHARE * span_days, WINDOWS_DAYS[0]))

    def best(sample: Profile) -> tuple[Window, Window]:
        tried = {length: _window(sample, length, last, seed) for length in lengths}
        return tried[days], max(tried.values(), key=lambda window: _worth(window, wanted))

    found = Windows(*best(profile))
    if not found.keyed_by_users:
        return found
    gap = propose_gap(profile.sample)
    parted = replace(profile, sample=part_at_gaps(profile.sample, gap))
    return replace(found, gap_hours=gap, best_with_gap=best(parted)[1])


def propose_gap(sample: pl.DataFrame) -> float:
    """The idle gap (hours) around which silences within a session are rarest.

    Silences within a visit last minutes, those between visits a day or more; a gap should lie
    where few of either do, counted per doubling of the length.
    """
    silences = _silences(sample)

    def density(hours: float) -> int:
        middle = hours * HOUR_MS
        return int(silences.is_between(middle / math.sqrt(2), middle * math.sqrt(2)).sum())

    return min(GAPS_HOURS, key=density)


def part_at_gaps(sample: pl.DataFrame, hours: float) -> pl.DataFrame:
    """The sample with sessions that end where the next event is more than `hours` later."""
    begins = (pl.col("session") != pl.col("session").shift()) | (
        pl.col("ts") - pl.col("ts").shift() > round(hours * HOUR_MS)
    )
    return sample.with_columns(session=begins.fill_null(True).cum_sum().cast(pl.Int64))


def _silences(sample: pl.DataFrame) -> pl.Series:
    same = pl.col("session") == pl.col("session").shift()
    silence = pl.col("ts") - pl.col("ts").shift()
    return sample.select(pl.when(same).then(silence)).to_series().drop_nulls()


def _lengths(span_days: float, configured: float) -> list[float]:
    usable = [days for days in WINDOWS_DAYS if days <= span_days / 2]
    return sorted({*usable, configured})


def _worth(window: Window, wanted: float) -> tuple[int, bool, float]:
    """More types that can be learnt, then any test session, then nearer to what is wanted."""
    distance = abs(math.log(window.days / wanted))
    return len(window.trainable), window.sessions > 0, -distance


def _window(profile: Profile, days: float, last_ts: int, seed: int) -> Window:
    moment = split_moment(last_ts, days)
    train, begun = train_part(profile.sample, moment), test_part(profile.sample, moment)
    queries = keep_known(begun, pl.col("aid").is_in(_known(profile, train, moment).implode()))
    sessions = queries.select("session", "hash").unique("session", maintain_order=True)
    zero = 0 if profile.item_ids == "integer" else None
    _, future = cut(queries, hashed_cuts(queries, sessions, seed))
    labels = labels_of(future, "aid", zero)
    active = profile.sample.filter(pl.col("ts") > moment)["session"].n_unique()
    carried = active - begun["session"].n_unique()
    return Window(
        days=days,
        train_sessions=_scaled(train["session"].n_unique(), profile.share),
        sessions=_scaled(sessions.height, profile.share),
        labels=_by_type(labels, pl.len(), profile.share),
        labelled=_by_type(labels, pl.col("session").n_unique(), profile.share),
        carried=carried / active if active else 0.0,
    )


def _known(profile: Profile, train: pl.DataFrame, moment: int) -> pl.Series:
    """Items of the train part; where only a sample of it is there, those seen before the split."""
    if profile.share >= 1:
        return train["aid"].unique()
    return profile.items.filter(pl.col("first_seen") < moment)["aid"]


def _by_type(labels: pl.DataFrame, count: pl.Expr, share: float) -> dict[str, int]:
    counted = dict(labels.group_by(pl.col("type").cast(pl.String)).agg(count).iter_rows())
    return {name: _scaled(counted.get(name, 0), share) for name in TYPES}


def _scaled(count: int, share: float) -> int:
    return round(count / share)
