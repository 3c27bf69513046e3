"""What the sessions of a generated log click, cart and order.

In a visit the user goes from item to item: back to one seen, to a neighbour on the shelf,
elsewhere in the topic, to a related topic, or anywhere. Some items are carted, some of the carts
ordered before the visit ends.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from otto_pipeline.compute.kernels import inner_njit
from otto_pipeline.events.generator.catalogue import Catalogue
from otto_pipeline.events.generator.shop import (
    CART,
    CLICK,
    DAY_MS,
    ORDER,
    SHOP,
    START_MS,
    Bools,
    Floats,
    Ints,
    Shop,
)
from otto_pipeline.events.generator.visits import Events

RELATED_TOPICS = 3
"""A topic's related ones are this many on either side of it."""

State = tuple[int, bool, bool]
"""How many items of the basket may be ordered, whether the last event was an order, whether the
last click was on an item seen before."""
NOTHING: State = (0, False, False)


def walk(
    catalogue: Catalogue, events: Events, rng: np.random.Generator
) -> tuple[Ints, NDArray[np.uint8]]:
    """Return item (its place in the catalogue) and type of every event."""
    intent = draw_intent(len(events.start) - 1, rng)
    return _walk_all(
        events.start,
        (events.ts - START_MS) // (7 * DAY_MS),
        events.opens,
        events.left,
        intent,
        catalogue.topic,
        catalogue.topic_start,
        catalogue.weight,
        catalogue.mass,
        SHOP,
        rng,
    )


def draw_intent(sessions: int, rng: np.random.Generator) -> Floats:
    """How much each session's user is out to buy, 1 on average; the first that a walk draws."""
    return rng.gamma(SHOP.intent_shape, 1 / SHOP.intent_shape, sessions)


# --- kernels: one session after the other, about 0.2 µs an event ---------------------------------


@njit(cache=True, nogil=True)
def _walk_all(
    start: Ints,
    week: Ints,
    opens: Bools,
    left: Ints,
    intent: Floats,
    topic: Ints,
    topic_start: Ints,
    weight: Floats,
    mass: Floats,
    shop: Shop,
    rng: np.random.Generator,
) -> tuple[Ints, NDArray[np.uint8]]:
    item = np.empty(len(week), np.int64)
    kind = np.empty(len(week), np.uint8)
    basket = np.empty(shop.basket, np.int64)
    for session in range(len(start) - 1):
        first = start[session]
        draw_first(item, kind, first, week, mass, len(topic), shop, rng)
        walk_on(
            *(item, kind, basket, NOTHING, first, first + 1, start[session + 1]),
            *(week, opens, left, intent[session], topic, topic_start, weight, mass, shop, rng),
        )
    return item, kind


@inner_njit
def draw_first(
    item: Ints,
    kind: NDArray[np.uint8],
    first: int,
    week: Ints,
    mass: Floats,
    n_items: int,
    shop: Shop,
    rng: np.random.Generator,
) -> None:
    """Draw a session's first event."""
    item[first] = _pick(mass, week[first], 0, n_items, n_items, rng)
    drawn = rng.random()
    if drawn < shop.first_order:
        kind[first] = ORDER
    else:
        kind[first] = CART if drawn < shop.first_order + shop.first_cart else CLICK


