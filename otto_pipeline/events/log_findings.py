"""What is to be said of a log: facts in, one `Finding` per check out, each with its remedy.

`CHECKS` is the list; a check is a function of `Facts`. FAIL is what a rebuild would fail at or
what makes its result worthless, WARN what makes it worse or is likely a mistake.
"""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import polars as pl

from otto_pipeline.events.jsonl import LAST_TS
from otto_pipeline.events.log_profile import Profile
from otto_pipeline.events.log_windows import Window, Windows
from otto_pipeline.events.rebuild_plan import Plan
from otto_pipeline.events.split import DAY_MS
from otto_pipeline.folds import MIN_POSITIVE_SESSIONS
from otto_pipeline.schemas import TOP_K, TYPES
from otto_pipeline.settings import Settings

Status = Literal["PASS", "WARN", "FAIL"]

FIRST_LIKELY_YEAR = 1995
MANY_REPEATED_EVENTS = 0.01
MANY_ONE_EVENT = 0.5
BOT_EVENTS = 500
"""OTTO's longest session: a shorter one is no bot."""
BOT_TIMES = 10
"""A session of more events than this many times those of the 99th of 100 sessions is far out."""
LONELY_SHARE = 0.001
"""Share of the events at the end of a log that lie far after all others: wrong clocks."""
LONELY_DAYS = 2
MANY_UNKNOWN_ITEMS = 0.2
SHOWN_REASONS = 3


@dataclass(frozen=True)
class Finding:
    """The outcome of one check, and what to do where it is not PASS."""

    check: str
    status: Status
    message: str
    remedy: str = ""


@dataclass(frozen=True)
class SetAside:
    """Lines, or rows of a shop's files, that cannot be used: `shown` are the first of them, with
    file, line and reason; `what` is what is counted.
    """

    what: str
    count: int
    total: int
    shown: tuple[str, ...]


@dataclass(frozen=True)
class Facts:
    """All that checks look at."""

    profile: Profile
    set_aside: SetAside
    windows: Windows
    plan: Plan
    settings: Settings


def findings_of(facts: Facts) -> list[Finding]:
    """The finding of each check."""
    return [check(facts) for check in CHECKS]


def _files(facts: Facts) -> Finding:
    damaged = [file.damage for file in facts.profile.files if file.damage]
    if damaged:
        return Finding("files", "FAIL", "; ".join(damaged), "copy or download the file again")
    named = [
        f"{file.path.name}: {file.sessions:,} sessions, {file.events:,} events"
        for file in facts.profile.files
    ]
    return Finding("files", "PASS", "; ".join(named))


def _malformed(facts: Facts) -> Finding:
    found = facts.set_aside
    if not found.count:
        return Finding("bad lines", "PASS", f"none of {found.total:,} {found.what} is malformed")
    share = found.count / max(found.total, 1)
    allowed = facts.settings.max_quarantined_share
    message = (
        f"{found.count:,} of {found.total:,} {found.what} ({share:.2%}) cannot be used, "
        f"{allowed:.2%} are allowed: " + "; ".join(found.shown)
    )
    if share > allowed:
        remedy = "mend them where the log is made, or raise OTTO_MAX_QUARANTINED_SHARE"
        return Finding("bad lines", "FAIL", message, remedy)
    return Finding("bad lines", "WARN", message, "they will be set aside and listed")


def _times(facts: Facts) -> Finding:
    first, last = facts.profile.train.first_ts, facts.profile.train.last_ts
    assert first is not None
    assert last is not None
    message = f"{_date(first)} to {_date(last)} UTC, {(last - first) / DAY_MS:,.2f} days"
    if last < LAST_TS // 1000:
        remedy = "times have to be milliseconds; these look like seconds: multiply them by 1000"
        return Finding("times", "FAIL", message, remedy)
    if first == last:
        remedy = "give each event its own time, or there is no last week to test on"
        return Finding("times", "FAIL", f"every event has the same time: {_date(first)}", remedy)
    if first < _year(FIRST_LIKELY_YEAR):
        remedy = "look for events without a real time (0) and leave them out"
        return Finding("times", "WARN", f"{message}: it begins implausibly early", remedy)
    return Finding("times", "PASS", message)


