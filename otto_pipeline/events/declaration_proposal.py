"""A proposed `log.yaml` for files that have none: CSV or Parquet files in, YAML text out.

Names of columns decide first, values where names say nothing. What cannot be told is left for the
shop to fill in and marked as such.
"""

import re
from pathlib import Path

import duckdb
import polars as pl

from otto_pipeline.events.errors import LogError
from otto_pipeline.events.shop_declaration import IGNORE, Source, read_header
from otto_pipeline.events.shop_log import table_of

LOOKED_AT_ROWS = 50_000
SHOWN_TYPES = 20
"""More distinct values than these are no event types."""
FILL_IN = "FILL_IN"
GAP_HOURS = 8

NAMES = {
    "session": "sessionid session usersession visitsession visitorid userid user customerid "
    "clientid uid visitor customer client",
    "item": "itemid item productid product aid articleid article skuid sku offerid",
    "time": "timestamp ts eventtime time datetime actiontime createdat date",
    "type": "event eventtype type action behavior behaviour behaviortype actiontype",
}
"""Names of columns by role, letters only, the likeliest first."""
USERS = ("user", "visitor", "customer", "client", "uid")
WORDS = (
    (IGNORE, ("remove", "delete", "refund", "cancel", "wish", "fav")),
    ("orders", ("purchase", "order", "transaction", "buy", "checkout", "sale", "paid")),
    ("carts", ("cart", "basket", "bag")),
    ("clicks", ("view", "click", "pv", "detail", "visit", "open", "product")),
)
"""What words within a type mean; the first that fits."""
NEARLY_ALL = 0.9
"""Share of the values that have to be times for a column to be one of times."""
UNITS = {"s": (1e8, 4.2e9), "ms": (1e11, 4.2e12)}
"""Numbers that can be times in a unit: from 1973 to 2100."""


def propose(paths: list[Path]) -> str:
    """YAML that declares the given files, which lie in one folder.

    Raises:
        LogError: the first file cannot be read.
    """
    source = read_header(paths[0])
    values = _first_rows(source)
    roles = _roles(values)
    lines = {
        "files": _files(paths),
        **{role: f'"{roles[role]}"' for role in ("session", "item", "time")},
        "time_unit": _unit(
            values.get_column(roles["time"], default=pl.Series([], dtype=pl.String))
        ),
        "type": f'"{roles["type"]}"',
        "types": _types(values.get_column(roles["type"], default=pl.Series([], dtype=pl.String))),
    }
    if any(word in _letters(roles["session"]) for word in USERS) and not _is_session(roles):
        lines["idle_gap_hours"] = f"{GAP_HOURS}   # a longer silence of a user begins a new session"
    return "\n".join(f"{key}: {value}" for key, value in lines.items())


def _first_rows(source: Source) -> pl.DataFrame:
    """The first rows, every value as text."""
    columns = ", ".join(f"trim(CAST(c{n} AS VARCHAR))" for n in range(len(source.columns)))
    try:
        with duckdb.connect(config={"autoinstall_known_extensions": False}) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            rows = connection.sql(
                f"SELECT {columns} FROM {table_of(source)} LIMIT {LOOKED_AT_ROWS}"
            ).pl()
    except duckdb.Error as error:
        raise LogError(f"{source.path}: cannot be read: {error}") from error
    names = [name or f"column {n}" for n, name in enumerate(source.columns)]
    return pl.DataFrame(dict(zip(names, rows.get_columns(), strict=False)))


def _files(paths: list[Path]) -> str:
    names = [path.name for path in paths]
    return f'"{names[0]}"' if len(names) == 1 else f"[{', '.join(names)}]"


def _roles(values: pl.DataFrame) -> dict[str, str]:
    """The column of each role."""
    roles: dict[str, str] = {}
    for role, names in NAMES.items():
        free = [name for name in values.columns if name not in roles.values()]
        roles[role] = (
            _by_name(free, names.split()) or _by_values(values.select(free), role) or FILL_IN
        )
    return roles


def _by_name(columns: list[str], names: list[str]) -> str | None:
    exact = [column for name in names for column in columns if _letters(column) == name]
    partly = [column for name in names for column in columns if name in _letters(column)]
    return next(iter([*exact, *partly]), None)


def _by_values(values: pl.DataFrame, role: str) -> str | None:
    fits = {"time": lambda v: _unit(v) != FILL_IN, "type": _are_types}.get(role)
    return next((column.name for column in values if fits and fits(column)), None)


def _are_types(values: pl.Series) -> bool:
    return values.n_unique() <= SHOWN_TYPES and any(
        _meaning(v) != IGNORE for v in _distinct(values)
    )


def _unit(values: pl.Series) -> str:
    numbers = values.cast(pl.Float64, strict=False)
    fits = {
        **{unit: numbers.is_between(low, high) for unit, (low, high) in UNITS.items()},
        "iso": values.str.contains(r"^\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}|$)"),
    }
    enough = max(1, NEARLY_ALL * len(values))
    return next((unit for unit, fitting in fits.items() if fitting.sum() >= enough), FILL_IN)


def _types(values: pl.Series) -> str:
    distinct = _distinct(values)
    if not 0 < len(distinct) <= SHOWN_TYPES:
        return f"{{{FILL_IN}: clicks}}"
    return "{" + ", ".join(f'"{value}": {_meaning(value)}' for value in distinct) + "}"


def _distinct(values: pl.Series) -> list[str]:
    return sorted(value for value in values.unique().to_list() if value)


def _meaning(value: str) -> str:
    return next(
        (meaning for meaning, words in WORDS if any(word in value.lower() for word in words)),
        IGNORE,
    )


def _is_session(roles: dict[str, str]) -> bool:
    return "session" in _letters(roles["session"])


def _letters(name: str) -> str:
    return re.sub("[^a-z]", "", name.lower())
