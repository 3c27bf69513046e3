"""A seeded synthetic shop log in OTTO's file format, calibrated to OTTO's published statistics.

In goes a size and a seed, out come ``train.jsonl`` (28 days), ``test.jsonl`` (the sessions of the
next 7 days, each cut at a random event) and ``test_labels.jsonl`` (what followed the cut). The
statistics are those of https://github.com/otto-de/recsys-dataset and of public contest solutions.
A session is all visits of one user. In a visit the user goes from item to item: back to one seen,
to a neighbour on the shelf, elsewhere in the topic, to a related topic, or anywhere. Some items
are carted, some of the carts ordered before the visit ends.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from otto_pipeline.events.jsonl_writer import label_lines, session_lines
from otto_pipeline.schemas import EVENT_TYPE, TYPES
from otto_pipeline.store.files import atomic

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

START_MS = 1_659_304_800_000
"""2022-07-31 22:00:00 UTC, midnight of a Monday in the shop's time zone (UTC+2)."""
DAY_MS = 86_400_000
WEEKS = 5
CLICK, CART, ORDER = 0, 1, 2
BLOCK_SESSIONS = 32_768
"""Sessions made at once, about 0.6 M events; another number gives another log."""
HOURLY = (
    *(0.35, 0.18, 0.10, 0.07, 0.08, 0.18, 0.42, 0.68, 0.88, 1.02, 1.10, 1.12),
    *(1.12, 1.14, 1.14, 1.15, 1.18, 1.25, 1.38, 1.62, 1.88, 1.95, 1.50, 0.85),
)
"""Activity per local hour: low at night, highest in the evening."""
DAILY = (1.00, 0.98, 0.97, 0.97, 0.93, 0.95, 1.20)
"""Activity per weekday, Monday first."""
TRAIN, TEST = range(0, 28), range(28, 35)
"""The periods in days since the start; the sessions of each begin and end inside it."""


@dataclass(frozen=True)
class Shop:
    """The shop's parameters, each group with the statistics that it is calibrated to."""

    # visits per user, rates gamma distributed: share of train's sessions that begin in its last
    # week (.14), mean events per session (train 16.8, test 8.3)
    visit_shape: float = 0.5
    visit_days: float = 15.0
    # events per visit, log-normal over visits and over users: events per session
    # (50/75/90/95 %: train 6/15/39/68, test 4/8/18/28)
    visit_log_events: tuple[float, float] = (0.99, 0.72)  # mean, standard deviation
    user_log_events_sd: float = 1.16
    max_events: int = 500
    # milliseconds between the events of a visit, log-normal: pages are left soon, with some pauses
    gap_log_ms: tuple[float, float] = (10.6, 1.3)
    # item popularity, log-normal, and its drift per week: events per item relative to their mean
    # (50/75/90/95 %: .17/.48/1.57/3.41); share of items that are new after the first week
    popularity_log_sd: float = 1.9
    drift_log_sd: float = 0.15
    new_items: float = 0.08
    # where a click goes, each a share of what the ones before leave: recall@20 of history for
    # clicks (.32), and what co-visitation adds to it (16-19 %); other values on a later visit
    revisit: float = 0.28
    return_revisit: float = 0.4
    revisit_recency: float = 1.6
    next_on_shelf: float = 0.21
    shelf_reach: float = 0.35
    shelf_disorder: float = 1.0
    next_in_topic: float = 0.45
    next_in_related_topic: float = 0.3
    topic_log_items: tuple[float, float] = (4.8, 0.6)
    # carts, the user's intent gamma distributed: share of events (.078), sessions with carts after
    # the cut (17 %), how many (2.2), recall of history (.31); last events that are carts (.038)
    intent_shape: float = 0.2
    cart_new: float = 0.34
    cart_revisited: float = 0.11
    cart_patience: float = 1.6
    cart_leaving: float = 0.4
    # orders, decided at a visit's last events: share of events (.0235), sessions with orders after
    # the cut (8 %), how many (1.85), recall of history (.60)
    checkout_events: int = 8
    checkout: float = 0.16
    order_next: float = 0.82
    basket: int = 8
    basket_forgotten: float = 0.85
    # a session's first event is a click, a cart, an order (.9957, .0029, .0014)
    first_type: tuple[float, float, float] = (0.9957, 0.0029, 0.0014)


SHOP = Shop()


@dataclass(frozen=True)
class Catalogue:
    """The items, ordered by topic and, inside a topic, by their place on the shelf.

    aid: i64[items], the public id, from 1; topic: i64[items]; topic_start: i64[topics + 1];
    weight: f64[weeks, items], popularity, 0 before an item is born; mass: f64[weeks * items + 1],
    running sum of the weights, each week's scaled to 1, so that week w lies in [w, w + 1].
    """

    aid: Ints
    topic: Ints
    topic_start: Ints
    weight: Floats
    mass: Floats


