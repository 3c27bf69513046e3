"""The official score of a submission: two files in, recall@k of each target and the total out.

Gives what `evaluate.py` of https://github.com/otto-de/recsys-dataset gives, from the same files:
`test_labels.jsonl`, and a CSV with a header and lines like `12899779_clicks,129004 126836`. Both
are read in blocks, and of the predictions only the items that are labels are kept, so that memory
grows with the labels.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec
import polars as pl

from otto_pipeline.events.jsonl import (
    EXCERPT,
    PARSED,
    IdType,
    Number,
    Text,
    count_lines,
    read_blocks,
)
from otto_pipeline.metrics import hits_by_session, recalls, scores
from otto_pipeline.schemas import EVENT_TYPE, TOP_K, TYPES

SessionId = TypeVar("SessionId")
ItemId = TypeVar("ItemId")

JSON_ID: dict[IdType, Any] = {"integer": Number, "string": Text}
"""What an id may be in the labels."""
CSV_ID: dict[IdType, str] = {"integer": "-?[0-9]+", "string": "[^ ,]+"}
"""What an id may be in the predictions, as a regular expression."""


class EvaluationError(ValueError):
    """A line of the labels or of the predictions is malformed."""


class _Labels(msgspec.Struct, Generic[ItemId], forbid_unknown_fields=True):
    clicks: ItemId | None = None
    carts: list[ItemId] = []
    orders: list[ItemId] = []


class _Session(msgspec.Struct, Generic[SessionId, ItemId]):
    session: SessionId
    labels: _Labels[ItemId]


def official_score(
    test_labels: Path, predictions: Path, *, k: int = TOP_K
) -> dict[str, float | None]:
    """Recall@k of clicks, carts and orders, and their weighted total.

    The first line of `predictions` is skipped unread. Of repeated keys the last counts, in both
    files. What has labels and no prediction is missed; what is predicted and has no labels is
    ignored. A target without labels has the score None, and the total is over the others.

    Raises:
        EvaluationError: a line is malformed; names the file, the line and the value.
    """
    session_ids, item_ids = _id_types(test_labels)
    labels = _read_labels(test_labels, session_ids, item_ids)
    hits = _read_hits(predictions, labels, session_ids, item_ids, k)
    return scores(recalls(hits_by_session(labels, hits, k, item="item")))


def _id_types(test_labels: Path) -> tuple[IdType, IdType]:
    """Types of the session ids and the item ids: the first of each decides.

    Where there is none, strings: any prediction is well-formed beside them.
    """
    any_id = _decoder(Number | Text, Number | Text)
    lines = _decode(any_id, next(read_blocks(test_labels), b""), test_labels, lines_before=0)
    sessions = (line.session for line in lines)
    items = (
        item
        for line in lines
        for item in (line.labels.clicks, *line.labels.carts, *line.labels.orders)
        if item is not None
    )
    return _type_of(next(sessions, "")), _type_of(next(items, ""))


def _type_of(value: int | str) -> IdType:
    return "integer" if isinstance(value, int) else "string"


def _read_labels(path: Path, session_ids: IdType, item_ids: IdType) -> pl.DataFrame:
    """Distinct rows (session, type, item)."""
    decoder = _decoder(JSON_ID[session_ids], JSON_ID[item_ids])
    sessions = [pl.DataFrame(schema={"line": pl.Int64, "session": PARSED[session_ids]})]
    labels = [pl.DataFrame(schema={"line": pl.Int64, "type": EVENT_TYPE, "item": PARSED[item_ids]})]
    lines_before = 0
    for block in read_blocks(path):
        lines = _decode(decoder, block, path, lines_before)
        numbers = range(lines_before, lines_before + len(lines))
        ids = [line.session for line in lines]
        sessions.append(pl.DataFrame({"line": numbers, "session": ids}, sessions[0].schema))
        labels += [_label_rows(lines, numbers, name, labels[0].schema) for name in TYPES]
        lines_before += count_lines(block)
    last_lines = pl.concat(sessions).unique("session", keep="last")
    return pl.concat(labels).join(last_lines, on="line").select("session", "type", "item").unique()


def _label_rows(
    lines: list[_Session], numbers: range, name: str, schema: pl.Schema
) -> pl.DataFrame:
    """Rows (line, type, item): the labels of one type."""
    items_of_lines = [_items(line.labels, name) for line in lines]
    columns = {
        "line": [n for n, items in zip(numbers, items_of_lines, strict=True) for _ in items],
        "item": [item for items in items_of_lines for item in items],
    }
    frame = pl.DataFrame(columns, {"line": schema["line"], "item": schema["item"]})
    return frame.select("line", pl.lit(name, schema["type"]).alias("type"), "item")


def _items(labels: _Labels, name: str) -> list[Any]:
    """The labels of one type. A click on 0 is none: the official script tests for truth."""
    if name == "clicks":
        return [labels.clicks] if labels.clicks else []
    return getattr(labels, name)


def _decoder(session_id: Any, item_id: Any) -> msgspec.json.Decoder[Any]:
    session: Any = _Session
    return msgspec.json.Decoder(session[session_id, item_id])


def _decode(
    decoder: msgspec.json.Decoder[Any], block: bytes, path: Path, lines_before: int
) -> list[Any]:
    """The sessions on the lines of a block; blank lines are left out."""
    sessions = []
    for number, line in enumerate(block.split(b"\n"), start=lines_before + 1):
        if not line.strip():
            continue
        try:
            sessions.append(decoder.decode(line))
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise _error(path, number, str(error), line.decode(errors="replace")) from error
    return sessions


def _read_hits(
    path: Path, labels: pl.DataFrame, session_ids: IdType, item_ids: IdType, k: int
) -> pl.DataFrame:
    """Rows (session, type, item, rank) of the predicted items that are labels, ranks from 1."""
    keys = [pl.DataFrame(schema={**labels.select("session", "type").schema, "line": pl.Int64})]
    hits = [pl.DataFrame(schema={**labels.schema, "line": pl.Int64, "rank": pl.Int64})]
    for lines in _prediction_lines(path, session_ids, item_ids):
        predicted = _split_keys(lines, labels.schema)
        # the few labels of a block first: the joins after this one are small
        wanted = labels.join(predicted, on=["session", "type"], how="semi")
        predicted = predicted.join(wanted, on=["session", "type"], how="semi")
        keys.append(predicted.select("session", "type", "line"))
        items = _split_items(predicted, labels.schema["item"], k)
        hits.append(items.join(wanted, on=["session", "type", "item"], how="semi"))
    last_lines = pl.concat(keys).group_by("session", "type").agg(pl.col("line").max())
    return pl.concat(hits).join(last_lines, on=["session", "type", "line"], how="semi").drop("line")


def _prediction_lines(path: Path, session_ids: IdType, item_ids: IdType) -> Iterator[pl.DataFrame]:
    """Blocks of rows (line, text): well-formed lines after the header, blank ones left out."""
    item = CSV_ID[item_ids]
    pattern = f"^{CSV_ID[session_ids]}_(?:{'|'.join(TYPES)}),(?:{item}(?: {item})*)?$"
    lines_before = 0
    for block in read_blocks(path):
        text = pl.Series("text", [block.decode(errors="replace")]).str.split("\n").explode()
        lines = (
            text.str.strip_chars()
            .to_frame()
            .select(pl.int_range(1, pl.len() + 1).alias("line") + lines_before, "text")
            .filter((pl.col("line") > 1) & (pl.col("text") != ""))
        )
        malformed = lines.filter(~pl.col("text").str.contains(pattern))
        if not malformed.is_empty():
            number, line = malformed.row(0)
            raise _error(path, number, _what_is_wrong(line, session_ids, item_ids), line)
        yield lines
        lines_before += count_lines(block)


def _split_keys(lines: pl.DataFrame, schema: pl.Schema) -> pl.DataFrame:
    """Rows (line, session, type, items): the key in its parts, the items still one text."""
    parts = lines.select("line", part=pl.col("text").str.split_exact(",", 1)).unnest("part")
    return parts.select(
        "line",
        # a session id may hold underscores itself
        session=pl.col("field_0").str.replace("_[a-z]+$", "").cast(schema["session"], strict=False),
        type=pl.col("field_0").str.extract("_([a-z]+)$").cast(EVENT_TYPE),
        items=pl.col("field_1"),
    )


def _split_items(predicted: pl.DataFrame, dtype: pl.DataType, k: int) -> pl.DataFrame:
    """Rows (session, type, item, line, rank) of each line's first k items."""
    items = pl.col("items").str.split(" ").list.head(k)
    return (
        predicted.filter(pl.col("items") != "")
        .select("session", "type", "line", item=items)
        .with_columns(rank=pl.int_ranges(1, pl.col("item").list.len() + 1, dtype=pl.Int64))
        .explode("item", "rank")
        .select("session", "type", pl.col("item").cast(dtype, strict=False), "line", "rank")
    )


def _what_is_wrong(line: str, session_ids: IdType, item_ids: IdType) -> str:
    """The reason why a line of the predictions is malformed."""
    key, comma, items = line.partition(",")
    session, _, target = key.rpartition("_")
    if not comma:
        return "has no comma between session_type and labels"
    if target not in TYPES:
        return f"type {target!r} is none of {', '.join(TYPES)}"
    if not re.fullmatch(CSV_ID[session_ids], session):
        return f"session {session!r} is not {session_ids}, as those of the labels are"
    wrong = [item for item in items.split(" ") if not re.fullmatch(CSV_ID[item_ids], item)]
    return f"item {wrong[0]!r} is not {item_ids}, as those of the labels are"


def _error(path: Path, number: int, reason: str, line: str) -> EvaluationError:
    return EvaluationError(f"{path}: line {number}: {reason}: {line.strip()[:EXCERPT]}")
