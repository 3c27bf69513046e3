"""Training sessions that are cut where labels are few, and what the lanes of the two halves see.

A small shop's validation window holds a few dozen sessions with an order: too few to learn from.
So sessions that ended before it are cut too, and what came after the cut is labels. Nothing that
their features are made of may know how they went on: leaving a session's own events in cost 9
points of recall (RANKING.md, 2). Each session belongs to half a or half b, by the hash of its id;
the lane of a half sees the sessions of the *other* half whole, and of its own only what those that
are cut did before their cut, as the validation lane sees its query sessions. A session is cut
once: the longer of two beginnings would show what the shorter one hides.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import polars as pl

from otto_pipeline.compute.threads import map_ahead
from otto_pipeline.events.hashing import draw, draw_pairs
from otto_pipeline.events.split import (
    cut,
    ended_before,
    hashed_cuts,
    item_zero,
    labels_of,
    train_part,
    train_shards,
    write_seen_sessions,
)
from otto_pipeline.schemas import CUT_SESSIONS, EVENT_TYPE, EVENTS, HALF, LABELS, TYPES
from otto_pipeline.settings import Settings
from otto_pipeline.store.dataset import Dataset, Figures
from otto_pipeline.store.parquet import read_pieces, write_pieces
from otto_pipeline.store.stage import Inputs, Stage

HALVES: tuple[str, ...] = tuple(HALF.categories)
FEW_SESSIONS = 80
"""With so many labelled validation sessions of every target no session is cut."""
ENOUGH_SESSIONS = 200
"""Labelled sessions of each target, those of the validation lane included, where some are cut."""


def lacking_sessions(labelled: Mapping[str, int]) -> dict[str, int]:
    """How many sessions with labels of each target are to be cut, from how many there are."""
    if min(labelled.get(name, 0) for name in TYPES) >= FEW_SESSIONS:
        return dict.fromkeys(TYPES, 0)
    return {name: max(0, ENOUGH_SESSIONS - labelled.get(name, 0)) for name in TYPES}


def half_of(hashes: pl.Series, seed: int) -> pl.Series:
    """The half of each session, from the hash of its id."""
    number = (draw(hashes, seed, "halves") % len(HALVES)).cast(pl.Int64)
    return pl.Series("half", [*HALVES], dtype=HALF).gather(number)


def possible_cuts(events: pl.DataFrame, sessions: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Where sessions can be cut for each target: columns session, type, cut.

    For orders right before one of them, so that there is an order to learn from in each session
    that has one; for clicks and carts where `hashed_cuts` says, if one comes after. `events` are
    those of whole sessions, `sessions` has their session and hash.
    """
    anywhere = hashed_cuts(events, sessions, seed)
    future = cut(events, anywhere)[1].filter(pl.col("type") != "orders")
    return pl.concat(
        [
            future.select("session", "type").unique().join(anywhere, on="session"),
            _before_an_order(events, sessions, seed),
        ]
    )


def _before_an_order(events: pl.DataFrame, sessions: pl.DataFrame, seed: int) -> pl.DataFrame:
    orders = (
        events.with_columns(cut=pl.int_range(pl.len()).over("session"))
        .filter((pl.col("type") == "orders") & (pl.col("cut") > 0))
        .join(sessions, on="session", maintain_order="left")
    )
    return (
        orders.with_columns(draw=draw_pairs(orders["hash"], orders["cut"], seed, "order"))
        .sort("session", "draw", "cut")
        .unique("session", keep="first", maintain_order=True)
        .select("session", "type", "cut")
    )


def choose(possible: pl.DataFrame, lacking: Mapping[str, int], seed: int) -> pl.DataFrame:
    """As many of the possible cuts (with hash) as each target lacks, one a session.

    The rarest target comes first, lest others take its sessions.
    """
    drawn = possible.with_columns(draw=draw(possible["hash"], seed, "cut sessions"))
    left, chosen = drawn.sort("draw", "session"), drawn.clear()
    for name in reversed(TYPES):
        of_type = left.filter(pl.col("type") == pl.lit(name, EVENT_TYPE)).head(lacking[name])
        left = left.join(of_type, on="session", how="anti", maintain_order="left")
        chosen.extend(of_type)
    return chosen.drop("draw").sort("session")


def write_cut_sessions(inputs: Inputs, _shard: int, settings: Settings, path: Path) -> Figures:
    """The sessions that are cut, none where there are labels enough."""
    counted = inputs["labels"].scan().group_by("type").agg(pl.col("session").n_unique()).collect()
    lacking = lacking_sessions(dict(counted.iter_rows()))
    chosen = CUT_SESSIONS.empty()
    if any(lacking.values()):
        found = choose(_possible_cuts_of_log(inputs, lacking, settings), lacking, settings.seed)
        half = half_of(found["hash"], settings.seed)
        chosen = found.with_columns(half).select(CUT_SESSIONS.names())
    chosen.write_parquet(path)
    return {
        "cut_sessions": chosen.height,
        **{f"lacking_{name}": lacking[name] for name in TYPES},
        **{f"cut_for_{name}": (chosen["type"] == name).sum() for name in TYPES},
        **{f"half_{half}": (chosen["half"] == half).sum() for half in HALVES},
    }