def generate_log(folder: Path, *, sessions: int, test_sessions: int, items: int, seed: int) -> None:
    """Write ``train.jsonl``, ``test.jsonl`` and ``test_labels.jsonl`` into ``folder``.

    Session ids run from 0 in the order in which sessions begin, train first. Test sessions lose the
    items that no train session has, and are left out where fewer than two events remain: there can
    be fewer than ``test_sessions``. The files appear when all three are complete.
    """
    catalogue = make_catalogue(items, seed)
    known = np.zeros(items + 1, dtype=np.bool_)
    names = ("train.jsonl", "test.jsonl", "test_labels.jsonl")
    with ExitStack() as whole, ExitStack() as opened:
        paths = [whole.enter_context(atomic(folder / name)) for name in names]
        train, test, labels = (opened.enter_context(path.open("wb")) for path in paths)
        for block in _blocks(catalogue, TRAIN, sessions, seed):
            known[block["aid"].to_numpy()] = True
            _write(train, session_lines(block))
        next_session = sessions
        for number, block in enumerate(_blocks(catalogue, TEST, test_sessions, seed)):
            full = _of_known_items(block, known, next_session)
            visible, future = _cut(full, _rng(seed, "cuts", number))
            _write(test, session_lines(visible))
            _write(labels, label_lines(_labels(future)))
            next_session += full["session"].n_unique()


def make_catalogue(items: int, seed: int) -> Catalogue:
    """Return the items of the shop; the same for every block of a log."""
    rng = _rng(seed, "catalogue")
    sizes = rng.lognormal(*SHOP.topic_log_items, items // 8 + 1)
    ends = np.cumsum(np.maximum(sizes.astype(np.int64), 8))
    topic_start = np.concatenate([[0], ends[ends < items], [items]])
    topic = np.searchsorted(topic_start, np.arange(items), side="right") - 1
    log_weight = rng.normal(0, SHOP.popularity_log_sd, items)
    place = log_weight + rng.normal(0, SHOP.shelf_disorder, items)
    log_weight = log_weight[np.lexsort((place, topic))]  # on a shelf, like stands beside like
    week = np.arange(WEEKS)[:, None]
    drift = rng.normal(0, SHOP.drift_log_sd, items) * (week - WEEKS / 2)
    born = np.where(rng.random(items) < SHOP.new_items, rng.integers(1, WEEKS - 1, items), 0)
    weight = np.exp(log_weight + drift) * (week >= born)
    share = np.cumsum(weight, axis=1) / weight.sum(axis=1, keepdims=True)
    mass = np.concatenate([[0.0], (share + week).ravel()])
    return Catalogue(rng.permutation(items) + 1, topic, topic_start, weight, mass)


def generate_sessions(
    catalogue: Catalogue, period: range, numbers: range, total: int, rng: np.random.Generator
) -> pl.DataFrame:
    """Return the sessions ``numbers`` of the ``total`` that begin in ``period``.

    One row per event: session (i64), aid (i64), ts (i64, ms), type (u8: 0 click, 1 cart, 2 order),
    in the order of sessions, which is that of their first events, then of time.
    """
    starts = _starts(period, numbers, total, rng)
    events = _events(*_visits(starts, period, rng), period, rng)
    item, kind = _Walk(catalogue, events, rng).run()
    session, aid = events.session + numbers.start, catalogue.aid[item]
    return pl.DataFrame({"session": session, "aid": aid, "ts": events.ts, "type": kind})


class _Events(NamedTuple):
    """One entry per event, in the order of sessions, then of time."""

    session: Ints
    ts: Ints
    step: Ints  # position in the session
    opens: Bools  # the first of its visit
    left: Ints  # events of its visit that follow


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
    is_first = _position(counts) == 0
    day = starts[session] + rng.random(len(session)) * (period.stop - starts[session])
    day[is_first] = starts
    day = day[np.lexsort((day, session))]
    log_length = rng.normal(*SHOP.visit_log_events, len(session))
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
) -> _Events:
    """Lay out the events of all visits in time and drop what lies past the period's end."""
    visit, position = np.repeat(np.arange(len(length)), length), _position(length)
    passed = np.cumsum(rng.lognormal(*SHOP.gap_log_ms, len(visit)))
    ts = start_ms[visit] + (passed - passed[position == 0][visit]).astype(np.int64)
    session = session[visit]
    end_ms = START_MS + period.stop * DAY_MS
    step = _position(np.bincount(session))
    # a session has two events even if it begins at the very end
    ts[step == 1] = np.minimum(ts[step == 1], end_ms - 1)
    # visits may overlap: a session's times are put in order, and its visits stay whole
    ts = np.sort((session << 42) + ts) & (2**42 - 1)
    keep = (ts < end_ms) & (step < SHOP.max_events)
    left = (length[visit] - position)[keep] - 1
    return _Events(session[keep], ts[keep], step[keep], position[keep] == 0, left)


