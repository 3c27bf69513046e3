"""OTTO's JSONL, read in blocks of whole lines and parsed into one row per event.

Plain lines with integer ids are scanned. Every other line gets a strict look of its own, which
tells good lines from malformed ones and says what is wrong with each.
"""

import gzip
import zlib
from collections.abc import Iterable, Iterator
from itertools import chain, pairwise
from pathlib import Path
from typing import IO, Annotated, Literal

import msgspec
import polars as pl
import zstandard

from otto_pipeline.events.errors import LogError
from otto_pipeline.events.jsonl_scanner import Scanned, scan
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
    return parse_scanned(scan_block(block, session_ids, item_ids), session_ids, item_ids)


def scan_block(block: bytes, session_ids: IdType, item_ids: IdType) -> Scanned:
    """The first half of `parse_block`: events of plain lines, and the lines that are not plain."""
    if session_ids == item_ids == "integer":
        return scan(block, LAST_TS)
    no_events = pl.DataFrame(schema=parsed_schema(session_ids, item_ids)).drop("error")
    return Scanned(no_events, list(enumerate(block.split(b"\n"))))


def parse_scanned(scanned: Scanned, session_ids: IdType, item_ids: IdType) -> pl.DataFrame:
    """The second half of `parse_block`: the other lines too, as events or as what is wrong."""
    plain = scanned.events.with_columns(error=pl.lit(None, pl.String))
    if not scanned.others:
        return plain
    others = _parse_strict(scanned.others, session_ids, item_ids)
    return others if plain.is_empty() else _in_order(plain, others)


def count_lines(block: bytes) -> int:
    """Lines of a block, the last of which may lack its line break."""
    return block.count(b"\n") + (not block.endswith(b"\n"))


def _in_order(plain: pl.DataFrame, others: pl.DataFrame) -> pl.DataFrame:
    """Rows of both in the order of lines, for a fraction of the cost of a sort where few are other.

    A log with a malformed line in every block should cost no more than a good one.
    """
    ends = plain["line"].search_sorted(others["line"].unique(maintain_order=True)).to_list()
    stretches = [plain[begin:end] for begin, end in pairwise([0, *ends, plain.height])]
    lines = [*others.partition_by("line", maintain_order=True), others.clear()]
    return pl.concat(chain.from_iterable(zip(stretches, lines, strict=True)))


def _parse_strict(
    lines: Iterable[tuple[int, bytes]], session_ids: IdType, item_ids: IdType
) -> pl.DataFrame:
    """Rows of numbered lines, whatever stands on them."""
    decoder = msgspec.json.Decoder(_Session)
    columns: dict[str, list[object]] = {name: [] for name in parsed_schema(session_ids, item_ids)}
    for number, line in lines:
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
