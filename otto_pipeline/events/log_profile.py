"""What a log in OTTO's form holds, gathered in one pass: files in, a `Profile` out.

Counts run over blocks of lines. What grows with the log is 8 bytes a session (to find repeated
ids), 16 bytes an item, and a sample of whole sessions, drawn by their ids, that holds about
`SAMPLE_EVENTS` events and from which later questions are answered.
"""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import polars as pl

from otto_pipeline.events.errors import LogError
from otto_pipeline.events.hashing import draw, hash_ids
from otto_pipeline.events.ingest import SAMPLE_BUCKETS, SHOWN_LINES, sort_events
from otto_pipeline.events.jsonl import (
    IdType,
    count_lines,
    parse_block,
    parsed_schema,
    peek_id_types,
    read_blocks,
)
from otto_pipeline.events.split import DAY_MS

Kind = Literal["train", "test"]

SAMPLE_EVENTS = 2_000_000
BYTES_PER_EVENT = {".jsonl": 52, ".gz": 8, ".zst": 8}
"""Of a file, by its suffix, to guess how many events it has before it is read."""
LONGEST = 5
"""Sessions that are named as the longest."""
MERGED_ROWS = 4_000_000
"""Rows of (item, first seen) that pile up before they are merged."""


@dataclass
class FileFacts:
    """One file: its lines, those that are malformed (the first few with number and reason), and
    its sessions. `damage` says why it could not be read to its end. Times are ms.
    """

    path: Path
    kind: Kind
    lines: int = 0
    malformed: int = 0
    shown: list[tuple[int, str]] = field(default_factory=list)
    sessions: int = 0
    unsorted_sessions: int = 0
    by_type: Counter[str] = field(default_factory=Counter)
    first_ts: int | None = None
    last_ts: int | None = None
    damage: str | None = None

    @property
    def events(self) -> int:
        """Events of its good lines."""
        return self.by_type.total()


@dataclass
class Profile:
    """A log. Of its train file: sessions by their number of events, events by day since 1970 UTC,
    the longest sessions (session_id, n), and `sample` (session, hash, aid, ts, type) with the
    share of the sessions that it holds. Of both files: how many lines repeat an id, the items and
    when each was first seen in the train file (null: never).
    """

    session_ids: IdType
    item_ids: IdType
    files: list[FileFacts]
    by_length: Counter[int]
    by_day: Counter[int]
    longest: pl.DataFrame
    sample: pl.DataFrame
    share: float
    repeated_ids: int
    items: pl.DataFrame

    @property
    def train(self) -> FileFacts:
        """The train file."""
        return self.files[0]

    def total(self, name: str) -> int:
        """A count of all files, summed."""
        return sum(getattr(facts, name) for facts in self.files)


def profile_log(files: dict[Kind, Path], seed: int) -> Profile:
    """Read the files of a log once.

    Raises:
        LogError: a file is missing or empty, or the first lines of the train file hold no session.
    """
    for path in files.values():
        if path.stat().st_size == 0:
            raise LogError(f"{path}: is empty")
    session_ids, item_ids = _id_types(files["train"])
    gathering = _Gathering(session_ids, item_ids, _share(files["train"]), seed)
    facts = [gathering.read(path, kind) for kind, path in files.items()]
    return gathering.profile(facts)


def _id_types(train: Path) -> tuple[IdType, IdType]:
    """As `peek_id_types`, and where there is no session, also what is wrong with the first line."""
    try:
        return peek_id_types(train)
    except LogError as error:
        rows = parse_block(next(read_blocks(train), b""), "integer", "integer")
        reasons = rows["error"].head(1).to_list()
        raise LogError(". It begins with: ".join([str(error), *reasons])) from None


def _share(train: Path) -> float:
    """Share of the sessions that the sample takes, a whole number of buckets."""
    guessed = train.stat().st_size / BYTES_PER_EVENT.get(train.suffix, 8)
    buckets = SAMPLE_BUCKETS * SAMPLE_EVENTS / max(guessed, 1)
    return min(SAMPLE_BUCKETS, max(1, round(buckets))) / SAMPLE_BUCKETS


