"""Raw log → event log: `parsed`, `quarantine`, `sessions`, `items`, `events`.

In go the files that the raw log's listing names, out come tables with dense int32 ids. The shards
of all but `items` and `quarantine` are ranges of lines of one file, in the log's order, and every
session lies whole within one row group of one shard.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import polars as pl

from otto_pipeline.compute.threads import map_ahead
from otto_pipeline.events.errors import LogError
from otto_pipeline.events.hashing import draw, hash_ids
from otto_pipeline.events.jsonl import count_lines, parse_block, parsed_schema, read_blocks
from otto_pipeline.events.raw import LogFile, RawLog, read_raw_log, rejected_rows
from otto_pipeline.schemas import EVENTS, SESSIONS
from otto_pipeline.settings import Settings
from otto_pipeline.store.dataset import Dataset, Figures
from otto_pipeline.store.parquet import read_pieces, write_pieces
from otto_pipeline.store.stage import Inputs, Stage

SHARD_BYTES = 256 * 2**20
"""Bytes of a plain file that one shard parses."""
PIECE_ROWS = 250_000
"""Rows that a row group has at least: about those of a block, of which a sample leaves few."""
MERGED_ROWS = 10_000_000
"""Rows of items of many pieces that are merged at once: about half a GB."""
TABLE_GAPS = 16
"""Largest ratio of the range of item ids to their number for which a table is kept."""
SAMPLE_BUCKETS = 10_000
REFUSED = "refused.parquet"
"""Where a run that fails for too many malformed lines leaves them."""
SHOWN_LINES = 5
"""Malformed lines that an error message quotes."""


@dataclass(frozen=True)
class Piece:
    """The lines of a file that one shard parses: those that begin in [start, stop)."""

    file: LogFile
    start: int
    stop: int | None


def pieces(raw: RawLog) -> list[Piece]:
    """How a log is cut into shards; a compressed file can only be one."""
    return [
        Piece(file, start, None if file.compressed else start + SHARD_BYTES)
        for file in raw.files
        for start in ([0] if file.compressed else range(0, file.bytes, SHARD_BYTES))
    ]


def _parsed_shards(inputs: Inputs, _settings: Settings) -> int:
    return len(pieces(read_raw_log(inputs["raw"])))


def _same_shards_as_parsed(inputs: Inputs, _settings: Settings) -> int:
    return len(inputs["parsed"].files)


def write_parsed(inputs: Inputs, shard: int, settings: Settings, path: Path) -> Figures:
    """Parse the lines of one piece; take the sampled sessions, keep every malformed line."""
    raw = read_raw_log(inputs["raw"])
    piece = pieces(raw)[shard]
    blocks = read_blocks(Path(piece.file.path), piece.start, piece.stop)
    figures = {"lines": 0, "malformed": 0, "unsorted_sessions": 0, "last_ts": -1, "sessions": 0}

    def rows_of_blocks() -> Iterator[pl.DataFrame]:
        parse = partial(_parse_and_sample, raw, settings.seed)
        for rows, found in map_ahead(parse, blocks, settings.threads):
            yield rows.with_columns(pl.col("line") + figures["lines"])
            figures["last_ts"] = max(figures["last_ts"], found.pop("last_ts"))
            for name, count in found.items():
                figures[name] += count

    schema = parsed_schema(raw.session_ids, raw.item_ids)
    write_pieces(path, _joined(rows_of_blocks(), PIECE_ROWS), pl.DataFrame(schema=schema))
    return figures


def _joined(pieces: Iterable[pl.DataFrame], rows: int) -> Iterator[pl.DataFrame]:
    """The same rows in pieces of at least so many, but for the last."""
    waiting: list[pl.DataFrame] = []
    for piece in pieces:
        waiting.append(piece)
        if sum(map(len, waiting)) >= rows:
            yield pl.concat(waiting)
            waiting = []
    if waiting:
        yield pl.concat(waiting)


def _parse_and_sample(raw: RawLog, seed: int, block: bytes) -> tuple[pl.DataFrame, Figures]:
    """Sampled rows of a block, and figures of it; lines are counted from its beginning."""
    rows = parse_block(block, raw.session_ids, raw.item_ids)
    figures = {
        "lines": count_lines(block),
        "malformed": rows["error"].count(),
        "unsorted_sessions": 0,
        "last_ts": rows.select(pl.col("ts").max().fill_null(-1)).item(),
    }
    rows = sort_events(_sample(rows, raw.share, seed), figures)
    figures["sessions"] = rows.filter(pl.col("error").is_null())["line"].n_unique()
    return rows, figures


def sort_events(rows: pl.DataFrame, figures: Figures) -> pl.DataFrame:
    """Put each line's events in order of time, stably; count the sessions that were not."""
    same_line = pl.col("line") == pl.col("line").shift()
    unsorted = rows.filter(same_line & (pl.col("ts") < pl.col("ts").shift()))["line"].n_unique()
    figures["unsorted_sessions"] += unsorted
    return rows.sort("line", "ts", maintain_order=True) if unsorted else rows


