import gzip
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from otto_pipeline.events import jsonl
from otto_pipeline.events.errors import LogError
from otto_pipeline.events.jsonl import (
    _parse_strict,
    count_lines,
    parse_block,
    peek_id_types,
    read_blocks,
    scan_block,
)
from otto_pipeline.schemas import PARSED, TYPES
from otto_pipeline_tests.building import log_line

INTEGERS = ("integer", "integer")
GOOD = log_line(1, [(2, 3, "clicks")]).encode()
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gz": lambda data: gzip.compress(data, mtime=0),
    "zst": zstandard.ZstdCompressor().compress,
}

# --- blocks of whole lines


@st.composite
def cut_files(draw: st.DrawFn) -> tuple[bytes, list[int], int]:
    """A file, positions at which it is cut, and a size of blocks."""
    line = st.text("ab\r {", max_size=12).map(str.encode)
    content = b"\n".join(draw(st.lists(line, max_size=12))) + draw(st.sampled_from([b"", b"\n"]))
    cuts = draw(st.lists(st.integers(1, len(content) + 2), max_size=6))
    return content, sorted(cuts), draw(st.integers(1, 40))


def read_all(path: Path, start: int = 0, stop: int | None = None) -> bytes:
    blocks = list(read_blocks(path, start, stop))
    assert all(block.endswith(b"\n") for block in blocks[:-1])
    assert b"" not in blocks
    return b"".join(blocks)


def slow_range(content: bytes, start: int, stop: int | None) -> bytes:
    """The lines of which the first byte lies in [start, stop)."""
    found, position = b"", 0
    for line in _split(content):
        if start <= position and (stop is None or position < stop):
            found += line
        position += len(line)
    return found


def _split(content: bytes) -> list[bytes]:
    lines = [line + b"\n" for line in content.split(b"\n")]
    return [*lines[:-1], lines[-1][:-1]]


@given(case=cut_files())
@settings(deadline=None, max_examples=200)
def test_ranges_cut_anywhere_yield_every_line_exactly_once(
    case: tuple[bytes, list[int], int],
) -> None:
    content, cuts, block_bytes = case
    with tempfile.TemporaryDirectory() as folder, patch.object(jsonl, "BLOCK_BYTES", block_bytes):
        path = Path(folder) / "log.jsonl"
        path.write_bytes(content)
        ranges = list(zip([0, *cuts], [*cuts, None], strict=True))
        pieces = [read_all(path, start, stop) for start, stop in ranges]
    assert pieces == [slow_range(content, start, stop) for start, stop in ranges]
    assert b"".join(pieces) == content


@given(case=cut_files(), packing=st.sampled_from(["gz", "zst"]))
@settings(deadline=None, max_examples=60)
def test_compressed_file_of_several_parts_is_read_whole(
    case: tuple[bytes, list[int], int], packing: str
) -> None:
    content, cuts, block_bytes = case
    parts = [content[a:b] for a, b in zip([0, *cuts], [*cuts, None], strict=True)]
    with (
        tempfile.TemporaryDirectory() as folder,
        patch.object(jsonl, "BLOCK_BYTES", 8 * block_bytes),
    ):
        path = Path(folder) / f"log.jsonl.{packing}"
        path.write_bytes(b"".join(map(COMPRESS[packing], parts)))
        assert read_all(path) == content


def test_blocks_are_about_as_large_as_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes((GOOD + b"\n") * 200)
    with patch.object(jsonl, "BLOCK_BYTES", 1000):
        sizes = [len(block) for block in read_blocks(path)]
    assert len(sizes) > 5
    assert max(sizes) <= 1000 + len(GOOD)


