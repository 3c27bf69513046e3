"""The tables that stages hand to each other: every column described once.

From a `Table` come the pandera schema that the blocking checks apply, the column descriptions in
the Dagster UI, and the artifact's documentation.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    import pandera.polars as pa

TYPES = ("clicks", "carts", "orders")
"""Event types and targets, in the order of their codes 0, 1, 2."""
WEIGHTS = {"clicks": 0.10, "carts": 0.30, "orders": 0.60}
"""Weight of each target's recall in the total (the contest's rule)."""
EVENT_TYPE = pl.Enum(TYPES)
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

    `unique` and `order` hold within a shard. `order` must not decrease.
    """

    row: str
    columns: tuple[Column, ...]
    unique: tuple[str, ...] = ()
    order: str | None = None

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
TS = Column("ts", pl.Int64, "Time of the event, ms since 1970 UTC.", ge=0)
TYPE = Column("type", EVENT_TYPE, "Kind of the event: clicks, carts or orders.")
TARGET = Column("type", EVENT_TYPE, "Target: clicks, carts or orders.")
FIRST_TS = Column("first_ts", pl.Int64, "Time of the session's first event, ms.", ge=0)
LAST_TS = Column("last_ts", pl.Int64, "Time of the session's last event, ms.", ge=0)
N_EVENTS = Column("n_events", pl.Int32, "Events of the session.", ge=1)
HASH = Column("hash", pl.UInt64, "Hash of the original session id: what draws are made from.")

