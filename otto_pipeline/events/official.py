"""The official split, bit for bit: a log in OTTO's JSONL in, four JSONL files out.

Replaces `testset.py` of https://github.com/otto-de/recsys-dataset: the same options, the same
bytes. The rules are those of `split.py`; what is of this command only is that every line of the
log is a session (whatever its id), where a session is cut (Python's generator, in the order of the
file), and how the files are written. The log is read once, in blocks, into a
scratch Parquet file of about a tenth of its size, so that memory does not grow with the log.
"""

import json
import random
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple

import polars as pl

from otto_pipeline.compute.threads import map_ahead
from otto_pipeline.events.errors import LogError
from otto_pipeline.events.jsonl import (
    EXCERPT,
    PARSED,
    IdType,
    count_lines,
    parse_scanned,
    peek_id_types,
    read_blocks,
    scan_block,
)
from otto_pipeline.events.jsonl_writer import label_lines, session_lines
from otto_pipeline.events.split import (
    cut,
    keep_known,
    labels_of,
    split_moment,
    test_part,
    train_part,
)
from otto_pipeline.schemas import EVENT_TYPE
from otto_pipeline.store.files import atomic
from otto_pipeline.store.parquet import read_pieces, write_pieces

TRAIN = "train_sessions.jsonl"
TEST_FULL = "test_sessions_full.jsonl"
TEST = "test_sessions.jsonl"
TEST_LABELS = "test_labels.jsonl"
FILES = (TRAIN, TEST_FULL, TEST, TEST_LABELS)

CHECKS_BEFORE_A_CUT = 2
"""Random 32-bit words that go by before the draw of a session's cut.

The official script never asks for them: its type checker (beartype) does, to choose the item of a
`list[dict]` that it looks at, and it takes them from the same generator. Two functions with such a
parameter are called for each session, `split_events` and `ground_truth`.
"""

Files = dict[str, IO[bytes]]


def official_split(
    train_set: Path, output_path: Path, *, days: float = 2, seed: int = 42, threads: int = 1
) -> dict[str, int]:
    """Split a log `days` before its last event and write `FILES` into `output_path`.

    The log may be plain, `.gz` or `.zst`. The files appear when all four are complete. Returns
    how many sessions, events and items they hold.

    Raises:
        LogError: the log is empty, damaged, has a malformed line or one that cannot be written
            back as it is, or is one of the files to be written.
    """
    if train_set.resolve() in [(output_path / name).resolve() for name in FILES]:
        raise LogError(f"{train_set}: would be overwritten; choose another output folder")
    output_path.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".split-", dir=output_path) as scratch:
        log = Path(scratch) / "log.parquet"
        _read_log(train_set, log, threads)
        moment = split_moment(_last_ts(log), days)
        with _whole_files(output_path) as files:
            known, train_counts = _write_train(log, moment, files, threads)
            test_counts = _write_test(log, moment, known, random.Random(seed), files, threads)
    return {**train_counts, "items": len(known), **test_counts}


def _read_log(train_set: Path, log: Path, threads: int) -> None:
    """Write the log's events as Parquet: `session` is the line, `session_id` what stands on it."""
    session_ids, item_ids = peek_id_types(train_set)
    empty = pl.DataFrame(
        schema={
            "session": pl.Int64,
            "session_id": PARSED[session_ids],
            "aid": PARSED[item_ids],
            "ts": pl.Int64,
            "type": EVENT_TYPE,
        }
    )
    write_pieces(log, _parsed_blocks(train_set, session_ids, item_ids, threads), empty)


class _Block(NamedTuple):
    """Rows of a block, the lines that may not be written back as they are, number of all lines."""

    rows: pl.DataFrame
    doubtful: list[tuple[int, bytes]]
    lines: int


def _parsed_blocks(
    path: Path, session_ids: IdType, item_ids: IdType, threads: int
) -> Iterator[pl.DataFrame]:
    def parse(block: bytes) -> _Block:
        scanned = scan_block(block, session_ids, item_ids)
        rows = parse_scanned(scanned, session_ids, item_ids)
        return _Block(rows, scanned.others, count_lines(block))

    lines_before = 0
    for block in map_ahead(parse, read_blocks(path), threads):
        rows = block.rows.with_columns(pl.col("line") + lines_before)
        _check_parsed(path, rows)
        _check_written_back(path, block.doubtful, lines_before)
        yield rows.rename({"line": "session", "item_id": "aid"}).drop("error")
        lines_before += block.lines


