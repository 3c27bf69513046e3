"""What a shop says of its own log: `log.yaml` in the log's folder, read and held to its files.

In goes a folder, out come a `Declaration` (which columns hold session, item, time and type, and
what the types mean) and one `Source` per CSV or Parquet file, with the columns where they were
found. Nothing of the files is read but their headers.
"""

import csv
import difflib
import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from otto_pipeline.events.errors import LogError
from otto_pipeline.schemas import TYPES

DECLARATION = "log.yaml"
CSV_SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz")
PARQUET_SUFFIXES = (".parquet",)
TABLE_SUFFIXES = CSV_SUFFIXES + PARQUET_SUFFIXES
DELIMITERS = (",", ";", "\t", "|")
IGNORE = "ignore"
"""What a type is mapped to when its rows are to be left out."""
ROLES = ("session", "item", "time", "type")
"""Keys of the declaration that name a column."""

Name = Annotated[str, Field(min_length=1)]
Names = Annotated[
    tuple[Name, ...],
    BeforeValidator(lambda value: (value,) if isinstance(value, str) else value),
    Field(min_length=1),
]


class Declaration(BaseModel):
    """The content of a `log.yaml`.

    `files` are names or patterns relative to its folder; `session`, `item`, `time`, `type` name
    columns; `types` maps the values of the type column to clicks, carts, orders or ignore;
    `idle_gap_hours`, where given, is the silence of one user after which a new session begins.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    files: Names
    session: Name
    item: Name
    time: Name
    time_unit: Literal["s", "ms", "iso"]
    type: Name
    types: dict[str, Literal["clicks", "carts", "orders", "ignore"]] = Field(min_length=1)
    idle_gap_hours: float | None = Field(None, gt=0)

    @property
    def columns(self) -> dict[str, str]:
        """The name of the column of each role."""
        return {role: getattr(self, role) for role in ROLES}


@dataclass(frozen=True)
class Source:
    """One file of a shop's log.

    `columns` are all its columns in order, without surrounding spaces; `delimiter` separates the
    values of a CSV file and is None for Parquet.
    """

    path: Path
    columns: tuple[str, ...]
    delimiter: str | None


class _Loader(yaml.BaseLoader):
    """Every scalar as text (no `on` that turns into a truth value), no key twice."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise LogError(f"line {node.start_mark.line + 1}: {key!r} is given twice")
        return super().construct_mapping(node, deep)


def read_declaration(folder: Path) -> Declaration:
    """The declaration in a folder.

    Raises:
        LogError: it cannot be read, is not YAML, or has a key or value that cannot be used.
    """
    path = folder / DECLARATION
    try:
        content = yaml.load(path.read_text("utf-8"), _Loader)  # _Loader makes nothing but text
    except OSError as error:
        raise LogError(f"{path}: cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise LogError(f"{path}: is not YAML: {error}") from None
    except LogError as error:
        raise LogError(f"{path}: {error}") from None
    if not isinstance(content, dict):
        raise LogError(f"{path}: has to hold keys and values, as in `session: visitorid`")
    try:
        return Declaration(**content)
    except ValidationError as error:
        raise LogError("\n".join(_explain(path, problem) for problem in error.errors())) from None


def sources_of(folder: Path, declaration: Declaration) -> list[Source]:
    """The declared files in order (a pattern's by name), each with the columns that it has.

    Raises:
        LogError: a pattern fits no file, a file is of another kind, empty, damaged or lacks a
            declared column.
    """
    paths = dict.fromkeys(
        path for pattern in declaration.files for path in _matching(folder, pattern)
    )
    sources = [read_header(path, tuple(declaration.columns.values())) for path in paths]
    for source in sources:
        _check_columns(source, declaration)
    return sources


def read_header(path: Path, wanted: tuple[str, ...] = ()) -> Source:
    """A file with its columns; a CSV file's delimiter is the one that yields most of `wanted`.

    Raises:
        LogError: the file is neither CSV nor Parquet, or has no header that can be read.
    """
    if path.stat().st_size == 0:
        raise LogError(f"{path}: is empty")
    if path.name.endswith(PARQUET_SUFFIXES):
        return Source(path, tuple(_parquet_schema(path).names), delimiter=None)
    first_line = _first_line(path)
    headers = [(delimiter, _split_header(first_line, delimiter)) for delimiter in DELIMITERS]
    delimiter, columns = max(
        headers, key=lambda header: (len(set(wanted) & set(header[1])), len(header[1]))
    )
    return Source(path, columns, delimiter)


def _matching(folder: Path, pattern: str) -> list[Path]:
    if Path(pattern).is_absolute():
        raise LogError(
            f"{folder / DECLARATION}: files: {pattern!r} has to be relative to the folder"
        )
    found = sorted(path for path in folder.glob(pattern) if path.is_file())
    if not found:
        tables = sorted(p.name for p in folder.iterdir() if p.name.endswith(TABLE_SUFFIXES))
        raise LogError(
            f"{folder / DECLARATION}: files: nothing fits {pattern!r}; the folder holds "
            f"{', '.join(tables) or 'no CSV or Parquet file'}"
        )
    for path in found:
        if not path.name.endswith(TABLE_SUFFIXES):
            raise LogError(
                f"{folder / DECLARATION}: files: {path.name} is none of {', '.join(TABLE_SUFFIXES)}"
            )
    return found


def _check_columns(source: Source, declaration: Declaration) -> None:
    for role, column in declaration.columns.items():
        if source.columns.count(column) == 1:
            continue
        problem = "has the column twice" if column in source.columns else "has no such column"
        raise LogError(
            f"{source.path}: {problem}: {column!r}, which {DECLARATION} gives as `{role}`"
            f"{_hint(column, source.columns)}; its columns are {', '.join(source.columns)}"
        )


def _parquet_schema(path: Path) -> pa.Schema:
    try:
        return pq.read_schema(path)
    except (pa.ArrowException, OSError) as error:
        raise LogError(f"{path}: is not Parquet or is damaged ({error})") from None


def _first_line(path: Path) -> str:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            return file.readline().decode("utf-8-sig")
    except (EOFError, gzip.BadGzipFile, zlib.error, UnicodeDecodeError) as error:
        raise LogError(f"{path}: is damaged or not UTF-8 text ({error})") from None
    except OSError as error:
        raise LogError(f"{path}: cannot be read ({error.strerror})") from None


def _split_header(line: str, delimiter: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in next(csv.reader([line.strip()], delimiter=delimiter), ()))


def _explain(path: Path, problem: Any) -> str:
    name, *inner = map(str, problem["loc"])
    if problem["type"] == "extra_forbidden":
        keys = list(Declaration.model_fields)
        return f"{path}: unknown key {name!r}{_hint(name, keys)}; the keys are {', '.join(keys)}"
    if problem["type"] == "missing":
        return f"{path}: the key `{name}` is missing"
    place = ": ".join([name, *(part for part in inner if part != "[key]")])
    value, message = problem["input"], problem["msg"].removeprefix("Value error, ")
    allowed = (*TYPES, IGNORE) if name == "types" else ()
    return f"{path}: {place}: {value!r}: {message}{_hint(str(value), allowed)}"


def _hint(name: str, known: list[str] | tuple[str, ...]) -> str:
    close = difflib.get_close_matches(name.lower(), [k.lower() for k in known], n=1)
    originals = [k for k in known if close and k.lower() == close[0]]
    return f"; did you mean {originals[0]!r}?" if originals else ""