def test_line_longer_than_a_block_stays_whole(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    long = log_line(1, [(aid, aid, "clicks") for aid in range(200)]).encode()
    path.write_bytes(GOOD + b"\n" + long + b"\n" + GOOD)
    with patch.object(jsonl, "BLOCK_BYTES", 64):
        blocks = list(read_blocks(path))
    assert b"".join(blocks) == path.read_bytes()
    assert sum(long in block for block in blocks) == 1


@pytest.mark.parametrize("packing", ["gz", "zst"])
def test_file_cut_off_anywhere_is_refused_by_name(tmp_path: Path, packing: str) -> None:
    whole = COMPRESS[packing](b"".join(b"%d %d\n" % (i * 7919, i) for i in range(300)))
    path = tmp_path / f"train.jsonl.{packing}"
    for kept in [*range(1, 20), len(whole) // 2, *range(len(whole) - 12, len(whole))]:
        path.write_bytes(whole[:kept])
        with pytest.raises(LogError, match=r"is cut off or damaged .*download it again") as error:
            list(read_blocks(path))
        assert str(error.value).startswith(f"{path}: ")


@pytest.mark.parametrize("packing", ["gz", "zst"])
def test_second_part_cut_off_is_refused(tmp_path: Path, packing: str) -> None:
    part = COMPRESS[packing](GOOD + b"\n")
    path = tmp_path / f"train.jsonl.{packing}"
    path.write_bytes(part + part[:-3])
    with pytest.raises(LogError, match="is cut off or damaged"):
        list(read_blocks(path))


@pytest.mark.parametrize("content", [GOOD + b"\n", b"\x00" * 64])
@pytest.mark.parametrize("packing", ["gz", "zst"])
def test_garbage_instead_of_a_compressed_file_is_refused(
    tmp_path: Path, packing: str, content: bytes
) -> None:
    path = tmp_path / f"train.jsonl.{packing}"
    path.write_bytes(content)
    with pytest.raises(LogError, match="is cut off or damaged"):
        list(read_blocks(path))


def test_flipped_byte_of_a_gz_is_refused(tmp_path: Path) -> None:
    whole = bytearray(gzip.compress(GOOD * 50))
    whole[len(whole) // 2] ^= 0xFF
    (tmp_path / "train.jsonl.gz").write_bytes(whole)
    with pytest.raises(LogError, match="is cut off or damaged"):
        list(read_blocks(tmp_path / "train.jsonl.gz"))


def test_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.mkdir()
    with pytest.raises(LogError, match=r"train\.jsonl: cannot be read \(Is a directory\)"):
        list(read_blocks(path))


# --- rows of good lines


@st.composite
def good_lines(draw: st.DrawFn, plain: bool) -> list[bytes]:
    """Lines as common writers make them, or also with other keys and in another order."""
    number = st.integers(-(2**63), 2**63 - 1) | st.integers(0, 9)
    event = st.tuples(number, st.integers(0, jsonl.LAST_TS - 1), st.sampled_from(TYPES))
    session = st.tuples(number, st.lists(event, min_size=1, max_size=3))
    more = st.just({}) if plain else st.sampled_from([{}, {"more": ["{"]}])
    styles = st.sampled_from([{}, {"separators": (",", ":")}, {"sort_keys": not plain}])
    lines = []
    for name, events in draw(st.lists(session, min_size=1, max_size=4)):
        value = json.loads(log_line(name, events)) | draw(more)
        lines.append(
            json.dumps(value, **draw(styles)).encode() + draw(st.sampled_from([b"", b" "]))
        )
    return lines


ENDS = st.sampled_from([b"\n", b"\r\n"])


def slow_rows(lines: list[bytes]) -> list[tuple[object, ...]]:
    return [
        (number, session["session"], event["aid"], event["ts"], event["type"], None)
        for number, session in enumerate(map(json.loads, lines))
        for event in session["events"]
    ]


def strict_rows(block: bytes) -> list[tuple[object, ...]]:
    """The rows of a block without the scanner."""
    return _parse_strict(enumerate(block.split(b"\n")), *INTEGERS).rows()


@given(lines=good_lines(plain=False), end=ENDS, final=st.booleans())
@settings(deadline=None, max_examples=100)
def test_every_event_of_good_lines_is_a_row(lines: list[bytes], end: bytes, final: bool) -> None:
    block = end.join(lines) + (end if final else b"")
    rows = parse_block(block, *INTEGERS)
    assert rows.rows() == strict_rows(block) == slow_rows(lines)
    assert rows.columns == PARSED.names()
    assert count_lines(block) == len(lines)


@given(lines=good_lines(plain=True), end=ENDS, final=st.booleans())
@settings(deadline=None, max_examples=100)
def test_plain_lines_are_scanned(lines: list[bytes], end: bytes, final: bool) -> None:
    scanned = scan_block(end.join(lines) + (end if final else b""), *INTEGERS)
    assert scanned.others == []
    assert [(*row, None) for row in scanned.events.rows()] == slow_rows(lines)


@st.composite
def mutated_blocks(draw: st.DrawFn) -> bytes:
    block = bytearray(b"\n".join(draw(good_lines(plain=True))))
    byte = st.sampled_from([*b'0123456789-.eE"\\{}[]:, \n\r\t\x00\xff']) | st.integers(0, 255)
    piece = st.lists(byte, max_size=2).map(bytes) | st.sampled_from(
        [b'"session":2,', b'"aid": 3, ', b'"ts":4,', b'"type": "carts", ', b"]}", b"9" * 19]
    )
    for _ in range(draw(st.integers(1, 3))):
        position = draw(st.integers(0, len(block)))
        length = draw(st.integers(0, 2))  # 0 inserts
        block[position : position + length] = draw(piece)
    return bytes(block) or b" "


@given(block=mutated_blocks() | st.binary(min_size=1, max_size=60))
@settings(deadline=None, max_examples=500)
def test_scanner_takes_no_line_that_the_complete_parser_reads_otherwise(block: bytes) -> None:
    assert parse_block(block, *INTEGERS).rows() == strict_rows(block)


@given(block=mutated_blocks() | st.binary(min_size=1, max_size=60))
@settings(deadline=None, max_examples=200)
def test_every_line_that_is_not_blank_has_events_or_a_reason(block: bytes) -> None:
    rows = parse_block(block, *INTEGERS)
    lines = block.split(b"\n")
    assert set(rows["line"]) == {number for number, line in enumerate(lines) if line.strip()}
    for *values, error in rows.drop("line").rows():
        assert (None in values) == (error is not None)
        assert values == [None] * 4 or None not in values


def test_line_that_is_not_plain_is_parsed_among_those_that_are() -> None:
    odd = b' {"events": [{"type": "carts", "ts": 3, "aid": 9}], "session": 1}'
    block = b"\n".join([GOOD, odd, GOOD])
    assert [number for number, _ in scan_block(block, *INTEGERS).others] == [1]
    assert parse_block(block, *INTEGERS).select("line", "item_id").rows() == [
        (0, 2),
        (1, 9),
        (2, 2),
    ]


def test_unsorted_events_keep_the_order_of_the_line() -> None:
    block = log_line(1, [(5, 30, "clicks"), (4, 10, "orders"), (3, 20, "carts")]).encode()
    assert parse_block(block, *INTEGERS)["ts"].to_list() == [30, 10, 20]


def test_blank_lines_are_no_sessions_but_count_as_lines() -> None:
    block = b"\n" + GOOD + b"\n  \r\n\n" + b"oops\n\n" + GOOD
    rows = parse_block(block, *INTEGERS)
    assert rows["line"].to_list() == [1, 4, 6]
    assert rows["error"].is_null().to_list() == [True, False, True]
    assert count_lines(block) == 7
    assert parse_block(GOOD + b"\n\n" + GOOD, *INTEGERS)["line"].to_list() == [0, 2]


# --- malformed lines


def event(aid: str = "2", ts: str = "3", kind: str = '"clicks"') -> bytes:
    text = f'{{"session": 1, "events": [{{"aid": {aid}, "ts": {ts}, "type": {kind}}}]}}'
    return text.encode()


MALFORMED = {
    "not JSON": (b"session 1", "JSON is malformed"),
    "cut off": (GOOD[:-5], "Input data was truncated"),
    "two objects": (GOOD + GOOD, "trailing characters"),
    "JSON array": (b"[" + GOOD + b"]", "Expected `object`, got `array`"),
    "null": (b"null", "Expected `object`, got `null`"),
    "no session": (b'{"events": [{"aid": 2, "ts": 3, "type": "clicks"}]}', "field `session`"),
    "no events key": (b'{"session": 1}', "required field `events`"),
    "empty events": (b'{"session": 1, "events": []}', "`array` of length >= 1 - at `$.events`"),
    "events object": (b'{"session": 1, "events": {}}', "got `object` - at `$.events`"),
    "null event": (b'{"session": 1, "events": [null]}', "got `null` - at `$.events[0]`"),
    "missing aid": (
        b'{"session": 1, "events": [{"ts": 3, "type": "clicks"}]}',
        "required field `aid` - at `$.events[0]`",
    ),
    "missing ts": (b'{"session": 1, "events": [{"aid": 2, "type": "clicks"}]}', "field `ts`"),
    "missing type": (b'{"session": 1, "events": [{"aid": 2, "ts": 3}]}', "field `type`"),
    "unknown type": (event(kind='"views"'), "'views' - at `$.events[0].type`"),
    "type in capitals": (event(kind='"Clicks"'), "'Clicks' - at `$.events[0].type`"),
    "null type": (event(kind="null"), "at `$.events[0].type`"),
    "negative ts": (event(ts="-1"), ">= 0 - at `$.events[0].ts`"),
    "float ts": (event(ts="3.5"), "got `float` - at `$.events[0].ts`"),
    "whole float ts": (event(ts="3.0"), "got `float` - at `$.events[0].ts`"),
    "string ts": (event(ts='"3"'), "got `str` - at `$.events[0].ts`"),
    "null ts": (event(ts="null"), "got `null` - at `$.events[0].ts`"),
    "leading zero": (event(ts="03"), "invalid number"),
    "leading zero of a negative": (event(aid="-03"), "invalid number"),
    "no digit": (event(aid="-"), "JSON is malformed"),
    "ts in microseconds": (event(ts="1661724000278000"), "at `$.events[0].ts`"),
    "ts of 2100": (event(ts=str(jsonl.LAST_TS)), "at `$.events[0].ts`"),
    "aid beyond 64 bits": (event(aid=str(2**63)), "at `$.events[0].aid`"),
    "aid far beyond 64 bits": (event(aid=str(2**70)), "at `$.events[0].aid`"),
    "session beyond 64 bits": (
        GOOD.replace(b'"session": 1', b'"session": %d' % -(2**63 + 1)),
        "at `$.session`",
    ),
    "float aid": (event(aid="2.0"), "got `float` - at `$.events[0].aid`"),
    "string aid": (event(aid='"a"'), "aid 'a' is not integer as the first session's is"),
    "string session": (GOOD.replace(b"1", b'"1"'), "session '1' is not integer"),
    "not UTF-8": (event(kind='"?"').replace(b"?", b"\xff\xfe"), "'utf-8' codec can't decode"),
    "not UTF-8 id": (event(aid='"?"').replace(b"?", b"\xff"), "'utf-8' codec can't decode"),
    "byte order mark": (b"\xef\xbb\xbf" + GOOD, "invalid character (byte 0)"),
    "nested without end": (b'{"session": 1, "x": ' + b"[" * 100_000, "recursion"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_line_is_set_aside_with_its_reason(name: str) -> None:
    line, reason = MALFORMED[name]
    rows = parse_block(GOOD + b"\n" + line + b"\n" + GOOD, *INTEGERS)
    assert rows["line"].to_list() == [0, 1, 2]
    assert rows["error"].is_null().to_list() == [True, False, True]
    error = rows["error"][1]
    assert reason in error
    assert rows.drop("line", "error").row(1) == (None,) * 4


@pytest.mark.parametrize("value", [0, jsonl.LAST_TS - 1])
def test_first_and_last_possible_ts_are_good(value: int) -> None:
    assert parse_block(event(ts=str(value)), *INTEGERS)["ts"].to_list() == [value]


def test_reason_shows_the_beginning_of_the_line() -> None:
    rows = parse_block(b"x" * 500, *INTEGERS)
    assert rows["error"][0].endswith(": " + "x" * jsonl.EXCERPT + "…")
    assert parse_block(b"short\r", *INTEGERS)["error"][0].endswith(": short")


# --- ids that are strings


@pytest.mark.parametrize("aid", ["a b", "a,b", 'say "a"', "a\nb", "a\rb", "a\tb"])
def test_item_id_that_a_submission_cannot_carry_is_set_aside(aid: str) -> None:
    block = "\n".join([log_line("s", [("a", 1, "clicks")]), log_line("t", [(aid, 1, "clicks")])])
    rows = parse_block(block.encode(), "string", "string")
    assert rows["item_id"].to_list() == ["a", None]
    assert f"aid {aid!r} has a character that a submission cannot carry" in rows["error"][1]


def test_session_id_that_a_submission_cannot_carry_is_set_aside() -> None:
    rows = parse_block(log_line("s 1", [("a", 1, "clicks")]).encode(), "string", "string")
    assert "session 's 1' has a character" in rows["error"][0]


def test_string_ids_are_taken_as_they_are() -> None:
    names = ["größe", "🛒", "a_b", "007", "a'b"]
    block = "\n".join(log_line(name, [(name, 1, "clicks")]) for name in names).encode()
    rows = parse_block(block, "string", "string")
    assert rows["item_id"].to_list() == rows["session_id"].to_list() == names
    assert rows["error"].null_count() == len(names)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (log_line(1, [("a", 1, "clicks")]), "session 1 is not string"),
        (log_line("s", [("a", 1, "clicks"), (7, 1, "clicks")]), "aid 7 is not string"),
        (log_line("", [("a", 1, "clicks")]), "length >= 1 - at `$.session`"),
        (log_line("s", [("", 1, "clicks")]), "length >= 1 - at `$.events[0].aid`"),
    ],
)
def test_other_or_empty_ids_among_strings_are_set_aside(line: str, reason: str) -> None:
    rows = parse_block(line.encode(), "string", "string")
    assert rows.height == 1
    assert reason in rows["error"][0]


@pytest.mark.parametrize(
    ("session", "aid", "types"),
    [
        (1, 2, ("integer", "integer")),
        (1, "b", ("integer", "string")),
        ("a", 2, ("string", "integer")),
        ("a", "b", ("string", "string")),
    ],
)
def test_first_good_line_decides_the_type_of_ids(
    tmp_path: Path, session: int | str, aid: int | str, types: tuple[str, str]
) -> None:
    path = tmp_path / "train.jsonl"
    good = log_line(session, [(aid, 1, "clicks")])
    path.write_text(f"\nnot JSON\n{good}\n{GOOD.decode()}\n")
    assert peek_id_types(path) == types
    rows = parse_block(good.encode(), *peek_id_types(path))
    assert rows.select("session_id", "item_id").row(0) == (session, aid)


@pytest.mark.parametrize("content", [b"\n\n", b"{}\n{}\n", b"[" * 100_000])
def test_file_without_any_session_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "train.jsonl"
    path.write_bytes(content)
    with pytest.raises(LogError, match=r"none of its first \d lines is a session like") as error:
        peek_id_types(path)
    assert str(error.value).startswith(f"{path}: ")
