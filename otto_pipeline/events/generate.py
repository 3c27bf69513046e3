"""A seeded synthetic shop log of any size, calibrated to OTTO's published statistics.

In goes a size and a seed, out come ``train`` (28 days), ``test`` (the sessions of the next 7 days,
each cut at a random event), both as JSONL or Parquet, and ``test_labels.jsonl`` (what followed the
cut), with the statistics of what was written. A session is all visits of one user. Blocks of
sessions are made by several threads and written in order; memory is about 0.3 GB a thread and
does not grow with the log.
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from otto_pipeline.compute.threads import map_ahead
from otto_pipeline.events.generator.catalogue import Catalogue, make_catalogue
from otto_pipeline.events.generator.files import FORMATS, Appendable, Format
from otto_pipeline.events.generator.shop import TEST, TRAIN, Bools
from otto_pipeline.events.generator.visits import draw_events, position
from otto_pipeline.events.generator.walk import walk
from otto_pipeline.events.jsonl_writer import label_lines
from otto_pipeline.events.otto import OTTO
from otto_pipeline.events.split import labels_of
from otto_pipeline.events.statistics import LabelCounts, LogCounts, Values
from otto_pipeline.schemas import EVENT_TYPE
from otto_pipeline.store.files import atomic
from otto_pipeline.store.progress import Progress

BLOCK_SESSIONS = 32_768
"""Sessions made at once, about 0.6 M events; another number gives another log."""
TEST_SHARE = 0.13
"""Test sessions for each train session, as OTTO has them."""


@dataclass(frozen=True)
class Request:
    """What log is asked for: sizes, seed, and how its files are written."""

    sessions: int
    test_sessions: int
    items: int
    seed: int
    form: Format

    def rng(self, purpose: str, block: int = 0) -> np.random.Generator:
        """Return the random numbers of one block, independent of those of all others."""
        return np.random.default_rng([self.seed, block, *purpose.encode()])


class Written:
    """Counts of what was written: train, test as it was written and uncut, labels."""

    def __init__(self, items: int) -> None:
        # public ids begin with 1
        self.train, self.test, self.full_test = (LogCounts(items + 1) for _ in range(3))
        self.labels = LabelCounts()

    def values(self) -> dict[str, Values]:
        """Statistics by part, as in `events/otto.py`."""
        return {
            "train": self.train.values(),
            "test": self.test.values(),
            "full test": self.full_test.values(),
            "labels": self.labels.values(),
        }


class CutBlock(NamedTuple):
    """Test sessions, numbered from 0: whole, what is visible of them, and their labels."""

    full: pl.DataFrame
    visible: pl.DataFrame
    labels: pl.DataFrame


def default_items(sessions: int) -> int:
    """Return how many items a log of so many train sessions has, by OTTO's ratio; 10 at least."""
    of_otto = OTTO["train"]
    return max(10, round(sessions * of_otto["items"] / of_otto["sessions"]))


def default_test_sessions(sessions: int) -> int:
    """Return how many test sessions a log of so many train sessions has, by OTTO's ratio."""
    return round(sessions * TEST_SHARE)


def generate_log(
    folder: Path,
    *,
    sessions: int,
    test_sessions: int,
    items: int,
    seed: int,
    file_format: str = "jsonl",
    threads: int = 1,
    log: Callable[[str], None] = lambda _message: None,
) -> Written:
    """Write ``train``, ``test`` and ``test_labels.jsonl`` into ``folder``; tell `log` the progress.

    Session ids run from 0 in the order in which sessions begin, train first. Test sessions lose the
    items that no train session has, and are left out where fewer than two events remain: there can
    be fewer than ``test_sessions``. Where these are 0, there is only ``train``. The files appear
    when all are complete; their content does not depend on ``threads``.
    """
    request = Request(sessions, test_sessions, items, seed, FORMATS[file_format])
    catalogue = make_catalogue(items, request.rng("catalogue"))
    written = Written(items)
    train_blocks, test_blocks = _blocks(sessions), _blocks(test_sessions)
    count = len(train_blocks) + len(test_blocks)
    progress = Progress("generate", total=count, log=log, unit="blocks")
    with ExitStack() as files:
        train = _open(files, folder / "train", request.form)
        make = partial(_train_block, catalogue, request)
        for events, encoded in map_ahead(make, train_blocks, threads):
            train.write(encoded)
            written.train.add(events)
            progress.advance()
        if not test_blocks:
            return written
        test = _open(files, folder / "test", request.form)
        labels = _open(files, folder / "test_labels", FORMATS["jsonl"])
        cut = partial(_test_block, catalogue, request, written.train.by_item > 0)
        for block in map_ahead(cut, test_blocks, threads):
            _write_test(block, request, test, labels, written)
            progress.advance()
    return written