RAW = Table(
    "One file of the raw log.",
    (
        Column("path", pl.String, "Where the file lies."),
        Column("kind", pl.Enum(["train", "test"]), "Whether its sessions are to be predicted."),
        Column("bytes", pl.Int64, "Size of the file.", ge=1),
        Column("hash", pl.String, "Hash of the file's content."),
    ),
    unique=("path",),
)
PARSED = Table(
    "One event of a good line, or one malformed line.",
    (
        Column("line", pl.Int64, "Line, counted from 0 at the shard's beginning.", ge=0),
        Column("session_id", ORIGINAL_ID, "Original session id.", nullable=True),
        Column("item_id", ORIGINAL_ID, "Original item id.", nullable=True),
        Column("ts", pl.Int64, "Time of the event, ms since 1970 UTC.", nullable=True, ge=0),
        Column("type", EVENT_TYPE, "Kind of the event.", nullable=True),
        Column("error", pl.String, "What is wrong with the line; null for events.", nullable=True),
    ),
    order="line",
)
QUARANTINE = Table(
    "One line of the raw log that was set aside.",
    (
        Column("file", pl.String, "File of the raw log."),
        Column("line", pl.Int64, "Line in that file, counted from 1.", ge=1),
        Column("reason", pl.String, "What is wrong with it."),
    ),
    unique=("file", "line"),
)
ITEMS = Table(
    "One item of the log.",
    (
        AID,
        Column("item_id", ORIGINAL_ID, "Original item id."),
        Column("first_seen", pl.Int64, "Time of the item's first event, ms.", ge=0),
    ),
    unique=("aid",),
    order="aid",
)
SESSIONS = Table(
    "One session of the log.",
    (
        SESSION,
        Column("session_id", ORIGINAL_ID, "Original session id."),
        N_EVENTS,
        FIRST_TS,
        LAST_TS,
        Column("is_test", pl.Boolean, "From the test file: to be predicted."),
        HASH,
        Column("line", pl.Int64, "Its line, counted from 0 at the parsed shard's beginning.", ge=0),
    ),
    unique=("session",),
    order="session",
)
EVENTS = Table("One event.", (SESSION, AID, TS, TYPE), order="session")
STATISTICS = Table(
    "One statistic of one part of the log.",
    (
        Column("part", pl.String, "train, or test: the sessions to predict."),
        Column("name", pl.String, "What is measured."),
        Column("value", pl.Float64, "Its value in this log.", ge=0),
        Column("otto", pl.Float64, "Its value in OTTO's log; null: not published.", True, ge=0),
    ),
    unique=("part", "name"),
)
KNOWN_ITEMS = Table(
    "One item that a session of the lane's training part holds.", (AID,), ("aid",), "aid"
)
LANE_SESSIONS = Table(
    "One session that the lane sees.",
    (
        SESSION,
        Column("query", pl.Boolean, "To be predicted: only its visible events are in the lane."),
        Column("n_events", pl.Int32, "Events of the session that the lane sees.", ge=1),
        FIRST_TS,
        LAST_TS,
        HASH,
    ),
    unique=("session",),
    order="session",
)
LABELS = Table(
    "One item that a query session goes on to click (next), cart or order.",
    (SESSION, TARGET, AID),
    unique=("session", "type", "aid"),
    order="session",
)
EVENT_LOG = Table(
    "One event, in the memory-mapped form that kernels read.",
    (
        SESSION,
        AID,
        Column("ts", pl.Int32, "Time of the event, seconds since the lane's first.", ge=0),
        Column("type", pl.UInt8, "0 clicks, 1 carts, 2 orders.", ge=0, le=2),
    ),
    order="session",
)
POPULARITY = Table(
    "One item of the log, with its events that the lane sees.",
    (
        AID,
        *(Column(name, pl.UInt32, f"{name.capitalize()} of the item.") for name in TYPES),
        *(
            Column(f"{name}_week", pl.UInt32, f"{name.capitalize()} in the lane's last seven days.")
            for name in TYPES
        ),
        Column("sessions_week", pl.UInt32, "Sessions with the item in the lane's last seven days."),
        Column(
            "last_seen",
            pl.Int32,
            "Seconds from the lane's first event to the item's last; -1: none.",
            ge=-1,
        ),
    ),
    unique=("aid",),
    order="aid",
)
COVISITATION = Table(
    "One neighbour of an item; only the top k of each item.",
    (
        AID,
        Column("neighbour", pl.Int32, "Dense index of the neighbour.", ge=0),
        Column("weight", pl.Float32, "Weight of their pairs as the matrix declares it.", ge=0),
        Column("rank", pl.UInt16, "Place among the item's neighbours, 1 is the heaviest.", ge=1),
    ),
    unique=("aid", "neighbour"),
    order="aid",
)
NEIGHBOURS = Table(
    "One neighbour of an item, in the memory-mapped form that kernels look up.",
    (
        AID,
        Column("neighbour", pl.Int32, "Dense index of the neighbour.", ge=0),
        Column("share", pl.Float32, "Weight over the sum of the item's row.", ge=0, le=1),
        Column("rank", pl.UInt16, "Place among the item's neighbours, 1 is the heaviest.", ge=1),
    ),
    unique=("aid", "neighbour"),
    order="aid",
)
POSTINGS = Table(
    "One item and in how many sessions it is; which these are, kernels read from arrays.",
    (
        AID,
        Column("sessions", pl.Int32, "Sessions that hold the item.", ge=0),
        Column("kept", pl.Int32, "Of these the latest, which session kNN looks at.", ge=0),
    ),
    unique=("aid",),
    order="aid",
)
PRE_RANKER = Table(
    "One model of the pre-score.",
    (
        Column("fold", pl.Int64, "Fold that it has not seen; -1: fitted on every session.", ge=-1),
        Column("trees", pl.Int64, "Trees.", ge=1),
        Column("rows", pl.Int64, "Items of the union that it was fitted on.", ge=1),
        Column("features", pl.Int64, "Features.", ge=1),
    ),
    unique=("fold",),
)
TRAINING_ROWS = Table(
    "One candidate that a ranker learns from.",
    (
        SESSION,
        AID,
        *(
            Column(f"in_{name}", pl.Boolean, f"A training row of the {name} ranker.")
            for name in TYPES
        ),
        *(Column(f"label_{name}", pl.UInt8, f"Is a label of {name}.", le=1) for name in TYPES),
        HASH,
    ),
    unique=("session", "aid"),
    order="session",
)
RANKER = Table(
    "One gradient-boosted model.",
    (
        Column("type", EVENT_TYPE, "Target that it ranks for."),
        Column("fold", pl.Int64, "Fold that it has not seen; -1: fitted on every session.", ge=-1),
        Column("trees", pl.Int64, "Trees.", ge=1),
        Column("rows", pl.Int64, "Training rows.", ge=1),
        Column("features", pl.Int64, "Features.", ge=1),
    ),
    unique=("fold",),
)
FOLD_SCORES = Table(
    "One candidate and its out-of-fold score for one target.",
    (
        SESSION,
        AID,
        Column(
            "score",
            pl.Float32,
            "Score of the ranker that has not seen the session, or where there is none of the "
            "list; standardised in the session.",
        ),
    ),
    unique=("session", "aid"),
    order="session",
)
BLEND = Table(
    "How one target's final score is mixed in the sessions of one fold.",
    (
        TARGET,
        Column("fold", pl.Int64, "Fold whose sessions it is for; -1: the submission's.", ge=-1),
        Column("list", pl.Float64, "Weight of the list that needs no labels.", ge=0, le=1),
        *(
            Column(name, pl.Float64, f"Weight of the score by the ranker of {name}.", ge=0, le=1)
            for name in TYPES
        ),
        Column("recall_list", pl.Float64, "Recall@20 of the list there.", True, 0, 1),
        Column("recall_ranker", pl.Float64, "Of the target's ranker, out-of-fold.", True, 0, 1),
        Column(
            "recall_blend", pl.Float64, "Of the blend, chosen without those sessions.", True, 0, 1
        ),
    ),
    unique=("type", "fold"),
)
PREDICTIONS = Table(
    "One of the up to 20 items predicted for a session and target.",
    (
        SESSION,
        TARGET,
        AID,
        Column("score", pl.Float32, "Blend of the rankers' scores and the list's."),
        Column("rank", pl.UInt8, "Place in the prediction, 1 is best.", ge=1, le=TOP_K),
    ),
    unique=("session", "type", "rank"),
    order="session",
)
SUBMISSION = Table(
    "The prediction of one session and target.",
    (
        Column("session_type", pl.String, "Original session id and target, `12899779_clicks`."),
        Column("labels", pl.String, "1 to 20 distinct original item ids, best first."),
    ),
    unique=("session_type",),
)
SCORES = Table(
    "Recall@20 of one system for one target.",
    (
        Column("system", pl.String, "The pipeline, a baseline, or the candidates' ceiling."),
        Column("type", pl.String, "clicks, carts, orders or total (weighted)."),
        Column("recall", pl.Float64, "Recall@20; null: no labels.", nullable=True, ge=0, le=1),
        Column("low", pl.Float64, "Lower end of the 95 % interval.", nullable=True, ge=0, le=1),
        Column("high", pl.Float64, "Upper end of the 95 % interval.", nullable=True, ge=0, le=1),
        Column("labels", pl.Int64, "Labels that could be hit.", ge=0),
    ),
    unique=("system", "type"),
)
REPORT = Table(
    "What the report says of one target, or of their total.",
    (
        Column("type", pl.String, "clicks, carts, orders or total."),
        Column("recall", pl.Float64, "Recall@20; null: no labels.", nullable=True, ge=0, le=1),
        Column(
            "ordered_by", pl.Enum(["ranker", "blend", "list"]), "What orders it.", nullable=True
        ),
    ),
    unique=("type",),
)
SCORE_HISTORY = Table(
    "One rebuild.",
    (
        Column("time", pl.String, "When its scores were written, UTC."),
        Column("scale", pl.String, "Scale that was rebuilt."),
        *(
            Column(name, pl.Float64, f"Recall@20 of {name}; null: no labels.", True, 0, 1)
            for name in TYPES
        ),
        Column("total", pl.Float64, "Weighted recall@20 over the types with labels.", True, 0, 1),
        Column("versions", pl.String, "Versions of the package and what it computes with."),
        Column("fingerprint", pl.String, "Identity of the scores: inputs, settings, versions."),
    ),
)