def _position(counts: Ints) -> Ints:
    """Return 0, 1, … inside each group of ``counts[i]`` entries."""
    return np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)


class _Walk:
    """The sessions of a block while they shop: one step of all sessions at a time.

    The longest session comes first, so that those still going at a step are the first ones, and
    arrays of events (week, opens, left, item, kind) are laid out step after step: event number t
    of a session is entry ``offset[t] + place of the session``.
    """

    def __init__(self, catalogue: Catalogue, events: _Events, rng: np.random.Generator) -> None:
        self.catalogue, self.rng = catalogue, rng
        lengths = np.bincount(events.session)
        place = np.argsort(np.argsort(-lengths, kind="stable"))
        self.offset = np.concatenate([[0], np.cumsum(np.bincount(events.step))])
        self.entry = self.offset[events.step] + place[events.session]
        by_step = np.argsort(self.entry)
        self.week = ((events.ts - START_MS) // (7 * DAY_MS))[by_step]
        self.opens, self.left = events.opens[by_step], events.left[by_step]
        self.item = np.empty(len(by_step), dtype=np.int64)
        self.kind = np.empty(len(by_step), dtype=np.uint8)
        self.intent = rng.gamma(SHOP.intent_shape, 1 / SHOP.intent_shape, len(lengths))
        self.basket = np.empty((len(lengths), SHOP.basket), dtype=np.int64)
        self.held = np.zeros(len(lengths), dtype=np.int64)
        self.paying, self.revisited = np.zeros((2, len(lengths)), dtype=np.bool_)

    def run(self) -> tuple[Ints, NDArray[np.uint8]]:
        """Return item and type of every event, in the order of sessions, then of time."""
        first = slice(0, self.offset[1])
        week = self.week[first]
        self.item[first] = self._pick(week, np.zeros_like(week), len(self.catalogue.aid))
        self.kind[first] = self.rng.choice((CLICK, CART, ORDER), len(week), p=SHOP.first_type)
        for step in range(1, len(self.offset) - 1):
            self._go_on(step)
        return self.item[self.entry], self.kind[self.entry]

    def _go_on(self, step: int) -> None:
        now = slice(self.offset[step], self.offset[step + 1])
        before = slice(self.offset[step - 1], self.offset[step - 1] + now.stop - now.start)
        last = self.item[before]
        week, opens, left = self.week[now], self.opens[now], self.left[now]
        orders = self._orders(opens, left)
        carts = ~orders & ~opens & (self.kind[before] == CLICK) & self._want(step, left)
        self.kind[now] = np.select([orders, carts], [ORDER, CART], CLICK)
        item = self.item[now]
        item[orders] = self._take_out(np.flatnonzero(orders))
        who = np.flatnonzero(carts)
        self.held[who] = np.minimum(self.held[who] + 1, SHOP.basket)
        item[who] = self.basket[who, self.held[who] - 1] = last[who]
        who = np.flatnonzero(~orders & ~carts)
        item[who] = self._click(step, who, last[who], week[who], opens[who])

    def _orders(self, opens: Bools, left: Ints) -> Bools:
        """Tell who orders: at a visit's end it is decided, then one item follows another."""
        held = self.held[: len(left)]
        held[opens & self._chance(len(left), SHOP.basket_forgotten)] = 0
        decides = (left < SHOP.checkout_events) & self._chance(len(left), SHOP.checkout)
        goes_on = self.paying[: len(left)] & self._chance(len(left), SHOP.order_next)
        self.paying[: len(left)] = (decides | goes_on) & (held > 0)
        return self.paying[: len(left)]

    def _want(self, step: int, left: Ints) -> Bools:
        """Tell who would cart the item before them: later more than sooner, seldom at the end."""
        wish = np.where(self.revisited[: len(left)], SHOP.cart_revisited, SHOP.cart_new)
        wish *= self.intent[: len(left)] * step / (step + SHOP.cart_patience)
        return self._chance(len(left), np.where(left == 0, SHOP.cart_leaving * wish, wish))

    def _take_out(self, who: Ints) -> Ints:
        """Take any item of the basket; the one put in last moves to its place."""
        self.held[who] -= 1
        place = self.rng.integers(0, self.held[who] + 1)
        item = self.basket[who, place]
        self.basket[who, place] = self.basket[who, self.held[who]]
        return item

    def _click(self, step: int, who: Ints, last: Ints, week: Ints, opens: Bools) -> Ints:
        item = np.empty_like(last)
        back = self._chance(len(who), np.where(opens, SHOP.return_revisit, SHOP.revisit))
        self.revisited[who] = back
        ago = (step * self.rng.random(back.sum()) ** SHOP.revisit_recency).astype(np.int64)
        item[back] = self.item[self.offset[step - 1 - ago] + who[back]]
        near = ~back & ~opens & self._chance(len(who), SHOP.next_on_shelf)
        far = ~back & ~near
        item[near] = self._neighbour(last[near], week[near])
        item[far] = self._other(last[far], week[far])
        return item

    def _neighbour(self, item: Ints, week: Ints) -> Ints:
        """Take the one or the other of two items near ``item`` on its shelf, by popularity."""
        shop = self.catalogue
        begin, end = shop.topic_start[shop.topic[item]], shop.topic_start[shop.topic[item] + 1]
        away = self.rng.geometric(SHOP.shelf_reach, (2, len(item)))
        away *= self.rng.choice((-1, 1), away.shape)
        one, other = begin + (item - begin + away) % (end - begin)
        weight_one, weight_other = shop.weight[week, one], shop.weight[week, other]
        is_other = self.rng.random(len(item)) * (weight_one + weight_other) < weight_other
        return np.where(is_other, other, np.where(weight_one > 0, one, item))

    def _other(self, item: Ints, week: Ints) -> Ints:
        """Pick by popularity: in the topic of ``item``, in a related one, or in the whole shop."""
        shop = self.catalogue
        stays = self._chance(len(item), SHOP.next_in_topic)
        related = ~stays & self._chance(len(item), SHOP.next_in_related_topic)
        away = self.rng.choice((-3, -2, -1, 1, 2, 3), len(item))
        topic = (shop.topic[item] + related * away) % (len(shop.topic_start) - 1)
        inside = stays | related
        begin = np.where(inside, shop.topic_start[topic], 0)
        return self._pick(week, begin, np.where(inside, shop.topic_start[topic + 1], len(shop.aid)))

    def _pick(self, week: Ints, begin: Ints, end: Ints | int) -> Ints:
        """Draw one of the items from ``begin`` to ``end`` by the week's popularity."""
        mass, base = self.catalogue.mass, week * len(self.catalogue.aid)
        low, high = mass[base + begin], mass[base + end]
        drawn = low + (high - low) * self.rng.random(len(week))
        return np.clip(np.searchsorted(mass, drawn, side="right") - 1 - base, begin, end - 1)

    def _chance(self, count: int, chance: Floats | float) -> Bools:
        return self.rng.random(count) < chance


def _rng(seed: int, purpose: str, block: int = 0) -> np.random.Generator:
    """Return the random numbers of one block, independent of those of all others."""
    return np.random.default_rng([seed, block, *purpose.encode()])


def _blocks(catalogue: Catalogue, period: range, total: int, seed: int) -> Iterator[pl.DataFrame]:
    for number, first in enumerate(range(0, total, BLOCK_SESSIONS)):
        numbers = range(first, min(first + BLOCK_SESSIONS, total))
        rng = _rng(seed, f"day {period.start}", number)
        block = generate_sessions(catalogue, period, numbers, total, rng)
        yield block.with_columns(pl.col("type").cat.to(EVENT_TYPE))


def _of_known_items(events: pl.DataFrame, known: Bools, first_session: int) -> pl.DataFrame:
    """Keep events of known items, then sessions of two events or more, and number these anew."""
    kept = events.filter(known[events["aid"]]).filter(pl.len().over("session") >= 2)
    return kept.with_columns(session=pl.col("session").rle_id().cast(pl.Int64) + first_session)


def _cut(events: pl.DataFrame, rng: np.random.Generator) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Cut each session of n events after one of its first n - 1, and return both parts."""
    counts = np.unique_counts(events["session"].to_numpy()).counts
    visible = _position(counts) < np.repeat(rng.integers(1, counts), counts)
    return events.filter(visible), events.filter(~visible)


def _labels(future: pl.DataFrame) -> pl.DataFrame:
    """Return per session the next click's item, and the distinct items carted and ordered."""
    clicks, carts, orders = (pl.col("aid").filter(pl.col("type") == kind) for kind in TYPES)
    return future.group_by("session", maintain_order=True).agg(
        clicks=clicks.first(), carts=carts.unique().sort(), orders=orders.unique().sort()
    )


def _write(file: IO[bytes], lines: pl.Series) -> None:
    lines.to_frame().write_csv(file, include_header=False, quote_style="never")
