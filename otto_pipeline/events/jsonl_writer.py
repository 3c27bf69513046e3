"""Session events and labels in, the JSON lines of OTTO's file format out, one line a session.

The lines equal Python's ``json.dumps`` byte for byte, so they can be compared with the files that
the dataset repository's own scripts write (https://github.com/otto-de/recsys-dataset). Integer ids
are written by a kernel, strings by Polars expressions.
"""

import json

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray

from otto_pipeline.schemas import EVENT_TYPE, TYPES

# what json.dumps escapes: quote, backslash and all but printable ASCII
NEEDS_ESCAPE = r'["\\]|[^ -~]'


def session_lines(events: pl.DataFrame) -> bytes:
    """Return one line per session, each with its line break, in order of appearance.

    ``events`` has one row per event: session (an integer that tells sessions apart), session_id
    (what is written, an integer or string), aid (integer or string), ts (ms) and type ("clicks",
    "carts", "orders"). The rows of a session follow each other; their order is kept.
    """
    if events.schema["session_id"].is_integer() and events.schema["aid"].is_integer():
        return _integer_lines(events)
    return _joined(_any_lines(events))


def label_lines(sessions: pl.DataFrame, labels: pl.DataFrame) -> bytes:
    """Return one line per session, each with its line break; a type without a label is left out.

    ``sessions`` has one row per line: session (an integer) and session_id (what is written).
    ``labels`` has the rows of `split.labels_of`: session, type, aid, in the order of the three; at
    most one of a session is "clicks".
    """
    items = (
        labels.select("session", "type", item=_json(pl.col("aid")))
        .group_by("session", "type", maintain_order=True)
        .agg(pl.col("item").str.join(", "))
    )
    several = pl.format("[{}]", "item")
    value = pl.when(pl.col("type") == "clicks").then(pl.col("item")).otherwise(several)
    entries = (
        items.select("session", entry=pl.format('"{}": {}', "type", value))
        .group_by("session", maintain_order=True)
        .agg(pl.col("entry").str.join(", "))
    )
    lines = sessions.join(entries, on="session", how="left", maintain_order="left").select(
        pl.concat_str(
            pl.lit('{"session": '),
            _json(pl.col("session_id")),
            pl.lit(', "labels": {'),
            pl.col("entry").fill_null(""),
            pl.lit("}}"),
        )
    )
    return _joined(lines.to_series())


def _joined(lines: pl.Series) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def _any_lines(events: pl.DataFrame) -> pl.Series:
    # the braces and the key "aid" stand between the events, so that joining writes them
    event = pl.format('{}, "ts": {}, "type": "{}', _json(pl.col("aid")), "ts", "type")
    return (
        events.select("session", "session_id", event=event)
        .group_by("session", maintain_order=True)
        .agg(pl.col("session_id").first(), pl.col("event").str.join('"}, {"aid": '))
        .select(
            pl.concat_str(
                pl.lit('{"session": '),
                _json(pl.col("session_id")),
                pl.lit(', "events": [{"aid": '),
                "event",
                pl.lit('"}]}'),
            )
        )
        .to_series()
    )


def _json(value: pl.Expr) -> pl.Expr:
    return value.map_batches(_json_values, return_dtype=pl.String)


def _json_values(values: pl.Series) -> pl.Series:
    """Write integers as they are and strings in quotes, null as null."""
    if values.dtype != pl.String:
        return values.cast(pl.String)
    # ids are nearly always plain, so that only the few distinct others pass through Python
    special = values.filter(values.str.contains(NEEDS_ESCAPE)).unique().to_list()
    escaped = [json.dumps(value)[1:-1] for value in special]
    plain = values.replace(special, escaped) if special else values
    return '"' + plain + '"'


def _integer_lines(events: pl.DataFrame) -> bytes:
    # room for the most there can be: what is not written to takes no memory
    text = np.empty(len(events) * (LONGEST_START + LONGEST_EVENT), np.uint8)
    session, session_id, aid, ts = (
        events[name].cast(pl.Int64).to_numpy() for name in ("session", "session_id", "aid", "ts")
    )
    kind = events["type"].cast(EVENT_TYPE).to_physical().to_numpy()
    return text[: _write(text, session, session_id, aid, ts, kind)].tobytes()


# --- the kernel: one walk over the events, about 30 ns for each -----------------------------------
#
# `text` takes the lines. A function takes the position at which it writes, and returns the one
# after what it wrote.

MOST_DIGITS = 19
ZERO, MINUS = np.uint8(ord("0")), np.uint8(ord("-"))
TEN = np.uint64(10)


def _bytes(literal: str) -> NDArray[np.uint8]:
    return np.frombuffer(literal.encode(), np.uint8)


SESSION, EVENTS, AID, TS = map(_bytes, ('{"session": ', ', "events": [', '{"aid": ', ', "ts": '))
CLICKS, CARTS, ORDERS = (_bytes(f', "type": "{name}"}}') for name in TYPES)
NEXT, END = _bytes(", "), _bytes("]}\n")
LONGEST_START = len(SESSION) + 1 + MOST_DIGITS + len(EVENTS) + len(END)
LONGEST_EVENT = len(NEXT) + len(AID) + len(TS) + 2 * (1 + MOST_DIGITS) + len(CLICKS)


@njit(cache=True, nogil=True)
def _write(
    text: NDArray[np.uint8],
    session: NDArray[np.int64],
    session_id: NDArray[np.int64],
    aid: NDArray[np.int64],
    ts: NDArray[np.int64],
    kind: NDArray[np.uint8],
) -> int:
    at = 0
    for i in range(len(session)):
        if i > 0 and session[i] == session[i - 1]:
            at = _put(text, at, NEXT)
        else:
            at = _put(text, at, END) if i > 0 else at
            at = _put(text, at, SESSION)
            at = _put_integer(text, at, session_id[i])
            at = _put(text, at, EVENTS)
        at = _put(text, at, AID)
        at = _put_integer(text, at, aid[i])
        at = _put(text, at, TS)
        at = _put_integer(text, at, ts[i])
        if kind[i] == 0:
            at = _put(text, at, CLICKS)
        elif kind[i] == 1:
            at = _put(text, at, CARTS)
        else:
            at = _put(text, at, ORDERS)
    return _put(text, at, END) if len(session) else at


@njit(cache=True, nogil=True, inline="always")
def _put(text: NDArray[np.uint8], at: int, literal: NDArray[np.uint8]) -> int:
    for i in range(len(literal)):
        text[at + i] = literal[i]
    return at + len(literal)


@njit(cache=True, nogil=True)
def _put_integer(text: NDArray[np.uint8], at: int, value: int) -> int:
    if value < 0:
        text[at] = MINUS
        at += 1
    rest = np.uint64(-value if value < 0 else value)  # also right where -value overflows
    end = at + 1
    bound = TEN
    while end - at < MOST_DIGITS and rest >= bound:
        bound *= TEN
        end += 1
    for i in range(end - 1, at - 1, -1):
        text[i] = ZERO + np.uint8(rest % TEN)
        rest //= TEN
    return end
