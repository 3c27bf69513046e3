"""A shop's CSV or Parquet log → OTTO's form: `train.jsonl`, and the rows that were set aside.

In go a folder with `log.yaml` and the files that it names, out come one JSON line per session, in
the order of the sessions' first events, and `rejected.parquet` (file, line, reason). DuckDB reads
each file once into a scratch table beside the result, marks the rows that cannot be used, and
sorts the others on disk where they exceed the memory budget. The number that the scratch table
gives its rows is their order in the files, so that rows of equal time keep it.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import duckdb
import polars as pl

from otto_pipeline.events.csv_lines import csv_lines, line_at
from otto_pipeline.events.errors import LogError
from otto_pipeline.events.jsonl import EXCERPT, LAST_TS
from otto_pipeline.events.jsonl_writer import session_lines
from otto_pipeline.events.shop_declaration import (
    IGNORE,
    Declaration,
    Source,
    read_declaration,
    sources_of,
)
from otto_pipeline.schemas import EVENT_TYPE, TYPES
from otto_pipeline.settings import Settings
from otto_pipeline.store.files import atomic

TRAIN = "train.jsonl"
REJECTED = "rejected.parquet"
SCRATCH = ".scratch"

MEMORY_SHARE = 0.7
"""Share of the memory budget that DuckDB may take; the rest is for what is written."""
BATCH_ROWS = 500_000
"""Events that are turned into lines at once."""
PLACES = 2**48
"""More than a log has rows: time × this + row number orders rows by time, then by number."""
IGNORED_CODE = -1
USABLE = f"reason IS NULL AND type <> {IGNORED_CODE}"
UNITS = {"s": (15, 1000), "ms": (18, 1)}
"""Digits of a time, three of them decimals (no more, or it may overflow when multiplied), and ms
in it."""
UNIT_NAMES = {
    "s": "a number of seconds",
    "ms": "a number of milliseconds",
    "iso": "an ISO time",
}
RUNS_ON = ("UNQUOTED VALUE", "LINE SIZE OVER MAXIMUM")
"""What DuckDB calls a value whose quotation mark has no end and that takes the lines after it."""
TOLD_BYTES = 10_000
"""Of a line that it left out, DuckDB tells no more."""

SETUP = """
CREATE TABLE events (session VARCHAR, item VARCHAR, ts BIGINT, type TINYINT, reason VARCHAR);
CREATE TABLE rejected (source INTEGER, line BIGINT, reason VARCHAR);
"""


@dataclass(frozen=True)
class Converted:
    """What became of a shop's log: its rows, those left out as declared, those set aside."""

    train: Path
    rejected: Path
    rows: int
    ignored: int
    set_aside: int


def convert_shop_log(folder: Path, target: Path, settings: Settings) -> Converted:
    """Convert the log that `folder` declares into the folder `target`.

    Raises:
        LogError: the declaration or a file cannot be used, or no row can.
    """
    declaration = read_declaration(folder)
    sources = sources_of(folder, declaration)
    scratch = target / SCRATCH
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        with _connect(scratch, settings) as connection:
            return _convert(connection, declaration, sources, target)
    except duckdb.Error as error:
        raise LogError(f"{folder}: cannot be converted: {error}") from error
    finally:
        shutil.rmtree(scratch)


def _connect(scratch: Path, settings: Settings) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(
        scratch / "rows.duckdb",
        config={
            "threads": settings.threads,
            "memory_limit": f"{round(settings.memory_gb * MEMORY_SHARE * 1024)}MiB",
            "temp_directory": str(scratch),
            "autoinstall_known_extensions": False,
        },
    )
    connection.execute(f"SET TimeZone = 'UTC'; SET enable_progress_bar = false; {SETUP}")
    return connection


def _convert(
    connection: duckdb.DuckDBPyConnection,
    declaration: Declaration,
    sources: list[Source],
    target: Path,
) -> Converted:
    for number, source in enumerate(sources):
        _read(connection, declaration, source, number)
    rejected = target / REJECTED
    with atomic(rejected) as temporary:
        set_aside = _write_rejected(connection, sources, temporary)
    rows, ignored = connection.execute(
        f"SELECT count(*), count(*) FILTER (type = {IGNORED_CODE}) FROM events"
    ).fetchall()[0]
    (refused,) = connection.execute(
        "SELECT count(*) FROM events WHERE reason IS NOT NULL"
    ).fetchall()[0]
    rows += set_aside - refused  # lines that are no row at all
    if rows == ignored + set_aside:
        raise LogError(_nothing_left(rejected, sources, rows, ignored))
    train = target / TRAIN
    with atomic(train) as temporary, temporary.open("wb") as file:
        _write_sessions(connection, declaration, file)
    return Converted(train, rejected, rows, ignored, set_aside)


