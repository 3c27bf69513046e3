"""What the sessions of a generated log click, cart and order.

In a visit the user goes from item to item: back to one seen, to a neighbour on the shelf,
elsewhere in the topic, to a related topic, or anywhere. Some items are carted, some of the carts
ordered before the visit ends.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

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


def walk(
    catalogue: Catalogue, events: Events, rng: np.random.Generator
) -> tuple[Ints, NDArray[np.uint8]]:
    """Return item (its place in the catalogue) and type of every event."""
    intent = rng.gamma(SHOP.intent_shape, 1 / SHOP.intent_shape, len(events.start) - 1)
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
    n_items = len(topic)
    for session in range(len(start) - 1):
        first = start[session]
        item[first] = _pick(mass, week[first], 0, n_items, n_items, rng)
        kind[first] = _first_kind(shop, rng)
        held, paying, revisited = 0, False, False
        for now in range(first + 1, start[session + 1]):
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
                and rng.random()
                < intent[session] * _wish(now - first, left[now] == 0, revisited, shop)
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
                    item[now] = _neighbour(
                        last, week[now], topic[last], topic_start, weight, shop, rng
                    )
                else:
                    item[now] = _other(last, week[now], topic, topic_start, mass, shop, rng)
    return item, kind


@njit(cache=True, nogil=True)
def _first_kind(shop: Shop, rng: np.random.Generator) -> int:
    drawn = rng.random()
    if drawn < shop.first_order:
        return ORDER
    return CART if drawn < shop.first_order + shop.first_cart else CLICK


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