def _possible_cuts_of_log(
    inputs: Inputs, lacking: Mapping[str, int], settings: Settings
) -> pl.DataFrame:
    """Those for targets that lack sessions; a large log may lack orders alone."""
    wanted, moment = [name for name in TYPES if lacking[name]], _moment(inputs)
    found = [CUT_SESSIONS.empty().select("session", "type", "cut", "hash")]
    for shard in range(train_shards(inputs, settings)):
        sessions = inputs["sessions"].read_shard(shard).select("session", "hash")
        possible = partial(_with_hash, sessions, wanted, moment, settings.seed)
        pieces = read_pieces(inputs["events"].files[shard])
        found += map_ahead(possible, pieces, settings.threads)
    return pl.concat(found)


def _with_hash(
    sessions: pl.DataFrame, wanted: list[str], moment: int, seed: int, events: pl.DataFrame
) -> pl.DataFrame:
    """The possible cuts of those sessions of a piece that end before S, for the wanted targets."""
    cuts = possible_cuts(ended_before(events, moment), sessions, seed)
    return cuts.filter(pl.col("type").is_in(wanted)).join(
        sessions, on="session", maintain_order="left"
    )


def _moment(inputs: Inputs) -> int:
    """The split moment S, ms."""
    return inputs["known_items"].figures()["split_moment"]


# --- what the lane of a half sees: shards are those of the log's train file ----------------------


def write_events(half: str, inputs: Inputs, shard: int, settings: Settings, path: Path) -> Figures:
    """The other half's sessions before the split moment, and the beginnings of the cut ones."""
    moment, cuts = _moment(inputs), _cuts(inputs["cut_sessions"], half)
    sessions = inputs["sessions"].read_shard(shard)
    others = sessions.filter(half_of(sessions["hash"], settings.seed) != half).select("session")

    def seen(events: pl.DataFrame) -> pl.DataFrame:
        train = train_part(events, moment)
        whole = train.join(others, on="session", how="semi", maintain_order="left")
        return pl.concat([whole, cut(events, cuts)[0]]).sort("session", maintain_order=True)

    pieces = map_ahead(seen, read_pieces(inputs["events"].files[shard]), settings.threads)
    return {"events": write_pieces(path, pieces, EVENTS.empty())}


def write_sessions(
    half: str, inputs: Inputs, shard: int, _settings: Settings, path: Path
) -> Figures:
    """The sessions that the lane sees; the cut ones are queries."""
    queries = _cuts(inputs["cut_sessions"], half)["session"].implode()
    sessions = inputs["sessions"].read_shard(shard)
    of_log = sessions.select("session", "hash", query=pl.col("session").is_in(queries))
    return write_seen_sessions(inputs["visible"].files[shard], of_log, path)


def write_labels(half: str, inputs: Inputs, shard: int, settings: Settings, path: Path) -> Figures:
    """What the cut sessions of the half did after their cut."""
    cuts, zero = _cuts(inputs["cut_sessions"], half), item_zero(inputs)

    def labels(events: pl.DataFrame) -> pl.DataFrame:
        return labels_of(cut(events, cuts)[1], "aid", zero)

    pieces = map_ahead(labels, read_pieces(inputs["events"].files[shard]), settings.threads)
    return {"labels": write_pieces(path, pieces, LABELS.empty())}


def _cuts(cut_sessions: Dataset, half: str) -> pl.DataFrame:
    return cut_sessions.read().filter(pl.col("half") == half).select("session", "cut")


def _shards_if_cut(half: str, inputs: Inputs, settings: Settings) -> int:
    """None where no session of the half is cut: then there is no lane."""
    cut_of_half = inputs["cut_sessions"].figures()[f"half_{half}"]
    return train_shards(inputs, settings) if cut_of_half else 0


CUT_SESSIONS_STAGE = Stage(
    write=write_cut_sessions, version=f"1 {FEW_SESSIONS} {ENOUGH_SESSIONS}", settings=("seed",)
)


def events_stage(half: str) -> Stage:
    """What the lane of a half sees."""
    return Stage(
        write=partial(write_events, half), shards=partial(_shards_if_cut, half), settings=("seed",)
    )


def sessions_stage(half: str) -> Stage:
    """The sessions of the lane of a half."""
    return Stage(write=partial(write_sessions, half), shards=partial(_shards_if_cut, half))


def labels_stage(half: str) -> Stage:
    """The labels of the lane of a half."""
    return Stage(write=partial(write_labels, half), shards=partial(_shards_if_cut, half))