def _read(
    connection: duckdb.DuckDBPyConnection, declaration: Declaration, source: Source, number: int
) -> None:
    """Append a file's rows to `events`, and those of them that cannot be used to `rejected`."""
    first = connection.execute("SELECT count(*) FROM events").fetchall()[0][0]
    connection.execute(f"INSERT INTO events {_rows_query(declaration, source)}")
    bad = connection.sql(
        f"SELECT rowid - {first} AS row, reason FROM events "
        f"WHERE rowid >= {first} AND reason IS NOT NULL ORDER BY row"
    ).pl()
    found = bad.select(line=pl.col("row") + 1, reason="reason")
    if source.delimiter is not None:
        found = csv_lines(source, bad, _unreadable(connection, source))
    if found.height:
        connection.register("found", found.with_columns(source=pl.lit(number, pl.Int32)).to_arrow())
        connection.execute("INSERT INTO rejected BY NAME SELECT * FROM found")
        connection.unregister("found")


def _rows_query(declaration: Declaration, source: Source) -> str:
    """Rows (session, item, ts in ms, type code, reason) of a file, in its order."""
    columns = {
        role: f"trim(CAST(c{source.columns.index(name)} AS VARCHAR))"
        for role, name in declaration.columns.items()
    }
    texts = ", ".join(f"nullif({text}, '') AS {role}" for role, text in columns.items())
    return f"""
        WITH texts AS (SELECT {texts} FROM {table_of(source)}),
        typed AS (
            SELECT *, {_ts(declaration.time_unit)} AS ts, {_code(declaration.types)} AS code
            FROM texts
        )
        SELECT session, item, ts, code, {_reason(declaration)} FROM typed
    """


def table_of(source: Source) -> str:
    """A file as a table of SQL, its columns named c0, c1, …; those of CSV are text."""
    names = [f"c{index}" for index in range(len(source.columns))]
    path = _quoted(str(source.path))
    if source.delimiter is None:
        return f"read_parquet({path}) AS t({', '.join(names)})"
    columns = ", ".join(f"{name}: 'VARCHAR'" for name in names)
    return (
        f"read_csv({path}, auto_detect = false, header = true, quote = '\"', escape = '\"', "
        f"delim = {_quoted(source.delimiter)}, columns = {{{columns}}}, store_rejects = true)"
    )


def _ts(unit: str) -> str:
    if unit == "iso":
        return "TRY(epoch_ms(TRY_CAST(time AS TIMESTAMPTZ)))"
    digits, ms = UNITS[unit]
    return f"TRY_CAST(floor(TRY_CAST(time AS DECIMAL({digits}, 3)) * {ms}) AS BIGINT)"


def _code(types: Mapping[str, str]) -> str:
    codes = {IGNORE: IGNORED_CODE, **{name: code for code, name in enumerate(TYPES)}}
    cases = " ".join(f"WHEN {_quoted(value)} THEN {codes[name]}" for value, name in types.items())
    return f"CASE type {cases} END"


def _reason(declaration: Declaration) -> str:
    """Why a row cannot be used; null where it can, or is left out as declared."""
    unit = UNIT_NAMES[declaration.time_unit]
    cases = {
        f"code = {IGNORED_CODE}": "NULL",
        **_id_reasons("session"),
        **_id_reasons("item"),
        "time IS NULL": "'time is empty'",
        f"ts IS NULL OR ts < 0 OR ts >= {LAST_TS}": _says("time", f"is not {unit} from 1970 on"),
        "type IS NULL": "'type is empty'",
        "code IS NULL": _says("type", "is not listed in types"),
    }
    whens = " ".join(f"WHEN {condition} THEN {reason}" for condition, reason in cases.items())
    return f"CASE {whens} END"


def _id_reasons(role: str) -> dict[str, str]:
    return {
        f"{role} IS NULL": f"'{role} is empty'",
        rf"regexp_matches({role}, '[ ," "\n\r\t]')": _says(
            role,
            "has a character that a submission cannot carry (space, comma, quote or line break)",
        ),
    }


def _says(role: str, problem: str) -> str:
    return f"'{role} ''' || left({role}, {EXCERPT}) || ''' {problem}'"


def _quoted(text: str) -> str:
    escaped = text.replace("'", "''")
    return f"'{escaped}'"


