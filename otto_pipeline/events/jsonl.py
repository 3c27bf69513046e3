"""OTTO's JSONL, read in blocks of whole lines and parsed into one row per event.

Good blocks take the fast path (Polars' JSON reader). A block in which anything is odd gets a
second, strict look, line by line, that tells good lines from malformed ones and says what is
wrong with each.
"""

import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Annotated, Literal

import msgspec
import polars as pl
import zstandard

from otto_pipeline.events.errors import LogError
from otto_pipeline.schemas import EVENT_TYPE

IdType = Literal["integer", "string"]

BLOCK_BYTES = 16 * 2**20
LAST_TS = 4_102_444_800_000
"""2100-01-01 in ms: what lies after it is in another unit."""
EXCERPT = 80
"""Characters of a malformed line that its reason shows."""
FORBIDDEN = ' ,"\n\r\t'
"""Characters that `session_type,labels` with labels separated by spaces cannot carry in an id."""

Number = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
Text = Annotated[str, msgspec.Meta(min_length=1)]
Timestamp = Annotated[int, msgspec.Meta(ge=0, lt=LAST_TS)]
EventType = Literal["clicks", "carts", "orders"]

PARSED = {
    "integer": pl.Int64,
    "string": pl.String,
}

FAST_SCHEMA = pl.Schema(
    {
        "session": pl.Int64(),
        "events": pl.List(pl.Struct({"aid": pl.Int64, "ts": pl.Int64, "type": pl.String})),
    }
)


class _Event(msgspec.Struct):
    aid: Number | Text
    ts: Timestamp
    type: EventType


class _Session(msgspec.Struct):
    session: Number | Text
    events: Annotated[list[_Event], msgspec.Meta(min_length=1)]


def parsed_schema(session_ids: IdType, item_ids: IdType) -> dict[str, pl.DataType]:
    """Columns of a parsed block: one row per event, or per malformed line (`error` not null).

    `line` counts from 0 at the beginning of what was read.
    """
    return {
        "line": pl.Int64(),
        "session_id": PARSED[session_ids](),
        "item_id": PARSED[item_ids](),
        "ts": pl.Int64(),
        "type": EVENT_TYPE,
        "error": pl.String(),
    }


def peek_id_types(path: Path) -> tuple[IdType, IdType]:
    """Whether a log's session and item ids are integers or strings: its first good line decides.

    Raises:
        LogError: no line of the first block is a session.
    """
    first_block = next(read_blocks(path), b"")
    decoder = msgspec.json.Decoder(_Session)
    for line in first_block.splitlines():
        try:
            session = decoder.decode(line)
        except (msgspec.MsgspecError, RecursionError):
            continue
        return _id_type(session.session), _id_type(session.events[0].aid)
    raise LogError(
        f"{path}: none of its first {len(first_block.splitlines()):,} lines is a session like "
        '{"session": 1, "events": [{"aid": 2, "ts": 1661724000278, "type": "clicks"}]}'
    )