def _sample(rows: pl.DataFrame, share: float, seed: int) -> pl.DataFrame:
    """Rows of the sampled sessions, and every malformed line."""
    if share >= 1:
        return rows
    good, bad = rows.filter(pl.col("error").is_null()), rows.filter(pl.col("error").is_not_null())
    bucket = draw(hash_ids(good["session_id"]), seed, "sample") % SAMPLE_BUCKETS
    return pl.concat([good.filter(bucket < share * SAMPLE_BUCKETS), bad]).sort(
        "line", maintain_order=True
    )


def write_quarantine(inputs: Inputs, _shard: int, settings: Settings, path: Path) -> Figures:
    """Malformed lines, and every line whose session id an earlier line has.

    Of a converted log also the rows of its own files that were set aside, which are what the
    share counts.

    Raises:
        LogError: they are a larger share of the log than the settings allow, or no session is
            left.
    """
    parsed = inputs["parsed"]
    raw = read_raw_log(inputs["raw"])
    malformed, repeated = _malformed_lines(parsed), _repeated_lines(parsed)
    named = _name_lines(pl.concat([malformed, repeated]), parsed, raw)
    set_aside = pl.concat([rejected_rows(raw), named])
    set_aside.write_parquet(path)
    lines = parsed.total("lines") if raw.rows is None else raw.rows
    figures = {
        "lines": lines,
        "quarantined": set_aside.height,
        "repeated_sessions": repeated.height,
        "share": set_aside.height / max(lines, 1),
    }
    _refuse_too_many(set_aside, figures, settings.max_quarantined_share, path.with_name(REFUSED))
    if parsed.total("sessions") == 0:
        raise LogError(
            f"{raw.files[0].path}: {raw.share:.0%} of its {lines:,} lines holds no session; use "
            "a larger scale or log"
        )
    return figures


def _malformed_lines(parsed: Dataset) -> pl.DataFrame:
    """Columns shard, line, reason."""
    return pl.concat(
        [
            pl.scan_parquet(file)
            .filter(pl.col("error").is_not_null())
            .select("line", shard=pl.lit(shard, pl.Int32), reason="error")
            for shard, file in enumerate(parsed.files)
        ]
    ).collect()


def _repeated_lines(parsed: Dataset) -> pl.DataFrame:
    """Lines whose session id an earlier line of the log has: columns shard, line, reason."""
    lines = pl.concat(
        [
            pl.scan_parquet(file)
            .filter(pl.col("error").is_null())
            .select("line", "session_id", shard=pl.lit(shard, pl.Int32))
            .unique("line", keep="first", maintain_order=True)
            for shard, file in enumerate(parsed.files)
        ]
    ).collect()
    # not pl.format, which panics where a shard's chunk is empty (Polars 2.1)
    reason = pl.concat_str(pl.lit("session "), "session_id", pl.lit(" is on an earlier line"))
    return lines.filter(~pl.col("session_id").is_first_distinct()).select(
        "line", "shard", reason=reason
    )