def _unreadable(connection: duckdb.DuckDBPyConnection, source: Source) -> pl.DataFrame:
    """Lines that the CSV reader left out, one row each: offset, reason, taken (`csv_lines`).

    Raises:
        LogError: a quotation mark without an end takes more lines than the reader tells.
    """
    lines = connection.sql(
        f"""
        SELECT
            CAST(line_byte_position AS BIGINT) AS "offset",
            arg_min(error_message, byte_position) AS reason,
            max(CASE WHEN error_type IN {RUNS_ON}
                THEN len(string_split(trim(csv_line, chr(13) || chr(10)), chr(10))) ELSE 0 END
            ) AS taken,
            bool_or(error_type IN {RUNS_ON} AND length(csv_line) >= {TOLD_BYTES}) AS endless
        FROM reject_errors GROUP BY ALL ORDER BY "offset"
        """
    ).pl()
    for offset in lines.filter((pl.col("taken") > 1) & pl.col("endless"))["offset"]:
        raise LogError(
            f"{source.path}: line {line_at(source, offset)}: a quotation mark without an end takes "
            "the lines after it, and which rows they were cannot be told; mend that line"
        )
    connection.execute("DELETE FROM reject_errors; DELETE FROM reject_scans")
    return lines


def _write_rejected(
    connection: duckdb.DuckDBPyConnection, sources: list[Source], path: Path
) -> int:
    """Write file, line, reason of the rows set aside, in the order of the log; return how many."""
    files = pl.DataFrame(
        {"source": range(len(sources)), "file": [str(source.path) for source in sources]}
    )
    connection.register("files", files.to_arrow())
    connection.execute(
        f"""
        COPY (
            SELECT file, line, reason FROM rejected JOIN files USING (source)
            ORDER BY source, line
        ) TO {_quoted(str(path))} (FORMAT parquet, COMPRESSION zstd)
        """
    )
    count: int = connection.execute("SELECT count(*) FROM rejected").fetchall()[0][0]
    return count


def _nothing_left(rejected: Path, sources: list[Source], rows: int, ignored: int) -> str:
    first = pl.scan_parquet(rejected).head(1).collect()
    shown = [f"; the first, line {line}: {reason}" for _, line, reason in first.iter_rows()]
    return (
        f"{sources[0].path.parent}: none of its {rows:,} rows can be used ({ignored:,} are left "
        f"out as declared){''.join(shown)}"
    )


def _write_sessions(
    connection: duckdb.DuckDBPyConnection, declaration: Declaration, file: IO[bytes]
) -> None:
    """Write one line per session, in the order of their first events."""
    rest: pl.DataFrame | None = None
    reader = connection.sql(_events_query(connection, declaration)).to_arrow_reader(BATCH_ROWS)
    for batch in reader:
        rows = pl.DataFrame(batch)
        rows = rows if rest is None else pl.concat([rest, rows])
        unfinished = pl.col("begin") == rows["begin"][-1]
        file.write(_lines(rows.filter(~unfinished)))
        rest = rows.filter(unfinished)
    if rest is not None:
        file.write(_lines(rest))


def _lines(rows: pl.DataFrame) -> bytes:
    return session_lines(
        rows.with_columns(
            pl.col("type").cast(pl.UInt8).cat.to(EVENT_TYPE),
            session=pl.col("begin").rle_id().cast(pl.Int64),
        )
    )


def _events_query(connection: duckdb.DuckDBPyConnection, declaration: Declaration) -> str:
    """Rows (session_id, aid, ts, type code, begin) that can be used.

    Sessions follow in the order of their first events, events in the order of their times, and
    where these are equal in that of the files: `place` holds both. `begin` is the place of the
    session's first event.
    """
    gap = declaration.idle_gap_hours
    session = _id(connection, "session") if gap is None else "session || '.' || nth"
    return f"""
        WITH placed AS (
            SELECT session, item, ts, type, CAST(ts AS HUGEINT) * {PLACES} + rowid AS place
            FROM events WHERE {USABLE}
        ),
        numbered AS ({_numbered(gap)})
        SELECT {session} AS session_id, {_id(connection, "item")} AS aid, ts, type,
            min(place) OVER (PARTITION BY session, nth) AS begin
        FROM numbered ORDER BY begin, place
    """


def _numbered(gap: float | None) -> str:
    """Each event with the number of its session among its user's, from 1."""
    if gap is None:
        return "SELECT *, 1 AS nth FROM placed"
    return f"""
        SELECT * EXCLUDE (begins), 1 + sum(CAST(begins AS INTEGER)) OVER (
            PARTITION BY session ORDER BY place ROWS UNBOUNDED PRECEDING
        ) AS nth
        FROM (
            SELECT *, coalesce(ts - lag(ts) OVER (PARTITION BY session ORDER BY place) >
                {round(gap * 3_600_000)}, false) AS begins
            FROM placed
        )
    """


def _id(connection: duckdb.DuckDBPyConnection, column: str) -> str:
    """A column's ids as integers where all of them are written as integers are, else as text."""
    (whole,) = connection.execute(
        f"SELECT bool_and(coalesce(CAST(TRY_CAST({column} AS BIGINT) AS VARCHAR) = {column}, "
        f"false)) FROM events WHERE {USABLE}"
    ).fetchall()[0]
    return f"CAST({column} AS BIGINT)" if whole else column
