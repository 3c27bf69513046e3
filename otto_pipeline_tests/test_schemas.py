import polars as pl
import pytest

from otto_pipeline import schemas
from otto_pipeline.orchestration.assets import ARTIFACTS
from otto_pipeline.orchestration.checks import table_failures
from otto_pipeline.schemas import (
    COVISITATION,
    EVENTS,
    ITEMS,
    LABELS,
    PARSED,
    PREDICTIONS,
    QUARANTINE,
    SESSIONS,
    Table,
    candidates_table,
)

NAMED = {name: value for name, value in vars(schemas).items() if isinstance(value, Table)}
TABLES = {
    **NAMED,
    **{artifact.path: artifact.table for artifact in ARTIFACTS},
    "candidates": candidates_table(["history", "popular"]),
}


def of(table: Table, *rows: tuple) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=table.empty().schema, orient="row")


CANDIDATES = candidates_table(["history"])
VALID = {
    "items": (ITEMS, of(ITEMS, (0, 7, 100), (1, 9, 50))),
    "events": (EVENTS, of(EVENTS, (0, 1, 5, "clicks"), (0, 1, 5, "clicks"), (2, 0, 0, "orders"))),
    "sessions": (
        SESSIONS,
        of(SESSIONS, (0, 11, 2, 5, 6, False, 2**64 - 1, 0), (1, 5, 1, 0, 0, True, 0, 3)),
    ),
    "labels": (LABELS, of(LABELS, (0, "clicks", 3), (0, "carts", 3), (4, "carts", 1))),
    "covisitation": (COVISITATION, of(COVISITATION, (0, 1, 2.5, 1), (0, 2, 0.0, 2))),
    "predictions": (
        PREDICTIONS,
        of(PREDICTIONS, (0, "clicks", 3, -1.5, 1), (0, "clicks", 4, -2.0, 20)),
    ),
    "candidates": (
        CANDIDATES,
        of(CANDIDATES, (0, 3, 1, 0.5, 1.0, 1.0), (0, 4, None, None, 0.5, 0.4)),
    ),
    "parsed": (
        PARSED,
        of(PARSED, (0, 1, 2, 3, "carts", None), (1, None, None, None, None, "is not JSON")),
    ),
}

LATER_TYPE_FIRST = pl.Series("type", ["carts", "clicks"], schemas.EVENT_TYPE)


@pytest.mark.parametrize("name", VALID)
def test_valid_frame_passes(name: str) -> None:
    table, frame = VALID[name]
    assert table_failures(table, frame) == []


@pytest.mark.parametrize("name", TABLES)
def test_empty_frame_passes(name: str) -> None:
    assert table_failures(TABLES[name], TABLES[name].empty()) == []


def test_string_ids_pass_where_ids_may_be_either() -> None:
    frame = VALID["items"][1].with_columns(pl.col("item_id").cast(pl.String))
    assert table_failures(ITEMS, frame) == []


@pytest.mark.parametrize(
    ("name", "change", "column", "complaint"),
    [
        ("items", pl.col("aid").cast(pl.Int64), "aid", "Int32"),
        ("items", pl.col("item_id").cast(pl.Float64), "item_id", "one of Int64, String"),
        ("items", pl.lit(None, pl.Int64).alias("item_id"), "item_id", "null"),
        ("items", pl.col("first_seen") - 51, "first_seen", "greater_than_or_equal_to(0)"),
        ("items", pl.lit(0, pl.Int32).alias("aid"), "aid", "unique"),
        ("items", pl.col("aid").reverse(), "aid", "ordered by aid"),
        ("events", pl.col("type").cast(pl.String), "type", "Enum"),
        ("events", pl.col("session").reverse(), "ts", "ordered by session, ts"),
        ("events", pl.Series("ts", [6, 5, 0]), "ts", "ordered by session, ts"),
        ("events", -pl.col("aid"), "aid", "greater_than_or_equal_to(0)"),
        ("sessions", pl.col("n_events") - 1, "n_events", "greater_than_or_equal_to(1)"),
        ("sessions", pl.col("hash").cast(pl.Float64), "hash", "UInt64"),
        ("sessions", pl.lit(None, pl.Boolean).alias("is_test"), "is_test", "null"),
        ("labels", pl.lit("carts", schemas.EVENT_TYPE).alias("type"), "session", "unique"),
        ("covisitation", pl.col("rank") - 1, "rank", "greater_than_or_equal_to(1)"),
        ("covisitation", pl.lit(2, pl.Int32).alias("neighbour"), "neighbour", "unique"),
        ("covisitation", pl.col("rank").reverse(), "rank", "ordered by aid, rank"),
        ("labels", pl.col("session").reverse(), "aid", "ordered by session, type, aid"),
        ("labels", pl.lit(0, pl.Int32).alias("session"), "aid", "ordered by session, type, aid"),
        ("predictions", LATER_TYPE_FIRST, "rank", "ordered by session, type, rank"),
        ("predictions", pl.col("rank") + 1, "rank", "less_than_or_equal_to(20)"),
        ("candidates", pl.lit(None, pl.Float32).alias("pre_score"), "pre_score", "null"),
        ("candidates", pl.col("history_rank").cast(pl.UInt8), "history_rank", "UInt16"),
        ("parsed", pl.col("line").reverse(), "line", "ordered by line"),
    ],
)
def test_violation_is_reported_with_its_column(
    name: str, change: pl.Expr | pl.Series, column: str, complaint: str
) -> None:
    table, frame = VALID[name]
    failures = table_failures(table, frame.with_columns(change))
    assert any(column in failure and complaint in failure for failure in failures), failures


@pytest.mark.parametrize(
    "frame",
    [
        VALID["items"][1].drop("first_seen"),
        VALID["items"][1].with_columns(more=1),
        VALID["items"][1].select("item_id", "aid", "first_seen"),
    ],
    ids=["missing", "extra", "other order"],
)
def test_other_columns_are_reported(frame: pl.DataFrame) -> None:
    assert table_failures(ITEMS, frame) == [
        f"columns are {frame.columns} instead of {ITEMS.names()}"
    ]


def test_same_line_of_two_files_is_no_repetition() -> None:
    rows = ("a.jsonl", 1, "?"), ("b.jsonl", 1, "?")
    assert table_failures(QUARANTINE, of(QUARANTINE, *rows)) == []
    assert table_failures(QUARANTINE, of(QUARANTINE, rows[0], rows[0])) != []


@pytest.mark.parametrize("name", TABLES)
def test_every_row_and_column_is_described(name: str) -> None:
    table = TABLES[name]
    assert table.row.endswith(".")
    for column in table.columns:
        assert column.description.endswith("."), column.name
    assert len(set(table.names())) == len(table.columns)
    assert {*table.unique, *table.order} <= set(table.names())


def test_no_two_tables_have_the_same_row() -> None:
    rows = [table.row for table in NAMED.values()]
    assert len(set(rows)) == len(rows)
