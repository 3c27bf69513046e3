"""The split in time, truncation and labels, as the dataset's own script does them.

The rules (OTTO.md §3; otto-de/recsys-dataset) are functions over frames of events (`session`,
item, `ts`, `type`; sessions whole, events in list order), used by the command `otto split` and by
the validation lane. Only where a session is cut differs: the command draws as the official script
does, the lane from a hash of the session id, so that its cut does not depend on the log's order.
"""

from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from otto_pipeline.compute.threads import map_ahead
from otto_pipeline.events.hashing import draw
from otto_pipeline.schemas import EVENT_TYPE, EVENTS, KNOWN_ITEMS, LABELS, LANE_SESSIONS
from otto_pipeline.settings import Settings
from otto_pipeline.store.dataset import Figures
from otto_pipeline.store.parquet import read_pieces, write_pieces
from otto_pipeline.store.stage import Inputs, Stage

DAY_MS = 86_400_000
MIN_EVENTS = 2
"""Events that a session must have left to be in either part."""


def split_moment(last_ts: int, days: float) -> int:
    """The moment S (ms) that lies `days` before the log's last event."""
    return last_ts - round(days * DAY_MS)


def train_part(events: pl.DataFrame, moment: int) -> pl.DataFrame:
    """Events before S of the sessions that start at or before S, where two or more are left.

    A session that starts exactly at S is left with nothing and is lost, as in the official
    script.
    """
    starts_before = pl.col("ts").first().over("session") <= moment
    return _long_enough(events.filter(starts_before).filter(pl.col("ts") < moment))


def test_part(events: pl.DataFrame, moment: int) -> pl.DataFrame:
    """All events of the sessions that start after S."""
    return events.filter(pl.col("ts").first().over("session") > moment)


def keep_known(events: pl.DataFrame, known: pl.Expr) -> pl.DataFrame:
    """Events of known items only, of the sessions that have two or more of them."""
    return _long_enough(events.filter(known))