def generate_sessions(
    catalogue: Catalogue, period: range, numbers: range, total: int, rng: np.random.Generator
) -> pl.DataFrame:
    """Return the sessions ``numbers`` of the ``total`` that begin in ``period``.

    One row per event, as in `EVENTS` but with public item ids, in the order of sessions, which is
    that of their first events, then of time.
    """
    events = draw_events(period, numbers, total, rng)
    item, kind = walk(catalogue, events, rng)
    frame = pl.DataFrame(
        {
            "session": (events.session + numbers.start).astype(np.int32),
            "aid": catalogue.aid[item].astype(np.int32),
            "ts": events.ts,
            "type": kind,
        }
    )
    return frame.with_columns(pl.col("type").cat.to(EVENT_TYPE))


def _open(files: ExitStack, path: Path, form: Format) -> Appendable:
    file = form.open(files.enter_context(atomic(path.with_name(f"{path.name}{form.suffix}"))))
    files.callback(file.close)
    return file


def _blocks(total: int) -> list[range]:
    firsts = range(0, total, BLOCK_SESSIONS)
    return [range(first, min(first + BLOCK_SESSIONS, total)) for first in firsts]


def _train_block(
    catalogue: Catalogue, request: Request, numbers: range
) -> tuple[pl.DataFrame, Any]:
    rng = request.rng("train", numbers.start // BLOCK_SESSIONS)
    events = generate_sessions(catalogue, TRAIN, numbers, request.sessions, rng)
    return events, request.form.encode(events)


def _test_block(catalogue: Catalogue, request: Request, known: Bools, numbers: range) -> CutBlock:
    block = numbers.start // BLOCK_SESSIONS
    total = request.test_sessions
    events = generate_sessions(catalogue, TEST, numbers, total, request.rng("test", block))
    full = _of_known_items(events, known)
    visible, future = _cut(full, request.rng("cuts", block))
    return CutBlock(full, visible, labels_of(future, "aid", zero=None))


def _write_test(
    block: CutBlock, request: Request, test: Appendable, labels: Appendable, written: Written
) -> None:
    """Write a block with its sessions' numbers, which go on from those written before."""
    first = request.sessions + written.test.sessions
    renumber = (pl.col("session") + first).cast(pl.Int32)
    test.write(request.form.encode(block.visible.with_columns(renumber)))
    labels.write(_label_lines(block.labels.with_columns(renumber)))
    written.full_test.add(block.full)
    written.test.add(block.visible)
    written.labels.add(block.visible, block.labels)


def _of_known_items(events: pl.DataFrame, known: Bools) -> pl.DataFrame:
    """Keep events of known items, then sessions of two events or more, numbered from 0."""
    kept = events.filter(known[events["aid"]]).filter(pl.len().over("session") >= 2)
    return kept.with_columns(session=pl.col("session").rle_id().cast(pl.Int32))


def _cut(events: pl.DataFrame, rng: np.random.Generator) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Cut each session of n events after one of its first n - 1, and return both parts."""
    counts = np.unique_counts(events["session"].to_numpy()).counts
    visible = position(counts) < np.repeat(rng.integers(1, counts), counts)
    return events.filter(visible), events.filter(~visible)


def _label_lines(labels: pl.DataFrame) -> bytes:
    sessions = labels.select(pl.col("session").unique(maintain_order=True))
    return label_lines(sessions.with_columns(session_id="session"), labels)
