"""Futures of a generated log's sessions, drawn by the generator's own kernels from their true past.

Shapes: E events, S sessions, I items of the catalogue, W weeks, T targets.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from otto_pipeline.events.generator.catalogue import Catalogue
from otto_pipeline.events.generator.shop import (
    CLICK,
    DAY_MS,
    SHOP,
    START_MS,
    Bools,
    Floats,
    Ints,
    Shop,
)
from otto_pipeline.events.generator.visits import Events
from otto_pipeline.events.generator.walk import NOTHING, State, draw_first, draw_intent, walk_on
from otto_pipeline.schemas import TOP_K, TYPES

NOT_PROPOSED = -1
"""In the place of an item, where a session's futures hold fewer than `TOP_K`."""
TARGETS = len(TYPES)


class World(NamedTuple):
    """What the events of a block are drawn from, as the generator's kernels take it.

    start [S + 1]; week, opens, left [E]; intent [S]; topic [I]; topic_start [topics + 1]; weight
    [W, I]; mass [W · I + 1].
    """

    start: Ints
    week: Ints
    opens: Bools
    left: Ints
    intent: Floats
    topic: Ints
    topic_start: Ints
    weight: Floats
    mass: Floats
    shop: Shop


class Past(NamedTuple):
    """Events of a block and, of each session, what its user has in mind at the cut.

    item, kind [E], as `walk` has them; stop [S]: the first event after the cut; basket [S, places]
    and state [S, 3], as `walk_on` has them.
    """

    item: Ints
    kind: NDArray[np.uint8]
    stop: Ints
    basket: Ints
    state: Ints


class Counts(NamedTuple):
    """In how many futures of a session an item is a label: futures [T, I]; 0 before and after.

    latest [T, I]: the latest such future; seen [T, I], of which the first n_seen [T] are its items.
    """

    futures: Ints
    latest: Ints
    seen: Ints
    n_seen: Ints


def drawn_block(
    catalogue: Catalogue, events: Events, stop: Ints, rng: np.random.Generator
) -> tuple[World, Past]:
    """Draw a block as `walk` does, with its generator, and keep what is in mind at the cuts."""
    world = World(
        start=events.start,
        week=(events.ts - START_MS) // (7 * DAY_MS),
        opens=events.opens,
        left=events.left,
        intent=draw_intent(len(stop), rng),
        topic=catalogue.topic,
        topic_start=catalogue.topic_start,
        weight=catalogue.weight,
        mass=catalogue.mass,
        shop=SHOP,
    )
    item, kind, basket, state = _past(world, stop, rng)
    return world, Past(item, kind, stop, basket, state)


@njit(nogil=True)
def _past(
    world: World, stop: Ints, rng: np.random.Generator
) -> tuple[Ints, NDArray[np.uint8], Ints, Ints]:
    sessions, places = len(stop), world.shop.basket
    item, kind = np.empty(len(world.week), np.int64), np.empty(len(world.week), np.uint8)
    baskets, states = np.empty((sessions, places), np.int64), np.empty((sessions, 3), np.int64)
    basket = np.empty(places, np.int64)
    for session in range(sessions):
        first, end = world.start[session], world.start[session + 1]
        draw_first(item, kind, first, world.week, world.mass, len(world.topic), world.shop, rng)
        now = stop[session]
        state = _go_on(world, session, item, kind, basket, NOTHING, first + 1, now, rng)
        baskets[session] = basket
        states[session, 0], states[session, 1], states[session, 2] = state
        _go_on(world, session, item, kind, basket, state, now, end, rng)
    return item, kind, baskets, states


@njit(nogil=True)
def _go_on(
    world: World,
    session: int,
    item: Ints,
    kind: NDArray[np.uint8],
    basket: Ints,
    state: State,
    begun: int,
    end: int,
    rng: np.random.Generator,
) -> State:
    return walk_on(
        *(item, kind, basket, state, world.start[session], begun, end),
        *(world.week, world.opens, world.left, world.intent[session]),
        *(world.topic, world.topic_start, world.weight, world.mass, world.shop, rng),
    )


@njit(nogil=True)
def most_frequent(
    world: World, past: Past, chosen: Ints, is_known: Bools, draws: int, rng: np.random.Generator
) -> Ints:
    """The labels of most of the futures of chosen sessions, [chosen, T, `TOP_K`], best first.

    As many futures are drawn as `draws` says. What `past` holds after the cuts is overwritten.
    """
    n_items = len(is_known)
    counts = Counts(
        np.zeros((TARGETS, n_items), np.int64),
        np.zeros((TARGETS, n_items), np.int64),
        np.empty((TARGETS, n_items), np.int64),
        np.zeros(TARGETS, np.int64),
    )
    best = np.full((len(chosen), TARGETS, TOP_K), NOT_PROPOSED, np.int64)
    basket = np.empty(world.shop.basket, np.int64)
    future = 0
    for place, session in enumerate(chosen):
        now, end = past.stop[session], world.start[session + 1]
        held, paying, revisited = past.state[session]
        for _ in range(draws):
            future += 1
            basket[:] = past.basket[session]
            state = (held, paying == 1, revisited == 1)
            _go_on(world, session, past.item, past.kind, basket, state, now, end, rng)
            _count_labels(past.item[now:end], past.kind[now:end], is_known, future, counts)
        for target in range(TARGETS):
            _take_best(counts, target, best[place, target])
    return best


@njit(nogil=True)
def _count_labels(
    item: Ints, kind: NDArray[np.uint8], is_known: Bools, future: int, counts: Counts
) -> None:
    """Count the labels of a future, which are those of `events/split.py`: of known items the next
    click, and all that is carted and ordered.
    """
    has_click = False
    for event in range(len(item)):
        aid, target = item[event], kind[event]
        if not is_known[aid] or (target == CLICK and has_click):
            continue
        has_click = has_click or target == CLICK
        if counts.latest[target, aid] == future:
            continue
        counts.latest[target, aid] = future
        if counts.futures[target, aid] == 0:
            counts.seen[target, counts.n_seen[target]] = aid
            counts.n_seen[target] += 1
        counts.futures[target, aid] += 1


@njit(nogil=True)
def _take_best(counts: Counts, target: int, best: Ints) -> None:
    """Write the items in most futures, ties by item, and forget the counts."""
    seen = counts.seen[target, : counts.n_seen[target]]
    key = np.empty(len(seen), np.int64)
    for place, aid in enumerate(seen):
        key[place] = -counts.futures[target, aid] * counts.futures.shape[1] + aid
        counts.futures[target, aid] = 0
    first = seen[np.argsort(key)[: len(best)]]
    best[: len(first)] = first
    counts.n_seen[target] = 0