def embedding_table(dimensions: int) -> Table:
    """The table of an embedding's vectors."""
    return Table(
        "One item that the lane has seen with others.",
        (
            AID,
            Column("vector", pl.Array(pl.Float32, dimensions), "Its vector, of length 1."),
        ),
        unique=("aid",),
        order="aid",
    )


def candidates_table(sources: Iterable[str]) -> Table:
    """The table of candidates with a rank and a score from each source."""
    columns = [SESSION, AID]
    for source in sources:
        columns += [
            Column(
                f"{source}_rank", pl.UInt16, f"Place in {source}; null: not proposed.", True, ge=1
            ),
            Column(f"{source}_score", pl.Float32, f"Score by {source}; null: not proposed.", True),
        ]
    columns += [
        Column("list_score", pl.Float32, "Score of the list that needs no labels."),
        Column("pre_score", pl.Float32, "Score of the pre-ranker, else the list's; best first."),
    ]
    return Table(
        "One item that a query session may want.", tuple(columns), ("session", "aid"), "session"
    )


def union_sample_table(sources: Iterable[str]) -> Table:
    """The table of sampled items of unions with their rank in each source."""
    ranks = (Column(f"{s}_rank", pl.UInt16, f"Place in {s}; 201: not proposed.") for s in sources)
    return Table(
        "One item of the union of all sources, for a sampled session.",
        (
            SESSION,
            AID,
            *ranks,
            Column("own_items", pl.UInt16, "Distinct items of the session."),
            Column("events", pl.UInt16, "Events of the session."),
            Column("is_label", pl.UInt8, "Is a label of any type.", le=1),
            Column("weight", pl.UInt8, "Items of the union that the row stands for.", ge=1),
            HASH,
        ),
        ("session", "aid"),
        "session",
    )