def _clocks(facts: Facts) -> Finding:
    """Events far after all others would move the split moment to where nothing is."""
    days = sorted(facts.profile.by_day)
    after = 0
    for day, before in zip(reversed(days), reversed(days[:-1]), strict=False):
        after += facts.profile.by_day[day]
        if after > LONELY_SHARE * facts.profile.train.events:
            break
        if day - before > LONELY_DAYS:
            message = f"{after:,} events lie after {_date(day * DAY_MS)}, {day - before} days after"
            remedy = (
                "remove them (wrong clocks): the validation window is taken from the last event"
            )
            return Finding("clocks", "FAIL", f"{message} the last of all others", remedy)
    return Finding("clocks", "PASS", "no events far after all others")


def _types(facts: Facts) -> Finding:
    counts = facts.profile.train.by_type
    message = ", ".join(f"{counts[name]:,} {name}" for name in TYPES)
    missing = [name for name in TYPES if not counts[name]]
    if missing:
        remedy = "check the mapping of types; a type without events cannot be predicted or scored"
        return Finding("types", "WARN", f"{message}: no {' and no '.join(missing)}", remedy)
    if counts["orders"] > counts["clicks"] or counts["carts"] > counts["clicks"]:
        remedy = "check the mapping of types: shops see many more clicks than carts and orders"
        return Finding("types", "WARN", message, remedy)
    return Finding("types", "PASS", message)


def _session_ids(facts: Facts) -> Finding:
    profile, repeated = facts.profile, facts.profile.repeated_ids
    sessions = profile.total("sessions")
    if not repeated:
        message = f"{sessions:,} distinct {profile.session_ids} session ids"
        return Finding("session ids", "PASS", message)
    share = repeated / sessions
    status: Status = "FAIL" if share > facts.settings.max_quarantined_share else "WARN"
    return Finding(
        "session ids",
        status,
        f"{repeated:,} lines ({share:.2%}) repeat the session id of an earlier line",
        "only the first line of an id is used: join the lines of a session, or give each its own "
        "id (in test, another than in train)",
    )


def _item_ids(facts: Facts) -> Finding:
    items, events = facts.profile.items.height, facts.profile.total("events")
    message = f"{items:,} distinct {facts.profile.item_ids} item ids in {events:,} events"
    if items <= TOP_K:
        remedy = f"with {TOP_K} items or fewer every list holds all; is this the items' column?"
        return Finding("item ids", "WARN", message, remedy)
    if items > events * 0.9 and events > 100:
        remedy = "nearly every event has an item of its own; is this the items' column?"
        return Finding("item ids", "WARN", message, remedy)
    return Finding("item ids", "PASS", message)


def _repeated_events(facts: Facts) -> Finding:
    sample = facts.profile.sample
    repeated = sample.height - sample.select("session", "aid", "ts", "type").n_unique()
    share = repeated / max(sample.height, 1)
    message = f"{share:.2%} of the events repeat another of their session exactly{_from(facts)}"
    if share > MANY_REPEATED_EVENTS:
        remedy = "look whether the log writes events twice, and keep one of each"
        return Finding("repeated events", "WARN", message, remedy)
    return Finding("repeated events", "PASS", message)


def _order(facts: Facts) -> Finding:
    unsorted = facts.profile.total("unsorted_sessions")
    if not unsorted:
        return Finding("order", "PASS", "the events of every session are in order of time")
    message = f"{unsorted:,} sessions have events out of order"
    return Finding("order", "WARN", message, "nothing: they are sorted by time, equal times keep")


def _bots(facts: Facts) -> Finding:
    lengths = facts.profile.by_length
    limit = max(BOT_EVENTS, BOT_TIMES * _quantile(lengths, 0.99))
    bots = {length: count for length, count in lengths.items() if length > limit}
    if not bots:
        return Finding("bots", "PASS", f"the longest session has {max(lengths):,} events")
    share = sum(n * count for n, count in bots.items()) / facts.profile.train.events
    named = [f"{name} ({n:,})" for name, n in facts.profile.longest.iter_rows() if n > limit]
    message = (
        f"{sum(bots.values()):,} sessions of more than {limit:,} events hold {share:.1%} of all: "
        f"{', '.join(named)}"
    )
    return Finding("bots", "WARN", message, "leave out sessions of crawlers and test accounts")


def _one_event(facts: Facts) -> Finding:
    share = facts.profile.by_length[1] / max(facts.profile.train.sessions, 1)
    message = f"{share:.1%} of the sessions have one event only"
    if share > MANY_ONE_EVENT:
        remedy = "they teach and test nothing: look whether the session id changes within a visit"
        return Finding("one-event sessions", "WARN", message, remedy)
    return Finding("one-event sessions", "PASS", message)


