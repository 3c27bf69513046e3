"""The user's file of items that may not always be recommended → one row an item.

CSV or Parquet with the columns `item_id`, as in the log, and at least one of `allowed` (yes or no;
empty: yes), `from` and `until` (days or moments, UTC): an item is recommended from `from` on and
before `until`, when it goes out of stock. What is not listed is allowed.
"""

from pathlib import Path

import polars as pl

from otto_pipeline.events.errors import LogError

SETTING = "OTTO_ELIGIBILITY_FILE"
ITEM, ALLOWED, FROM, UNTIL = COLUMNS = ("item_id", "allowed", "from", "until")
YES, NO = ("yes", "true", "1"), ("no", "false", "0")
DAY, MOMENTS = "%Y-%m-%d", ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M")


def read_eligibility(path: Path) -> pl.DataFrame:
    """Columns item_id (text), allowed (bool), from and until (ms since 1970 UTC, null: no limit).

    Raises:
        LogError: names file, line, value and what to do.
    """
    table = _read(path)
    _check_columns(path, table.columns)
    rows = table.select(
        pl.int_range(pl.len()).alias("line") + (1 if path.suffix == ".parquet" else 2),
        pl.col(ITEM).cast(pl.String).str.strip_chars(),
        *(
            pl.col(name) if name in table.columns else pl.lit(None, pl.String).alias(name)
            for name in COLUMNS[1:]
        ),
    )
    read = rows.with_columns(
        _truth(ALLOWED), _moment(rows, FROM).alias(FROM), _moment(rows, UNTIL).alias(UNTIL)
    )
    _check_rows(path, rows, read)
    return read.select(ITEM, pl.col(ALLOWED).fill_null(value=True), FROM, UNTIL)


def _read(path: Path) -> pl.DataFrame:
    try:
        if path.suffix == ".csv":
            return pl.read_csv(path, infer_schema=False)
        if path.suffix == ".parquet":
            return pl.read_parquet(path)
    except OSError as error:
        raise LogError(f"{SETTING}={path}: cannot be read: {error.strerror or error}") from None
    except pl.exceptions.PolarsError as error:
        raise LogError(f"{SETTING}={path}: is not a table: {str(error).splitlines()[0]}") from None
    raise LogError(f"{SETTING}={path}: its name must end in .csv or .parquet")


def _check_columns(path: Path, columns: list[str]) -> None:
    unknown = [name for name in columns if name not in COLUMNS]
    if unknown or ITEM not in columns or len(columns) == 1:
        raise LogError(
            f"{SETTING}={path}: has the columns {', '.join(columns)}; it needs {ITEM} and at least "
            f"one of {', '.join(COLUMNS[1:])}, and no others"
        )


def _truth(name: str) -> pl.Expr:
    text = _text(name).str.to_lowercase()
    return pl.when(text.is_in(YES)).then(True).when(text.is_in(NO)).then(False).alias(name)


def _moment(rows: pl.DataFrame, name: str) -> pl.Expr:
    if rows.schema[name].is_temporal():
        return pl.col(name).cast(pl.Datetime("ms")).dt.epoch("ms")
    text = _text(name).str.replace("T", " ", literal=True).str.strip_suffix("Z")
    return pl.coalesce(
        text.str.to_date(DAY, strict=False).cast(pl.Datetime("ms")),
        *(text.str.to_datetime(form, time_unit="ms", strict=False) for form in MOMENTS),
    ).dt.epoch("ms")


def _text(name: str) -> pl.Expr:
    """A column as text, null where it is empty."""
    text = pl.col(name).cast(pl.String).str.strip_chars()
    return pl.when(text != "").then(text)


def _check_rows(path: Path, rows: pl.DataFrame, read: pl.DataFrame) -> None:
    """Refuse the first row that cannot be used, with its line (of Parquet: row)."""
    place = "row" if path.suffix == ".parquet" else "line"

    def refuse(faulty: pl.DataFrame, what: str, remedy: str) -> None:
        for row in faulty.head(1).iter_rows(named=True):
            where = f"{SETTING}={path}: {place} {row['line']}"
            raise LogError(f"{where}: {what.format(**row)}; {remedy}")

    empty = pl.col(ITEM).is_null() | (pl.col(ITEM) == "")
    refuse(rows.filter(empty), "has no item_id", "give one or take the row out")
    again = rows.with_columns(first=pl.col("line").first().over(ITEM))
    refuse(
        again.filter(pl.col("line") != pl.col("first")),
        f"item {{{ITEM}}} is also in {place} {{first}}",
        "keep one row for each item",
    )
    for name, form in (
        (ALLOWED, f"write {YES[0]} or {NO[0]}"),
        (FROM, "write a day or moment in UTC, 2022-08-29 or 2022-08-29 18:00"),
        (UNTIL, "write a day or moment in UTC, 2022-08-29 or 2022-08-29 18:00"),
    ):
        unread = rows.filter(rows.select(_text(name))[name].is_not_null() & read[name].is_null())
        refuse(unread, f"{name} is '{{{name}}}'", form)
    refuse(
        rows.filter(read[FROM] >= read[UNTIL]),
        f"from {{{FROM}}} is not before until {{{UNTIL}}}, so the item is never allowed",
        "exchange them, or write allowed no",
    )
