import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otto_pipeline.events import jsonl
from otto_pipeline.events.errors import LogError
from otto_pipeline.events.jsonl import (
    _parse_strict,
    count_lines,
    parse_block,
    peek_id_types,
    scan_block,
)
from otto_pipeline.schemas import PARSED, TYPES
from otto_pipeline_tests.building import log_line

INTEGERS = ("integer", "integer")
GOOD = log_line(1, [(2, 3, "clicks")]).encode()

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
@settings(max_examples=100)
def test_every_event_of_good_lines_is_a_row(lines: list[bytes], end: bytes, final: bool) -> None:
    block = end.join(lines) + (end if final else b"")
    rows = parse_block(block, *INTEGERS)
    assert rows.rows() == strict_rows(block) == slow_rows(lines)
    assert rows.columns == PARSED.names()
    assert count_lines(block) == len(lines)


@given(lines=good_lines(plain=True), end=ENDS, final=st.booleans())
@settings(max_examples=100)
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
@settings(max_examples=500)
def test_scanner_takes_no_line_that_the_complete_parser_reads_otherwise(block: bytes) -> None:
    assert parse_block(block, *INTEGERS).rows() == strict_rows(block)


@given(block=mutated_blocks() | st.binary(min_size=1, max_size=60))
@settings(max_examples=200)
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
