"""The most that anybody could hit on the generated log, beside what is hit, into RESULTS.md.

    python -m bench ceiling

A generated log is drawn by known rules, so that what follows a cut can be drawn again, many times,
from the same past. The items drawn most often are the best answer there is: no recommender can
expect to hit more. Here it is even told what none can know: the shop's catalogue, how much the
user is out to buy, what is in the basket, and when the rest of the session happens.
"""

from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray

from bench.bars import Hits, generated_settings, hits
from bench.beside import SHIPPED, built_steps
from bench.candidates import TARGETS, shown
from bench.matrices import (
    GENERATED,
    GENERATED_ITEMS,
    GENERATED_SESSIONS,
    ensure_generated,
    table,
)
from bench.results import write_section
from otto_pipeline.compute.threads import map_ahead
from otto_pipeline.evaluation.bootstrap import gains, intervals
from otto_pipeline.events.generate import BLOCK_SESSIONS, Request
from otto_pipeline.events.generator.catalogue import Catalogue, make_catalogue
from otto_pipeline.events.generator.files import FORMATS
from otto_pipeline.events.generator.shop import (
    CLICK,
    DAY_MS,
    SHOP,
    START_MS,
    TRAIN,
    Bools,
    Floats,
    Ints,
    Shop,
)
from otto_pipeline.events.generator.visits import Events, draw_events
from otto_pipeline.events.generator.walk import NOTHING, State, begin, draw_intent, walk, walk_on
from otto_pipeline.metrics import count_hits, recalls, scores
from otto_pipeline.schemas import EVENT_TYPE, TOP_K, TYPES
from otto_pipeline.store.dataset import Dataset

SESSIONS = 40_000
"""Query sessions whose future is drawn again."""
DRAWS = (1_000, 4_000, 16_000)
SEED = 42
LOG = Request(GENERATED_SESSIONS, 0, GENERATED_ITEMS, SEED, FORMATS["jsonl"])
NOT_PROPOSED = -1


