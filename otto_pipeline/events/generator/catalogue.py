"""The items of the generated shop: topics, shelves, popularity by week."""

from dataclasses import dataclass

import numpy as np

from otto_pipeline.events.generator.shop import ITEM_EVENTS, SHOP, WEEKS, Floats, Ints


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


def make_catalogue(items: int, rng: np.random.Generator) -> Catalogue:
    """Return the items of the shop; the same for every block of a log."""
    sizes = rng.lognormal(SHOP.topic_log_items_mean, SHOP.topic_log_items_sd, items // 8 + 1)
    ends = np.cumsum(np.maximum(sizes.astype(np.int64), 8))
    topic_start = np.concatenate([[0], ends[ends < items], [items]])
    topic = np.searchsorted(topic_start, np.arange(items), side="right") - 1
    log_weight = _log_popularity(items, rng)
    place = log_weight + rng.normal(0, SHOP.shelf_disorder, items)
    log_weight = log_weight[np.lexsort((place, topic))]  # on a shelf, like stands beside like
    week = np.arange(WEEKS)[:, None]
    drift = rng.normal(0, SHOP.drift_log_sd, items) * (week - WEEKS / 2)
    born = np.where(rng.random(items) < SHOP.new_items, rng.integers(1, WEEKS - 1, items), 0)
    weight = np.exp(log_weight + drift) * (week >= born)
    share = np.cumsum(weight, axis=1) / weight.sum(axis=1, keepdims=True)
    mass = np.concatenate([[0.0], (share + week).ravel()])
    return Catalogue(rng.permutation(items) + 1, topic, topic_start, weight, mass)


def _log_popularity(items: int, rng: np.random.Generator) -> Floats:
    scores, events = np.array(list(ITEM_EVENTS.items())).T
    return SHOP.popularity_power * np.interp(rng.normal(size=items), scores, np.log(events))
