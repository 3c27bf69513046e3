"""The plain lines of a block of OTTO's JSONL, read at about 1 ns a byte.

A plain line is what common writers make of a session with integer ids: OTTO's keys and no other,
in OTTO's order, at most one space after a colon or comma, and values in the ranges that a log may
have. Every other line is left to a complete parser: what is taken here is right, and what is
unknown here costs time only.
"""

from typing import NamedTuple

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray

from otto_pipeline.schemas import EVENT_TYPE, TYPES

SHORTEST_EVENT = len('{"aid":1,"ts":1,"type":"carts"}')


class Scanned(NamedTuple):
    """Events of a block's plain lines, and its other lines that are not empty.

    `events` has the columns line (counted from 0), session_id, item_id, ts, type, in the order of
    the block. `others` are the numbers of lines and their bytes.
    """

    events: pl.DataFrame
    others: list[tuple[int, bytes]]


def scan(block: bytes, last_ts: int) -> Scanned:
    """Read the plain lines of a block of whole lines; their times lie in [0, last_ts)."""
    # room for the most there can be: what is not written to takes no memory
    most_events = len(block) // SHORTEST_EVENT + 1
    line, session, aid, ts = (np.empty(most_events, np.int64) for _ in range(4))
    kind = np.empty(most_events, np.uint8)
    others = np.empty((len(block) // 2 + 1, 2), np.int64)
    text = np.frombuffer(block + b"\0", np.uint8)
    n, n_others = _scan(text, last_ts, line, session, aid, ts, kind, others)
    events = pl.DataFrame(
        {
            "line": line[:n],
            "session_id": session[:n],
            "item_id": aid[:n],
            "ts": ts[:n],
            "type": kind[:n],
        }
    )
    return Scanned(
        events.with_columns(pl.col("type").cat.to(EVENT_TYPE)),
        [(number, _line_at(block, start)) for number, start in others[:n_others].tolist()],
    )


def _line_at(block: bytes, start: int) -> bytes:
    end = block.find(b"\n", start)
    return block[start:] if end < 0 else block[start:end]


# --- the kernel: one walk over the bytes ---------------------------------------------------------
#
# `text` ends with a byte 0, which nothing matches, so that no function reads beyond it. A function
# takes the position from which it reads, and returns the one after what it read, or NO. A position
# NO passes through the functions: the text there is that byte 0.

NO = -1
LARGEST = np.uint64(2**63 - 1)
MOST_DIGITS = 19
NEWLINE, RETURN, SPACE, COMMA, MINUS, ZERO, NINE = (np.uint8(byte) for byte in b"\n\r ,-09")


def _bytes(literal: str) -> NDArray[np.uint8]:
    return np.frombuffer(literal.encode(), np.uint8)


SESSION, EVENTS, FIRST, AID = map(_bytes, ('{"session":', '"events":', "[", '{"aid":'))
NEXT, TS, TYPE, END_OF_EVENT, END = map(_bytes, (",", '"ts":', '"type":', "}", "]}"))
CLICKS, CARTS, ORDERS = (_bytes(f'"{name}"') for name in TYPES)


@njit(cache=True, nogil=True)
def _scan(
    text: NDArray[np.uint8],
    last_ts: int,
    line: NDArray[np.int64],
    session: NDArray[np.int64],
    aid: NDArray[np.int64],
    ts: NDArray[np.int64],
    kind: NDArray[np.uint8],
    others: NDArray[np.int64],
) -> tuple[int, int]:
    """Fill the columns of events, and `others` with lines' numbers and positions; count both."""
    size = len(text) - 1
    n = n_others = number = start = 0
    while start < size:
        first = n
        name, at = _integer(text, _literal(text, start, SESSION))
        at = _literal(text, _comma(text, at), EVENTS)
        at = _literal(text, _space(text, at), FIRST)
        more = at != NO
        while more:
            item, moment, code, at = _event(text, at, last_ts)
            if at == NO:
                break
            line[n], session[n], aid[n], ts[n], kind[n] = number, name, item, moment, code
            n += 1
            more = text[at] == COMMA
            at = _comma(text, at) if more else at
        at = _end_of_line(text, _literal(text, at, END), size)
        if at == NO:
            n = first
            if text[start] != NEWLINE:
                others[n_others, 0], others[n_others, 1] = number, start
                n_others += 1
            at = _next_line(text, start, size)
        start = at
        number += 1
    return n, n_others


@njit(cache=True, nogil=True, inline="always")
def _event(text: NDArray[np.uint8], at: int, last_ts: int) -> tuple[np.int64, np.int64, int, int]:
    item, at = _integer(text, _literal(text, at, AID))
    moment, at = _integer(text, _literal(text, _comma(text, at), TS))
    at = _literal(text, _comma(text, at), TYPE)
    code, at = _kind(text, _space(text, at))
    at = _literal(text, at, END_OF_EVENT)
    return item, moment, code, at if 0 <= moment < last_ts else NO


@njit(cache=True, nogil=True, inline="always")
def _literal(text: NDArray[np.uint8], at: int, literal: NDArray[np.uint8]) -> int:
    for i in range(len(literal)):
        if text[at + i] != literal[i]:
            return NO
    return at + len(literal)


@njit(cache=True, nogil=True, inline="always")
def _space(text: NDArray[np.uint8], at: int) -> int:
    return at + (text[at] == SPACE)


@njit(cache=True, nogil=True, inline="always")
def _comma(text: NDArray[np.uint8], at: int) -> int:
    at = _literal(text, at, NEXT)
    return _space(text, at)


@njit(cache=True, nogil=True)
def _integer(text: NDArray[np.uint8], at: int) -> tuple[np.int64, int]:
    """An integer of 64 bits as JSON writes it, after at most one space."""
    at = _space(text, at)
    negative = text[at] == MINUS
    first = at + negative
    end = first
    value = np.uint64(0)
    while ZERO <= text[end] <= NINE:
        value = value * np.uint64(10) + np.uint64(text[end] - ZERO)
        end += 1
    digits = end - first
    leading_zero = text[first] == ZERO and (digits > 1 or negative)
    if digits == 0 or digits > MOST_DIGITS or leading_zero or value > LARGEST + np.uint64(negative):
        return np.int64(0), NO
    return (-np.int64(value) if negative else np.int64(value)), end


@njit(cache=True, nogil=True, inline="always")
def _kind(text: NDArray[np.uint8], at: int) -> tuple[int, int]:
    clicks, carts = _literal(text, at, CLICKS), _literal(text, at, CARTS)
    if clicks != NO:
        return 0, clicks
    if carts != NO:
        return 1, carts
    return 2, _literal(text, at, ORDERS)


@njit(cache=True, nogil=True)
def _end_of_line(text: NDArray[np.uint8], at: int, size: int) -> int:
    while text[at] == SPACE or text[at] == RETURN:
        at += 1
    if text[at] == NEWLINE:
        return at + 1
    return size if at == size else NO


@njit(cache=True, nogil=True)
def _next_line(text: NDArray[np.uint8], at: int, size: int) -> int:
    while at < size and text[at] != NEWLINE:
        at += 1
    return min(at + 1, size)