class World(NamedTuple):
    """What the generator draws the events of a block from: arguments of its kernels."""

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

    item, kind: as `walk` has them; stop: the first event after the cut; basket: i64[sessions,
    places]; state: i64[sessions, 3], as `walk_on` has it.
    """

    item: Ints
    kind: NDArray[np.uint8]
    stop: Ints
    basket: Ints
    state: Ints


def drawn_again(
    block: range, catalogue: Catalogue, queries: pl.DataFrame, is_known: Bools, draws: int
) -> pl.DataFrame:
    """The items that query sessions of a block go on with most often: session, type, item_id.

    `queries` has columns session, number (in the log) and n_events (up to the cut).
    """
    events, rng = _events(block)
    item, _kind = walk(catalogue, events, rng)
    here = queries.filter(pl.col("number").is_between(block.start, block.stop - 1))
    chosen = here["number"].to_numpy() - block.start
    stop = events.start[1:].copy()
    stop[chosen] = _stops(is_known[item], events.start[chosen], here["n_events"].to_numpy())
    events, rng = _events(block)
    world = _world(catalogue, events, rng)
    past = Past(*_past(world, stop, rng))
    assert np.array_equal(past.item, item), "the block is not drawn as the log's was"
    again = np.random.default_rng([SEED, block.start])
    best = _draw_again(world, past, chosen, is_known, draws, again)
    return pl.DataFrame(
        {
            "session": np.repeat(here["session"], len(TYPES) * TOP_K),
            "type": np.tile(np.repeat(np.arange(len(TYPES)), TOP_K), len(chosen)),
            "item_id": np.where(best >= 0, catalogue.aid[best], best).ravel(),
        }
    ).filter(pl.col("item_id") >= 0)


def _events(block: range) -> tuple[Events, np.random.Generator]:
    """When a block's events happen, and the generator that draws what they are."""
    rng = LOG.rng("train", block.start // BLOCK_SESSIONS)
    return draw_events(TRAIN, block, LOG.sessions, rng), rng


def _world(catalogue: Catalogue, events: Events, rng: np.random.Generator) -> World:
    return World(
        start=events.start,
        week=(events.ts - START_MS) // (7 * DAY_MS),
        opens=events.opens,
        left=events.left,
        intent=draw_intent(len(events.start) - 1, rng),
        topic=catalogue.topic,
        topic_start=catalogue.topic_start,
        weight=catalogue.weight,
        mass=catalogue.mass,
        shop=SHOP,
    )


def _stops(is_known: Bools, start: Ints, visible: Ints) -> Ints:
    """Where events after the cut begin: behind so many of known items, which the split keeps."""
    known = np.concatenate([[0], np.cumsum(is_known)])
    return np.searchsorted(known, known[start] + visible)


@njit(nogil=True)
def _past(
    world: World, stop: Ints, rng: np.random.Generator
) -> tuple[Ints, NDArray[np.uint8], Ints, Ints, Ints]:
    """Draw a block as `walk` does, and keep what users have in mind at the cuts."""
    sessions, places = len(stop), world.shop.basket
    item, kind = np.empty(len(world.week), np.int64), np.empty(len(world.week), np.uint8)
    baskets, states = np.empty((sessions, places), np.int64), np.empty((sessions, 3), np.int64)
    basket = np.empty(places, np.int64)
    for session in range(sessions):
        first, end = world.start[session], world.start[session + 1]
        begin(item, kind, first, world.week, world.mass, len(world.topic), world.shop, rng)
        now = stop[session]
        state = _go_on(world, session, item, kind, basket, NOTHING, first + 1, now, rng)
        baskets[session] = basket
        states[session, 0], states[session, 1], states[session, 2] = state
        _go_on(world, session, item, kind, basket, state, now, end, rng)
    return item, kind, stop, baskets, states


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
def _draw_again(
    world: World, past: Past, chosen: Ints, is_known: Bools, draws: int, rng: np.random.Generator
) -> Ints:
    """Draw futures of the chosen sessions; return what is in most of them by session and type.

    A future has the labels that `events/split.py` makes. Past the cuts, `past` is overwritten.
    """
    item, kind, n_items = past.item, past.kind, len(is_known)
    futures = np.zeros((len(TYPES), n_items), np.int64)
    latest = np.zeros((len(TYPES), n_items), np.int64)
    seen, n_seen = np.empty((len(TYPES), n_items), np.int64), np.empty(len(TYPES), np.int64)
    best = np.full((len(chosen), len(TYPES), TOP_K), NOT_PROPOSED, np.int64)
    basket = np.empty(world.shop.basket, np.int64)
    future = 0
    for place, session in enumerate(chosen):
        now, end = past.stop[session], world.start[session + 1]
        held, paying, revisited = past.state[session]
        n_seen[:] = 0
        for _ in range(draws):
            future += 1
            basket[:] = past.basket[session]
            state = (held, paying == 1, revisited == 1)
            _go_on(world, session, item, kind, basket, state, now, end, rng)
            has_click = False
            for event in range(now, end):
                aid, what = item[event], kind[event]
                if not is_known[aid] or (what == CLICK and has_click):
                    continue
                has_click = has_click or what == CLICK
                if latest[what, aid] == future:
                    continue
                latest[what, aid] = future
                if futures[what, aid] == 0:
                    seen[what, n_seen[what]] = aid
                    n_seen[what] += 1
                futures[what, aid] += 1
        for what in range(len(TYPES)):
            found = seen[what, : n_seen[what]]
            often = np.empty(len(found), np.int64)
            for number, aid in enumerate(found):
                often[number] = futures[what, aid] * n_items + aid  # no two are equal
                futures[what, aid] = 0
            first = found[np.argsort(-often)[:TOP_K]]
            best[place, what, : len(first)] = first
    return best


def of_best(lane: Path, sample: pl.DataFrame, draws: int, threads: int) -> pl.DataFrame:
    """Rows of `metrics.hits_by_session` of a sample of query sessions."""
    items = Dataset(lane.parent / "log/items").read("aid", "item_id")
    known = items.join(Dataset(lane / "known_items").read(), on="aid", how="semi")["item_id"]
    catalogue = make_catalogue(LOG.items, LOG.rng("catalogue"))
    draw = partial(
        drawn_again,
        catalogue=catalogue,
        queries=sample,
        is_known=np.isin(catalogue.aid, known),
        draws=draws,
    )
    best = pl.concat(map_ahead(draw, _blocks(sample), threads))
    best = best.join(items, on="item_id").with_columns(pl.col("type").cat.to(EVENT_TYPE))
    labels = Dataset(lane / "labels").read().join(sample, on="session", how="semi")
    return count_hits(labels, labels.join(best, on=["session", "type", "aid"], how="semi"))


def _blocks(sample: pl.DataFrame) -> list[range]:
    """Blocks of the log that hold sessions of a sample."""
    numbers = (sample["number"] // BLOCK_SESSIONS).unique().sort() * BLOCK_SESSIONS
    return [range(first, min(first + BLOCK_SESSIONS, LOG.sessions)) for first in numbers]


def sampled_queries(lane: Path) -> pl.DataFrame:
    """Some query sessions with labels: session, number in the log, n_events up to the cut."""
    sessions = Dataset(lane / "sessions").read("session", "n_events", "hash")
    labelled = Dataset(lane / "labels").read("session").unique()
    numbers = Dataset(lane.parent / "log/sessions").read("session", "session_id")
    sample = sessions.join(labelled, on="session", how="semi").sort("hash").head(SESSIONS)
    numbered = sample.join(numbers.rename({"session_id": "number"}), on="session")
    return numbered.select("session", "number", "n_events")


def _section(systems: Hits, best: Hits) -> str:
    ceiling = best[_drawn(DRAWS[-1])]
    lines = []
    for name, found in (systems | best).items():
        recall, gain = scores(recalls(found)), gains(ceiling, found)
        low, high = intervals(gain, seed=0)["total"]
        more = (
            f"{shown(scores(recalls(gain))['total'], '+')} ({shown(low, '+')} … {shown(high, '+')})"
        )
        lines.append([name, *(shown(recall[target]) for target in TARGETS), more])
    return table(["", *TARGETS, "ceiling less this (95 %)"], lines)


def _drawn(draws: int) -> str:
    return f"ceiling, {draws:,} futures"


def main() -> None:
    ensure_generated()
    settings = generated_settings(GENERATED)
    for _step in built_steps(settings):
        continue
    lane = settings.store_dir / f"full/{SHIPPED}"
    sample = sampled_queries(lane)
    systems = {
        name: found.join(sample, on="session", how="semi") for name, found in hits(settings).items()
    }
    best = {_drawn(draws): of_best(lane, sample, draws, settings.threads) for draws in DRAWS}
    text = [
        f"{len(sample):,} query sessions of the log of `bench bars generated`. Ceiling: the "
        "generator itself draws what follows each cut again, from the true past, and the items in "
        "most of these futures are recommended; more futures tell more surely which those are. It "
        "is told what no recommender can know: the catalogue, the user's intent and basket, and "
        "when the session's later events happen.",
        _section(systems, best),
    ]
    write_section("Ceiling of a generated log", "python -m bench ceiling", "\n\n".join(text))