def cut(events: pl.DataFrame, cuts: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Visible and future events: a session's first `cut` events, and the rest.

    `cuts` has columns session, cut.
    """
    joined = events.join(cuts, on="session", how="inner", maintain_order="left")
    visible = pl.int_range(pl.len()).over("session") < pl.col("cut")
    marked = joined.with_columns(visible=visible).drop("cut")
    return (
        marked.filter("visible").drop("visible"),
        marked.filter(~pl.col("visible")).drop("visible"),
    )


def labels_of(future: pl.DataFrame, item: str, zero: int | None) -> pl.DataFrame:
    """What each session goes on to do: rows (session, type, item) in order of session and type.

    The next click only, and every distinct item carted or ordered. `zero` is the item whose
    *original* id is the number 0: a next click on it is no label, and the click after it is none
    either (a quirk of the official script).
    """
    clicks = (
        future.filter(pl.col("type") == "clicks")
        .unique("session", keep="first", maintain_order=True)
        .filter(pl.lit(True) if zero is None else pl.col(item) != zero)
    )
    buys = future.filter(pl.col("type") != "clicks").unique(["session", "type", item])
    return (
        pl.concat([clicks, buys])
        .select("session", pl.col("type").cast(EVENT_TYPE), item)
        .sort("session", "type", item)
    )


def ended_before(events: pl.DataFrame, moment: int) -> pl.DataFrame:
    """Events of the sessions of two events or more that end before S."""
    return _long_enough(events.filter(pl.col("ts").last().over("session") < moment))


def _long_enough(events: pl.DataFrame) -> pl.DataFrame:
    return events.filter(pl.len().over("session") >= MIN_EVENTS)


# --- the validation lane: shards are those of the log's train file -------------------------------


def train_shards(inputs: Inputs, _settings: Settings) -> int:
    """Shards of the log that are of its train file; they come first."""
    return sum(not receipt.figures["is_test"] for receipt in inputs["events"].manifest.shards)


def _moment(inputs: Inputs, settings: Settings) -> int:
    """S, from the last event of the whole train file, whatever the sampled share."""
    parsed = inputs["parsed"].manifest.shards[: train_shards(inputs, settings)]
    last = max(receipt.figures["last_ts"] for receipt in parsed)
    return split_moment(last, settings.validation_days)


def write_known_items(inputs: Inputs, _shard: int, settings: Settings, path: Path) -> Figures:
    """Items of the sessions in the training part, after they are trimmed."""
    moment = _moment(inputs, settings)
    known = np.zeros(inputs["items"].manifest.rows, dtype=bool)
    files = inputs["events"].files[: train_shards(inputs, settings)]
    pieces = chain.from_iterable(map(read_pieces, files))
    for events in map_ahead(partial(train_part, moment=moment), pieces, settings.threads):
        known[events["aid"].to_numpy()] = True
    frame = pl.DataFrame(
        {"aid": np.flatnonzero(known).astype(np.int32)}, KNOWN_ITEMS.empty().schema
    )
    frame.write_parquet(path)
    return {"items": frame.height, "split_moment": moment}


def write_visible(inputs: Inputs, shard: int, settings: Settings, path: Path) -> Figures:
    """Events that the validation lane sees: the training part, and query sessions' beginnings."""
    queries = _queries_of(inputs, shard, settings)

    def seen(events: pl.DataFrame) -> pl.DataFrame:
        parts = [train_part(events, queries.moment), queries.cut(events)[0]]
        return pl.concat(parts).sort("session", maintain_order=True)

    pieces = map_ahead(seen, read_pieces(inputs["events"].files[shard]), settings.threads)
    return {"events": write_pieces(path, pieces, EVENTS.empty()), "is_test": False}


def write_labels(inputs: Inputs, shard: int, settings: Settings, path: Path) -> Figures:
    """What the query sessions do after their cut."""
    queries, zero = _queries_of(inputs, shard, settings), item_zero(inputs)

    def labels(events: pl.DataFrame) -> pl.DataFrame:
        return labels_of(queries.cut(events)[1], "aid", zero)

    pieces = map_ahead(labels, read_pieces(inputs["events"].files[shard]), settings.threads)
    return {"labels": write_pieces(path, pieces, LABELS.empty())}


@dataclass(frozen=True)
class _Queries:
    """What decides the query sessions of one shard and their cuts.

    `known[aid]` says whether an item is known; `sessions` are those of the shard.
    """

    moment: int
    known: NDArray[np.bool_]
    sessions: pl.DataFrame
    seed: int

    def cut(self, events: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Visible and future events of the query sessions among whole sessions."""
        late = test_part(events, self.moment)
        queries = keep_known(late, pl.lit(pl.Series(self.known[late["aid"].to_numpy()])))
        return cut(queries, hashed_cuts(queries, self.sessions, self.seed))


def _queries_of(inputs: Inputs, shard: int, settings: Settings) -> _Queries:
    known = np.zeros(inputs["items"].manifest.rows, dtype=bool)
    known[inputs["known_items"].read("aid")["aid"].to_numpy()] = True
    sessions = inputs["sessions"].read_shard(shard)
    return _Queries(_moment(inputs, settings), known, sessions, settings.seed)


def hashed_cuts(events: pl.DataFrame, sessions: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Where each session is cut: uniform in 1..n−1, drawn from the hash of its id."""
    counts = events.group_by("session", maintain_order=True).agg(n=pl.len())
    counts = counts.join(sessions.select("session", "hash"), on="session", maintain_order="left")
    cuts = 1 + draw(counts["hash"], seed, "cut") % (counts["n"].cast(pl.UInt64) - 1)
    return counts.select("session", cut=cuts.cast(pl.Int64))


def item_zero(inputs: Inputs) -> int | None:
    """Dense index of the item whose original id is the number 0, if there is one."""
    items = inputs["items"].scan()
    if items.collect_schema()["item_id"] == pl.String:
        return None
    zero = items.filter(pl.col("item_id") == 0).select("aid").collect()
    return zero.item() if zero.height else None


def write_sessions(inputs: Inputs, shard: int, settings: Settings, path: Path) -> Figures:
    """Sessions of the validation lane: those that start after S are queries."""
    moment = _moment(inputs, settings)
    log_sessions = (
        inputs["sessions"]
        .read_shard(shard)
        .select("session", "hash", query=pl.col("first_ts") > moment)
    )
    return write_seen_sessions(inputs["visible"].files[shard], log_sessions, path)


def write_seen_sessions(visible: Path, log_sessions: pl.DataFrame, path: Path) -> Figures:
    """Write the sessions that have events in the file `visible`, as `LANE_SESSIONS`.

    `log_sessions` has columns session, hash, query.
    """
    seen = (
        pl.scan_parquet(visible)
        .group_by("session")
        .agg(
            n_events=pl.len().cast(pl.Int32),
            first_ts=pl.col("ts").first(),
            last_ts=pl.col("ts").last(),
        )
    )
    return _write_lane_sessions(seen.collect().join(log_sessions, on="session"), path)


# --- the submission lane -------------------------------------------------------------------------


def has_test_sessions(inputs: Inputs) -> bool:
    """Whether the log has sessions to predict."""
    return any(
        receipt.figures["is_test"] and receipt.rows > 0
        for receipt in inputs["sessions"].manifest.shards
    )


def _log_shards(inputs: Inputs, _settings: Settings) -> int:
    return len(inputs["sessions"].files)


def write_submission_sessions(
    inputs: Inputs, shard: int, _settings: Settings, path: Path
) -> Figures:
    """Sessions of the submission lane: all, those of the test file are queries."""
    sessions = inputs["sessions"].read_shard(shard).with_columns(query=pl.col("is_test"))
    return _write_lane_sessions(sessions, path)


def _write_lane_sessions(sessions: pl.DataFrame, path: Path) -> Figures:
    sessions = sessions.select(LANE_SESSIONS.names()).sort("session")
    sessions.write_parquet(path)
    return {"sessions": sessions.height, "queries": int(sessions["query"].sum())}


_SPLIT = ("validation_days",)
KNOWN_ITEMS_STAGE = Stage(write=write_known_items, settings=_SPLIT)
VISIBLE_STAGE = Stage(write=write_visible, shards=train_shards, settings=(*_SPLIT, "seed"))
LABELS_STAGE = Stage(write=write_labels, shards=train_shards, settings=(*_SPLIT, "seed"))
VALIDATION_SESSIONS_STAGE = Stage(write=write_sessions, shards=train_shards, settings=_SPLIT)
SUBMISSION_SESSIONS_STAGE = Stage(write=write_submission_sessions, shards=_log_shards)
