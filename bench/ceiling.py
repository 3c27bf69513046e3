"""The most that anybody could hit on the generated log, beside what is hit, into RESULTS.md.

    python -m bench ceiling

A generated log is drawn by known rules, so that what follows a cut can be drawn again, many times,
from the same past. The labels of most of these futures are the best answer there is: with more
futures their recall comes near, from below, to the most that a recommender can expect to hit. They
know what none can know: the shop's catalogue, how much the user is out to buy, what is in the
basket, and when the rest of the session happens. As all have the number of events that there were,
the cut is as likely in each, but for events of items that the split drops.
"""

from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from bench.bars import Hits, generated_settings, hits
from bench.beside import SHIPPED, built_steps
from bench.candidates import TARGETS, shown
from bench.futures import NOT_PROPOSED, drawn_block, most_frequent
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
from otto_pipeline.events.generator.shop import TRAIN, Bools, Ints
from otto_pipeline.events.generator.visits import draw_events
from otto_pipeline.metrics import count_hits, recalls, scores
from otto_pipeline.schemas import EVENT_TYPE, TOP_K, TYPES
from otto_pipeline.store.dataset import Dataset

SESSIONS = 40_000
"""Query sessions whose futures are drawn."""
DRAWS = (1_000, 4_000, 16_000)
"""Futures of each session."""
LOG = Request(GENERATED_SESSIONS, 0, GENERATED_ITEMS, 42, FORMATS["jsonl"])
"""The log that is drawn again."""


def best_of_block(
    block: range, catalogue: Catalogue, queries: pl.DataFrame, is_known: Bools, draws: int
) -> pl.DataFrame:
    """The labels of most futures of a block's query sessions: session, type, item_id.

    `queries` has a row for each of their events in the log: session, number, n_events (up to the
    cut), item_id, type, is_known; `is_known` is of the catalogue's items.

    Raises:
        ValueError: the log has other events than the generator draws.
    """
    rng = LOG.rng("train", block.start // BLOCK_SESSIONS)
    events = draw_events(TRAIN, block, LOG.sessions, rng)
    here = queries.filter(pl.col("number").is_between(block.start, block.stop - 1))
    sessions = here.unique("session", maintain_order=True)
    chosen = sessions["number"].to_numpy() - block.start
    stop = events.start[1:].copy()
    stop[chosen] = events.start[chosen] + _visible(here, sessions["n_events"].to_numpy())
    world, past = drawn_block(catalogue, events, stop, rng)
    _compare(here, catalogue.aid[past.item], past.kind, np.isin(events.session, chosen))
    again = LOG.rng("ceiling", block.start // BLOCK_SESSIONS)
    best = most_frequent(world, past, chosen, is_known, draws, again)
    return pl.DataFrame(
        {
            "session": np.repeat(sessions["session"], len(TYPES) * TOP_K),
            "type": np.tile(np.repeat(np.arange(len(TYPES)), TOP_K), len(chosen)),
            "item_id": catalogue.aid[best].ravel(),
        }
    ).filter(best.ravel() != NOT_PROPOSED)


def _visible(queries: pl.DataFrame, known_visible: Ints) -> Ints:
    """How many events of each session come before its cut, which counts those of known items."""
    start = queries["session"].rle().struct["len"].cum_sum().shift(1, fill_value=0).to_numpy()
    known = np.concatenate([[0], np.cumsum(queries["is_known"])])
    return np.searchsorted(known, known[start] + known_visible) - start


def _compare(queries: pl.DataFrame, item_id: Ints, kind: Ints, of_queries: Bools) -> None:
    drawn = item_id[of_queries], kind[of_queries]
    if not all(map(np.array_equal, drawn, (queries["item_id"], queries["type"].to_physical()))):
        raise ValueError(
            f"{GENERATED}: holds other events than the generator draws; remove it and "
            f"{GENERATED}_bars_store, and both are made anew"
        )


def of_best(lane: Path, queries: pl.DataFrame, draws: int, threads: int) -> pl.DataFrame:
    """Rows of `metrics.hits_by_session` of the best items of query sessions."""
    catalogue = make_catalogue(LOG.items, LOG.rng("catalogue"))
    items = Dataset(lane.parent / "log/items").read("aid", "item_id")
    known = items.join(Dataset(lane / "known_items").read(), on="aid", how="semi")["item_id"]
    draw = partial(
        best_of_block,
        catalogue=catalogue,
        queries=queries.with_columns(is_known=pl.col("item_id").is_in(known.implode())),
        is_known=np.isin(catalogue.aid, known),
        draws=draws,
    )
    best = pl.concat(map_ahead(draw, _blocks(queries), threads)).join(items, on="item_id")
    best = best.with_columns(pl.col("type").cat.to(EVENT_TYPE))
    labels = Dataset(lane / "labels").read().join(queries, on="session", how="semi")
    return count_hits(labels, labels.join(best, on=["session", "type", "aid"], how="semi"))


def _blocks(queries: pl.DataFrame) -> list[range]:
    """Blocks of the log that hold query sessions."""
    firsts = (queries["number"] // BLOCK_SESSIONS).unique().sort() * BLOCK_SESSIONS
    return [range(first, min(first + BLOCK_SESSIONS, LOG.sessions)) for first in firsts]


def sampled_queries(lane: Path) -> pl.DataFrame:
    """Events of some query sessions with labels, as `best_of_block` takes them."""
    log = lane.parent / "log"
    sessions = Dataset(lane / "sessions").read("session", "n_events", "hash")
    labels = Dataset(lane / "labels").read()
    sample = sessions.join(labels, on="session", how="semi").sort("hash").head(SESSIONS)
    numbers = Dataset(log / "sessions").read("session", "session_id")
    items = Dataset(log / "items").read("aid", "item_id")
    return (
        Dataset(log / "events")
        .read("session", "aid", "type")
        .join(sample.drop("hash"), on="session", maintain_order="left")
        .join(items, on="aid", maintain_order="left")
        .join(numbers.rename({"session_id": "number"}), on="session", maintain_order="left")
    )


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
    return table(["", *TARGETS, "most futures less this (95 %)"], lines)


def _drawn(draws: int) -> str:
    return f"best of {draws:,} futures"


def main() -> None:
    ensure_generated()
    settings = generated_settings(GENERATED)
    for _step in built_steps(settings):
        continue
    lane = settings.store_dir / f"full/{SHIPPED}"
    queries = sampled_queries(lane)
    systems = {
        name: found.join(queries, on="session", how="semi")
        for name, found in hits(settings).items()
    }
    best = {_drawn(draws): of_best(lane, queries, draws, settings.threads) for draws in DRAWS}
    text = [
        f"{queries['session'].n_unique():,} query sessions of the log of `bench bars generated`. "
        "The generator itself draws what follows each cut again, from the true past, and the "
        "labels of most of these futures are recommended: with more futures they come near, from "
        "below, to the most that anybody could expect to hit. The futures know what no recommender "
        "can: the catalogue, the user's intent and basket, and when the later events happen.",
        _section(systems, best),
    ]
    write_section("Ceiling of a generated log", "python -m bench ceiling", "\n\n".join(text))