def _check_parsed(path: Path, rows: pl.DataFrame) -> None:
    malformed = rows.filter(pl.col("error").is_not_null())
    if not malformed.is_empty():
        line, error = malformed.select("line", "error").row(0)
        raise LogError(f"{path}: line {line + 1}: {error}")


def _check_written_back(path: Path, lines: list[tuple[int, bytes]], lines_before: int) -> None:
    """Raise on the first well-formed line that the official script would write other than we do."""
    for number, line in lines:
        if line.strip() and not _has_our_keys(json.loads(line)):
            raise LogError(
                f"{path}: line {lines_before + number + 1}: cannot be written back as it is: its "
                "keys are not session, events and aid, ts, type in this order: "
                f"{line[:EXCERPT].decode(errors='replace')}"
            )


def _has_our_keys(session: dict[str, Any]) -> bool:
    return list(session) == ["session", "events"] and all(
        list(event) == ["aid", "ts", "type"] for event in session["events"]
    )


def _last_ts(log: Path) -> int:
    """Time of the last listed event of any session, which need not be its latest."""
    is_last = (pl.col("session") != pl.col("session").shift(-1)).fill_null(True)
    return max(
        events.filter(is_last).select(pl.col("ts").max()).item()
        for events in read_pieces(log, ["session", "ts"])
        if not events.is_empty()
    )


class _Train(NamedTuple):
    """What one piece of the log gives to the train file."""

    lines: bytes
    items: list[int | str]
    counts: dict[str, int]


def _write_train(
    log: Path, moment: int, files: Files, threads: int
) -> tuple[pl.Series, Counter[str]]:
    """Write the train sessions; return their distinct items, and counts."""
    known: set[int | str] = set()
    counts: Counter[str] = Counter()
    for train in map_ahead(partial(_train, moment), read_pieces(log), threads):
        files[TRAIN].write(train.lines)
        known.update(train.items)
        counts.update(train.counts)
    return pl.Series(list(known), dtype=pl.read_parquet_schema(log)["aid"]), counts


def _train(moment: int, events: pl.DataFrame) -> _Train:
    train = train_part(events, moment)
    counts = {"train_sessions": train["session"].n_unique(), "train_events": train.height}
    return _Train(session_lines(train), train["aid"].unique().to_list(), counts)


def _write_test(
    log: Path, moment: int, known: pl.Series, generator: random.Random, files: Files, threads: int
) -> Counter[str]:
    """Write the test sessions, whole and cut, and their labels; return counts."""
    zero = 0 if known.dtype.is_integer() else None
    counts: Counter[str] = Counter()
    for full in map_ahead(partial(_queries, moment, known), read_pieces(log), threads):
        sessions = full.group_by("session", maintain_order=True).agg(
            pl.col("session_id").first(), n=pl.len()
        )
        visible, future = cut(full, _drawn_cuts(sessions, generator))
        labels = labels_of(future, "aid", zero)
        files[TEST_FULL].write(session_lines(full))
        files[TEST].write(session_lines(visible))
        files[TEST_LABELS].write(label_lines(sessions, labels))
        counts["test_sessions"] += sessions.height
        counts["test_events_full"] += full.height
        counts["test_events"] += visible.height
        counts["labels"] += labels.height
    return counts


def _queries(moment: int, known: pl.Series, events: pl.DataFrame) -> pl.DataFrame:
    queries = test_part(events, moment)
    if queries.is_empty():  # most of a log lies before the split
        return queries
    return keep_known(queries, pl.col("aid").is_in(known.implode()))


def _drawn_cuts(sessions: pl.DataFrame, generator: random.Random) -> pl.DataFrame:
    """Where each session is cut, drawn one after the other from Python's generator."""
    cuts = [_draw_cut(n, generator) for n in sessions["n"].to_list()]
    return sessions.select("session", cut=pl.Series(cuts, dtype=pl.Int64))


def _draw_cut(n_events: int, generator: random.Random) -> int:
    generator.getrandbits(32 * CHECKS_BEFORE_A_CUT)
    return generator.randint(1, n_events - 1)


@contextmanager
def _whole_files(folder: Path) -> Iterator[Files]:
    """`FILES` to write to, which take their places in `folder` when the block ends well."""
    with ExitStack() as renamed:
        paths = {name: renamed.enter_context(atomic(folder / name)) for name in FILES}
        with ExitStack() as opened:
            yield {name: opened.enter_context(path.open("wb")) for name, path in paths.items()}
