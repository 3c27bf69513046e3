"""What a table is: its columns, their types and what their values obey; what all tables share."""

from dataclasses import dataclass

import polars as pl

TYPES = ("clicks", "carts", "orders")
"""Event types and targets, in the order of their codes 0, 1, 2."""
WEIGHTS = {"clicks": 0.10, "carts": 0.30, "orders": 0.60}
"""Weight of each target's recall in the total (the contest's rule)."""
EVENT_TYPE = pl.Enum(TYPES)
HALF = pl.Enum(("a", "b"))
"""Halves of the sessions of a log with few labels: each is cut while the other is seen whole."""
TOP_K = 20
"""Length of a prediction."""

Dtype = pl.DataType | type[pl.DataType]
ORIGINAL_ID = (pl.Int64, pl.String)
"""Original ids are integers or strings, the same throughout one log."""


@dataclass(frozen=True)
class Column:
    """One column: name, type (or the types it may have), meaning, and what its values obey."""

    name: str
    dtype: Dtype | tuple[Dtype, ...]
    description: str
    nullable: bool = False
    ge: float | None = None
    le: float | None = None


@dataclass(frozen=True)
class Table:
    """A table: what one row is, its columns, the columns that name a row, and its order.

    `unique` and `order` hold within a shard. Rows are sorted by `order`, the first column first.
    """

    row: str
    columns: tuple[Column, ...]
    unique: tuple[str, ...] = ()
    order: tuple[str, ...] = ()

    def names(self) -> list[str]:
        """Column names in order."""
        return [column.name for column in self.columns]

    def empty(self) -> pl.DataFrame:
        """A frame of the columns without rows."""
        types = {
            c.name: c.dtype[0] if isinstance(c.dtype, tuple) else c.dtype for c in self.columns
        }
        return pl.DataFrame(schema=types)


SESSION = Column("session", pl.Int32, "Dense index of the session, in the log's order.", ge=0)
AID = Column("aid", pl.Int32, "Dense index of the item, in the order of the original ids.", ge=0)
SCORE_OF_LIST = Column("list_score", pl.Float32, "Score of the list that needs no labels.")
TS = Column("ts", pl.Int64, "Time of the event, ms since 1970 UTC.", ge=0)
TYPE = Column("type", EVENT_TYPE, "Kind of the event: clicks, carts or orders.")
TARGET = Column("type", EVENT_TYPE, "Target: clicks, carts or orders.")
FIRST_TS = Column("first_ts", pl.Int64, "Time of the session's first event, ms.", ge=0)
LAST_TS = Column("last_ts", pl.Int64, "Time of the session's last event, ms.", ge=0)
N_EVENTS = Column("n_events", pl.Int32, "Events of the session.", ge=1)
HASH = Column("hash", pl.UInt64, "Hash of the original session id: what draws are made from.")