def _name_lines(lines: pl.DataFrame, parsed: Dataset, raw: RawLog) -> pl.DataFrame:
    """Shard and line within it → file and line in the file, counted from 1."""
    places = pl.DataFrame(
        {
            "shard": range(len(parsed.files)),
            "file": [piece.file.path for piece in pieces(raw)],
            "first": [first_line(parsed, raw, shard) for shard in range(len(parsed.files))],
        },
        schema={"shard": pl.Int32, "file": pl.String, "first": pl.Int64},
    )
    return (
        lines.join(places, on="shard")
        .sort("shard", "line")
        .select("file", pl.col("line") + pl.col("first"), "reason")
    )


def first_line(parsed: Dataset, raw: RawLog, shard: int) -> int:
    """Number, in its file, of the first line of a shard, counted from 1."""
    places = pieces(raw)
    return 1 + sum(
        parsed.figures(earlier)["lines"]
        for earlier in range(shard)
        if places[earlier].file == places[shard].file
    )


def _refuse_too_many(set_aside: pl.DataFrame, figures: Figures, allowed: float, path: Path) -> None:
    """Stop where too many lines are set aside; all of them are left at `path` to look at."""
    if figures["share"] <= allowed:
        return
    set_aside.write_parquet(path)
    shown = [
        f"  {Path(file).name}, line {line}: {reason}"
        for file, line, reason in set_aside.head(SHOWN_LINES).iter_rows()
    ]
    raise LogError(
        f"{figures['quarantined']:,} of {figures['lines']:,} lines of the log "
        f"({figures['share']:.2%}) are malformed or repeat a session id, more than the "
        f"{allowed:.2%} that OTTO_MAX_QUARANTINED_SHARE allows. Mend the log or raise the "
        f"setting. All are in {path}, the first are:\n" + "\n".join(shown)
    )


def _quarantined(inputs: Inputs, raw: RawLog, shards: Iterable[int]) -> Iterator[pl.Series]:
    """Lines of each shard that are in quarantine, counted from 0 at its beginning."""
    quarantine = inputs["quarantine"].read("file", "line")
    for shard in shards:
        first = first_line(inputs["parsed"], raw, shard)
        lines = inputs["parsed"].figures(shard)["lines"]
        in_file = quarantine.filter(pl.col("file") == pieces(raw)[shard].file.path)["line"]
        yield (in_file - first).filter((in_file >= first) & (in_file < first + lines))


def _good_pieces(inputs: Inputs, raw: RawLog, shard: int, column: str) -> Iterator[pl.DataFrame]:
    """Row groups of a parsed shard without the lines in quarantine: line, a column, ts."""
    (lines,) = _quarantined(inputs, raw, [shard])
    for rows in read_pieces(inputs["parsed"].files[shard], ["line", column, "ts"]):
        yield rows.filter(~pl.col("line").is_in(lines.implode()))


def write_sessions(inputs: Inputs, shard: int, settings: Settings, path: Path) -> Figures:
    """One row per session of the shard; the dense index goes on from the shard before."""
    raw = read_raw_log(inputs["raw"])
    first = _count_sessions(inputs, raw, range(shard))
    rows = _good_pieces(inputs, raw, shard, "session_id")
    found = map_ahead(_sessions_of, rows, settings.threads)
    frame = pl.concat([_sessions_of(_no_rows(raw)), *found])
    is_test = pieces(raw)[shard].file.kind == "test"
    frame.with_columns(
        session=pl.int_range(first, first + frame.height, dtype=pl.Int32, eager=True),
        is_test=pl.lit(is_test),
        hash=hash_ids(frame["session_id"]),
    ).select(SESSIONS.names()).write_parquet(path)
    return {"sessions": frame.height, "is_test": is_test}