@inner_njit
def walk_on(
    item: Ints,
    kind: NDArray[np.uint8],
    basket: Ints,
    state: State,
    first: int,
    begun: int,
    end: int,
    week: Ints,
    opens: Bools,
    left: Ints,
    intent: float,
    topic: Ints,
    topic_start: Ints,
    weight: Floats,
    mass: Floats,
    shop: Shop,
    rng: np.random.Generator,
) -> State:
    """Draw the events from ``begun`` to ``end`` of the session whose first one is ``first``.

    ``basket`` holds the carted items that may be ordered, and ``state`` what else the user has in
    mind; returned as they are after the last event.
    """
    held, paying, revisited = state
    for now in range(begun, end):
        last = item[now - 1]
        if opens[now] and rng.random() < shop.basket_forgotten:
            held = 0
        paying = held > 0 and _pays(paying, left[now], shop, rng)
        if paying:
            held -= 1
            place = int(rng.random() * (held + 1))
            item[now], basket[place] = basket[place], basket[held]
            kind[now] = ORDER
        elif (
            not opens[now]
            and kind[now - 1] == CLICK
            and rng.random() < intent * _wish(now - first, left[now] == 0, revisited, shop)
        ):
            held = min(held + 1, shop.basket)
            basket[held - 1] = last
            item[now], kind[now] = last, CART
        else:
            kind[now] = CLICK
            revisited = rng.random() < (shop.return_revisit if opens[now] else shop.revisit)
            if revisited:
                ago = int((now - first) * rng.random() ** shop.revisit_recency)
                item[now] = item[now - 1 - ago]
            elif not opens[now] and rng.random() < shop.next_on_shelf:
                item[now] = _neighbour(last, week[now], topic[last], topic_start, weight, shop, rng)
            else:
                item[now] = _other(last, week[now], topic, topic_start, mass, shop, rng)
    return held, paying, revisited


@njit(cache=True, nogil=True)
def _pays(paying: bool, left: int, shop: Shop, rng: np.random.Generator) -> bool:
    """Tell whether the next event is an order: decided at a visit's end, then one after another."""
    if paying and rng.random() < shop.order_next:
        return True
    return left < shop.checkout_events and rng.random() < shop.checkout


@njit(cache=True, nogil=True)
def _wish(step: int, leaves: bool, revisited: bool, shop: Shop) -> float:
    """Chance to cart the item just clicked: later more than sooner, seldom at the visit's end."""
    wish = shop.cart_revisited if revisited else shop.cart_new
    wish *= step / (step + shop.cart_patience)
    return wish * shop.cart_leaving if leaves else wish


@njit(cache=True, nogil=True)
def _neighbour(
    item: int,
    week: int,
    topic: int,
    topic_start: Ints,
    weight: Floats,
    shop: Shop,
    rng: np.random.Generator,
) -> int:
    """Take the one or the other of two items near ``item`` on its shelf, by popularity."""
    begin, end = topic_start[topic], topic_start[topic + 1]
    one = begin + (item - begin + _away(shop, rng)) % (end - begin)
    other = begin + (item - begin + _away(shop, rng)) % (end - begin)
    if rng.random() * (weight[week, one] + weight[week, other]) < weight[week, other]:
        return other
    return one if weight[week, one] > 0 else item


@njit(cache=True, nogil=True)
def _away(shop: Shop, rng: np.random.Generator) -> int:
    """Draw a number of places, geometrically distributed, to the left or right."""
    places = 1 + int(np.log(1 - rng.random()) / np.log(1 - shop.shelf_reach))
    return places if rng.random() < 0.5 else -places


@njit(cache=True, nogil=True)
def _other(
    item: int,
    week: int,
    topic: Ints,
    topic_start: Ints,
    mass: Floats,
    shop: Shop,
    rng: np.random.Generator,
) -> int:
    """Pick by popularity: in the topic of ``item``, in a related one, or in the whole shop."""
    chosen = topic[item]
    if rng.random() >= shop.next_in_topic:
        if rng.random() >= shop.next_in_related_topic:
            return _pick(mass, week, 0, len(topic), len(topic), rng)
        away = 1 + int(rng.random() * RELATED_TOPICS)
        away = away if rng.random() < 0.5 else -away
        chosen = (chosen + away) % (len(topic_start) - 1)
    return _pick(mass, week, topic_start[chosen], topic_start[chosen + 1], len(topic), rng)


@njit(cache=True, nogil=True)
def _pick(
    mass: Floats, week: int, begin: int, end: int, n_items: int, rng: np.random.Generator
) -> int:
    """Draw one of the items from ``begin`` to ``end`` by the week's popularity."""
    base = week * n_items
    low, high = mass[base + begin], mass[base + end]
    drawn = low + (high - low) * rng.random()
    found = np.searchsorted(mass[base + begin : base + end + 1], drawn, side="right") - 1
    return begin + min(max(found, 0), end - begin - 1)