def read_blocks(path: Path, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
    """Blocks of whole lines: those whose first byte lies in [start, stop) of a plain file.

    A compressed file is read whole.

    Raises:
        LogError: a compressed file is cut off or damaged.
    """
    try:
        if path.suffix == ".gz":
            with gzip.open(path) as file:
                yield from _whole_lines(iter(lambda: file.read(BLOCK_BYTES), b""))
        elif path.suffix == ".zst":
            with path.open("rb") as file:
                yield from _whole_lines(_decompress_zstd(file))
        else:
            with path.open("rb") as file:
                yield from _whole_lines(_read_range(file, start, stop))
    except (EOFError, gzip.BadGzipFile, zlib.error, zstandard.ZstdError) as error:
        raise LogError(
            f"{path}: is cut off or damaged ({error}); copy or download it again"
        ) from error
    except OSError as error:
        raise LogError(f"{path}: cannot be read ({error.strerror})") from error


def parse_block(block: bytes, session_ids: IdType, item_ids: IdType) -> pl.DataFrame:
    """Parse whole lines into rows of `parsed_schema`, events in the order of the line."""
    if session_ids == item_ids == "integer":
        fast = _parse_fast(block)
        if fast is not None:
            return fast
    return _parse_strict(block, session_ids, item_ids)


def count_lines(block: bytes) -> int:
    """Lines of a block, the last of which may lack its line break."""
    return block.count(b"\n") + (not block.endswith(b"\n"))


def _parse_fast(block: bytes) -> pl.DataFrame | None:
    """Rows of a block without anything odd, None otherwise."""
    try:
        sessions = pl.read_ndjson(io.BytesIO(block), schema=FAST_SCHEMA)
    except pl.exceptions.PolarsError:
        return None
    if sessions.height != count_lines(block):
        return None
    rows = (
        sessions.with_row_index("line")
        .explode("events", empty_as_null=True)  # so that no events is odd, and not no line
        .unnest("events")
        .select(
            pl.col("line").cast(pl.Int64),
            pl.col("session").alias("session_id"),
            pl.col("aid").alias("item_id"),
            "ts",
            pl.col("type").cast(EVENT_TYPE, strict=False),
            error=pl.lit(None, pl.String),
        )
    )
    odd = rows.select(
        (pl.any_horizontal(pl.col("session_id", "item_id", "ts", "type").is_null()).any())
        | (pl.col("ts") < 0).any()
        | (pl.col("ts") >= LAST_TS).any()
    ).item()
    return None if odd else rows


def _parse_strict(block: bytes, session_ids: IdType, item_ids: IdType) -> pl.DataFrame:
    decoder = msgspec.json.Decoder(_Session)
    columns: dict[str, list[object]] = {name: [] for name in parsed_schema(session_ids, item_ids)}
    for number, line in enumerate(block.split(b"\n")):
        if not line.strip():
            continue
        try:
            session = decoder.decode(line)
            _check_ids(session, session_ids, item_ids)
        except (msgspec.MsgspecError, LogError, UnicodeDecodeError, RecursionError) as error:
            _append_error(columns, number, f"{error}: {_excerpt(line)}")
            continue
        count = len(session.events)
        columns["line"] += [number] * count
        columns["session_id"] += [session.session] * count
        columns["item_id"] += [event.aid for event in session.events]
        columns["ts"] += [event.ts for event in session.events]
        columns["type"] += [event.type for event in session.events]
        columns["error"] += [None] * count
    return pl.DataFrame(columns, schema=parsed_schema(session_ids, item_ids))


def _append_error(columns: dict[str, list[object]], number: int, error: str) -> None:
    for name, column in columns.items():
        column.append({"line": number, "error": error}.get(name))


def _check_ids(session: _Session, session_ids: IdType, item_ids: IdType) -> None:
    _check_id("session", session.session, session_ids)
    for event in session.events:
        _check_id("aid", event.aid, item_ids)


def _check_id(name: str, value: int | str, expected: IdType) -> None:
    if _id_type(value) != expected:
        raise LogError(f"{name} {value!r} is not {expected} as the first session's is")
    if isinstance(value, str) and any(character in value for character in FORBIDDEN):
        raise LogError(
            f"{name} {value!r} has a character that a submission cannot carry (space, comma, "
            "quote or line break)"
        )


def _id_type(value: int | str) -> IdType:
    return "integer" if isinstance(value, int) else "string"


def _excerpt(line: bytes) -> str:
    text = line.decode(errors="replace").strip()
    return text if len(text) <= EXCERPT else f"{text[:EXCERPT]}…"


def _read_range(file: IO[bytes], start: int, stop: int | None) -> Iterator[bytes]:
    """Bytes of the lines that begin in [start, stop)."""
    position = start
    if start > 0:  # the line that runs across `start` belongs to the range before
        file.seek(start - 1)
        position += len(file.readline()) - 1
    while stop is None or position < stop:
        size = BLOCK_BYTES if stop is None else min(BLOCK_BYTES, stop - position)
        piece = file.read(size)
        if not piece:
            return
        position += len(piece)
        if position == stop and not piece.endswith(b"\n"):
            piece += file.readline()
        yield piece


def _decompress_zstd(file: IO[bytes]) -> Iterator[bytes]:
    decompressor = zstandard.ZstdDecompressor(max_window_size=2**31)
    frame = decompressor.decompressobj()
    begun = False
    for piece in iter(lambda: file.read(BLOCK_BYTES // 8), b""):
        rest = piece
        while rest:
            begun = True
            yield frame.decompress(rest)
            rest = frame.unused_data
            if frame.eof:
                frame, begun = decompressor.decompressobj(), False
    if begun:
        raise EOFError("its last frame has no end")


def _whole_lines(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Regroup bytes into blocks that end with a line break (the last one may not)."""
    rest: list[bytes] = []
    size = 0
    for piece in pieces:
        end = piece.rfind(b"\n") + 1
        rest.append(piece[:end] if end else piece)
        size += len(rest[-1])
        if end and size >= BLOCK_BYTES // 4:
            yield b"".join(rest)
            rest, size = [], 0
        if end and end < len(piece):
            rest.append(piece[end:])
            size += len(piece) - end
    if block := b"".join(rest):
        yield block