@lru_cache
def pandera_schema(table: Table) -> "pa.DataFrameSchema":
    """The pandera schema of a table: columns, types, nulls, value ranges, uniqueness, order."""
    import pandera.polars as pa  # noqa: PLC0415  # a second of import that only checks need

    return pa.DataFrameSchema(
        {
            column.name: pa.Column(
                None if isinstance(column.dtype, tuple) else column.dtype,
                checks=[*_value_checks(column)],
                nullable=column.nullable,
                description=column.description,
            )
            for column in table.columns
        },
        checks=[_order_check(table.order)] if table.order else None,
        unique=list(table.unique) or None,
        strict=True,
        ordered=True,
        description=table.row,
    )


def _value_checks(column: Column) -> Sequence["pa.Check"]:
    import pandera.polars as pa  # noqa: PLC0415

    checks = []
    if column.ge is not None:
        checks.append(pa.Check.ge(column.ge))
    if column.le is not None:
        checks.append(pa.Check.le(column.le))
    if isinstance(column.dtype, tuple):
        allowed = column.dtype
        checks.append(
            pa.Check(
                lambda data: data.lazyframe.select(
                    pl.lit(data.lazyframe.collect_schema()[data.key] in allowed)
                ),
                error=f"type is one of {', '.join(str(dtype) for dtype in allowed)}",
            )
        )
    return checks


def _order_check(column: str) -> "pa.Check":
    import pandera.polars as pa  # noqa: PLC0415

    return pa.Check(
        lambda data: data.lazyframe.select(
            (pl.col(column) >= pl.col(column).shift()).all().alias(column)
        ),
        error=f"ordered by {column}",
    )