def _idle_gap(facts: Facts) -> Finding:
    windows = facts.windows
    message = (
        f"{windows.best.carried:.0%} of the sessions seen in the last {windows.best.days:g} days "
        f"began before them{_from(facts)}"
    )
    if not windows.keyed_by_users or windows.best_with_gap is None:
        return Finding("idle gap", "PASS", message)
    remedy = (
        f"the ids look like users, not sessions: cut them where a silence is longer than "
        f"{windows.gap_hours:g} hours (`idle_gap_hours: {windows.gap_hours:g}` in log.yaml), which "
        f"leaves {_shown(windows.best_with_gap)}"
    )
    return Finding("idle gap", "WARN", message, remedy)


def _window(facts: Facts) -> Finding:
    configured, best = facts.windows.configured, facts.windows.best
    message = f"{_shown(configured)}{_from(facts)}"
    if configured.days == best.days:
        return Finding("validation window", "PASS", message)
    remedy = f"set OTTO_VALIDATION_DAYS={best.days:g}, which leaves {_shown(best)}"
    return Finding("validation window", "WARN", message, remedy)


def _enough(facts: Facts) -> Finding:
    window = facts.windows.best
    missing = [name for name in TYPES if name not in window.trainable]
    counted = ", ".join(f"{window.labelled[name]:,} of {name}" for name in TYPES)
    message = (
        f"sessions with a label in the last {window.days:g} days: {counted}; "
        f"{MIN_POSITIVE_SESSIONS} of a type are needed to train its ranker"
    )
    if not missing:
        return Finding("enough to train", "PASS", message)
    remedy = (
        f"{', '.join(missing)}: will be ordered by a list that needs no labels; a longer log "
        "gives a ranker"
    )
    return Finding("enough to train", "WARN", message, remedy)


def _test_items(facts: Facts) -> Finding:
    items = facts.profile.items
    if len(facts.profile.files) == 1:
        message = "there is no test file: scores, but no submission"
        return Finding("test file", "PASS", message)
    test = facts.profile.files[1]
    unknown = items["first_seen"].null_count() / max(items.height, 1)
    message = f"{test.sessions:,} sessions to predict; {unknown:.1%} of all items are only there"
    if unknown > MANY_UNKNOWN_ITEMS:
        remedy = (
            "items that no train session holds are hardly ever predicted: lengthen the train log"
        )
        return Finding("test file", "WARN", message, remedy)
    return Finding("test file", "PASS", message)


def _machine(facts: Facts) -> Finding:
    plan = facts.plan
    message = (
        f"{plan.threads} threads, {plan.memory_gb:g} GB memory, {plan.disk_gb:,g} GB free disk"
    )
    too_much = [step.scale for step in plan.steps if not plan.fits(step)]
    if not too_much:
        return Finding("machine", "PASS", f"{message}: every scale fits")
    remedy = "take a smaller scale, a larger machine, or a store on a larger disk (OTTO_STORE_DIR)"
    return Finding("machine", "WARN", f"{message}: too little for {', '.join(too_much)}", remedy)


CHECKS: tuple[Callable[[Facts], Finding], ...] = (
    _files,
    _malformed,
    _times,
    _clocks,
    _types,
    _session_ids,
    _item_ids,
    _repeated_events,
    _order,
    _bots,
    _one_event,
    _idle_gap,
    _window,
    _enough,
    _test_items,
    _machine,
)


def _shown(window: Window) -> str:
    labels = ", ".join(f"{window.labels[name]:,} {name}" for name in TYPES)
    return (
        f"{window.days:g} days: {window.train_sessions:,} sessions to learn from, "
        f"{window.sessions:,} to test on, labels: {labels}"
    )


def _from(facts: Facts) -> str:
    share = facts.profile.share
    return "" if share >= 1 else f" (estimated from {share:.2%} of the sessions)"


def _quantile(lengths: dict[int, int], q: float) -> int:
    table = pl.DataFrame({"n": lengths.keys(), "count": lengths.values()}).sort("n")
    reached = pl.col("count").cum_sum() >= q * pl.col("count").sum()
    return int(table.filter(reached)["n"][0])


def _date(ms: int) -> str:
    return f"{dt.datetime(1970, 1, 1) + dt.timedelta(milliseconds=ms):%Y-%m-%d %H:%M}"


def _year(year: int) -> int:
    return round(dt.datetime(year, 1, 1, tzinfo=dt.UTC).timestamp() * 1000)