def _count_sessions(inputs: Inputs, raw: RawLog, shards: range) -> int:
    figures = [inputs["parsed"].figures(shard) for shard in shards]
    set_aside = sum(map(len, _quarantined(inputs, raw, shards)))
    # those that are malformed were never counted as sessions
    return sum(found["sessions"] + found["malformed"] for found in figures) - set_aside


def _no_rows(raw: RawLog) -> pl.DataFrame:
    return pl.DataFrame(schema=parsed_schema(raw.session_ids, raw.item_ids))


def _sessions_of(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.group_by("line", maintain_order=True).agg(
        pl.col("session_id").first(),
        n_events=pl.len().cast(pl.Int32),
        first_ts=pl.col("ts").first(),
        last_ts=pl.col("ts").last(),
    )


def write_items(inputs: Inputs, _shard: int, settings: Settings, path: Path) -> Figures:
    """The log's items in the order of their original ids."""
    raw = read_raw_log(inputs["raw"])
    shards = range(len(inputs["parsed"].files))
    rows = chain.from_iterable(_good_pieces(inputs, raw, shard, "item_id") for shard in shards)
    seen = _first_seen(_no_rows(raw))
    for found in _joined(map_ahead(_first_seen, rows, settings.threads), MERGED_ROWS):
        seen = _first_seen(pl.concat([seen, found]))
    items = seen.sort("item_id").select(
        aid=pl.int_range(pl.len(), dtype=pl.Int32), item_id="item_id", first_seen="ts"
    )
    items.write_parquet(path)
    return {"items": items.height}


def _first_seen(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.group_by("item_id").agg(pl.col("ts").min())


def write_events(inputs: Inputs, shard: int, settings: Settings, path: Path) -> Figures:
    """The shard's events with dense ids."""
    sessions = inputs["sessions"].read_shard(shard).select("session", "line")
    aids_of = _numbering(inputs["items"].read("item_id")["item_id"])

    def to_events(rows: pl.DataFrame) -> pl.DataFrame:
        events = rows.join(sessions, on="line", how="inner", maintain_order="left")
        return events.with_columns(aid=aids_of(events["item_id"])).select(EVENTS.names())

    rows = read_pieces(inputs["parsed"].files[shard], ["line", "item_id", "ts", "type"])
    written = write_pieces(path, map_ahead(to_events, rows, settings.threads), EVENTS.empty())
    return {"events": written, "is_test": inputs["sessions"].figures(shard)["is_test"]}


def _numbering(item_ids: pl.Series) -> Callable[[pl.Series], pl.Series]:
    """The places of ids in a sorted column that holds them all.

    Most shops number their items nearly without gaps; then a table has the places, which is 25
    times faster than a search.
    """
    if item_ids.dtype == pl.String or _range(item_ids) > TABLE_GAPS * len(item_ids):
        return lambda ids: item_ids.search_sorted(ids).cast(pl.Int32)
    first = int(item_ids[0])
    table = np.zeros(_range(item_ids), np.int32)
    table[(item_ids - first).to_numpy()] = np.arange(len(item_ids))
    return lambda ids: pl.Series(table[(ids - first).to_numpy()])


def _range(item_ids: pl.Series) -> int:
    return int(item_ids[-1]) - int(item_ids[0]) + 1


PARSED_STAGE = Stage(write=write_parsed, shards=_parsed_shards, settings=("seed",))
QUARANTINE_STAGE = Stage(write=write_quarantine, settings=("max_quarantined_share",))
SESSIONS_STAGE = Stage(write=write_sessions, shards=_same_shards_as_parsed)
ITEMS_STAGE = Stage(write=write_items)
EVENTS_STAGE = Stage(write=write_events, shards=_same_shards_as_parsed)