class _Gathering:
    """Running counts while blocks are read."""

    def __init__(self, session_ids: IdType, item_ids: IdType, share: float, seed: int) -> None:
        self._ids = session_ids, item_ids
        self._share, self._seed = share, seed
        no_rows = pl.DataFrame(schema=parsed_schema(session_ids, item_ids))
        self._hashes = [pl.Series("hash", [], pl.UInt64)]
        self._items = [_seen(no_rows, "train")]
        self._samples = [_sampled(no_rows.with_columns(hash=pl.lit(None, pl.UInt64)))]
        self._longest = no_rows.select("session_id", n=pl.lit(0, pl.UInt32))
        self._by_length: Counter[int] = Counter()
        self._by_day: Counter[int] = Counter()

    def read(self, path: Path, kind: Kind) -> FileFacts:
        """Count a file."""
        facts = FileFacts(path, kind)
        try:
            for block in read_blocks(path):
                self._add(parse_block(block, *self._ids), facts)
                facts.lines += count_lines(block)
        except LogError as error:
            facts.damage = str(error)
        return facts

    def profile(self, files: list[FileFacts]) -> Profile:
        """What was gathered."""
        hashes = pl.concat(self._hashes)
        self._merge_items()
        return Profile(
            *self._ids,
            files=files,
            by_length=self._by_length,
            by_day=self._by_day,
            longest=self._longest,
            sample=pl.concat(self._samples),
            share=self._share,
            repeated_ids=len(hashes) - hashes.n_unique(),
            items=self._items[0],
        )

    def _add(self, rows: pl.DataFrame, facts: FileFacts) -> None:
        rows = self._set_aside_malformed(rows, facts)
        if rows.is_empty():
            return
        figures = {"unsorted_sessions": 0}
        rows = sort_events(rows, figures)
        sessions = rows.group_by("line", maintain_order=True).agg(
            pl.col("session_id").first(), n=pl.len()
        )
        sessions = sessions.with_columns(hash=hash_ids(sessions["session_id"]))
        self._hashes.append(sessions["hash"])
        facts.sessions += sessions.height
        facts.unsorted_sessions += figures["unsorted_sessions"]
        facts.by_type.update(dict(rows["type"].cast(pl.String).value_counts().iter_rows()))
        _stretch(facts, rows["ts"])
        self._add_items(rows, facts.kind)
        if facts.kind == "train":
            self._add_train(rows, sessions, facts.lines)

    def _set_aside_malformed(self, rows: pl.DataFrame, facts: FileFacts) -> pl.DataFrame:
        bad = rows.filter(pl.col("error").is_not_null())
        if bad.is_empty():
            return rows
        facts.malformed += bad.height
        shown = bad.head(SHOWN_LINES - len(facts.shown)).select("line", "error")
        facts.shown += [(facts.lines + line + 1, reason) for line, reason in shown.iter_rows()]
        return rows.filter(pl.col("error").is_null())

    def _add_items(self, rows: pl.DataFrame, kind: Kind) -> None:
        self._items.append(_seen(rows, kind))
        if sum(map(len, self._items)) > MERGED_ROWS:
            self._merge_items()

    def _merge_items(self) -> None:
        self._items = [pl.concat(self._items).group_by("aid").agg(pl.col("first_seen").min())]

    def _add_train(self, rows: pl.DataFrame, sessions: pl.DataFrame, lines_before: int) -> None:
        self._by_length.update(dict(sessions["n"].value_counts().iter_rows()))
        self._by_day.update(dict((rows["ts"] // DAY_MS).value_counts().iter_rows()))
        longest = sessions.select("session_id", "n").top_k(LONGEST, by="n")
        self._longest = pl.concat([self._longest, longest]).sort("n", descending=True).head(LONGEST)
        bucket = draw(sessions["hash"], self._seed, "validate") % SAMPLE_BUCKETS
        drawn = sessions.filter(bucket < round(self._share * SAMPLE_BUCKETS))
        kept = rows.join(drawn.select("line", "hash"), on="line", maintain_order="left")
        self._samples.append(_sampled(kept.with_columns(pl.col("line") + lines_before)))


def _seen(rows: pl.DataFrame, kind: Kind) -> pl.DataFrame:
    first = pl.col("ts").min() if kind == "train" else pl.lit(None, pl.Int64)
    return rows.group_by(aid="item_id").agg(first_seen=first)


def _sampled(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select("hash", "ts", "type", session="line", aid="item_id")


def _stretch(facts: FileFacts, times: pl.Series) -> None:
    low, high = times.min(), times.max()
    assert isinstance(low, int)
    assert isinstance(high, int)
    facts.first_ts = low if facts.first_ts is None else min(facts.first_ts, low)
    facts.last_ts = high if facts.last_ts is None else max(facts.last_ts, high)
