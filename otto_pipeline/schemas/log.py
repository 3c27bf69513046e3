"""Tables of the whole log, `log/…`, and of events."""

import polars as pl

from otto_pipeline.schemas.table import (
    AID,
    EVENT_TYPE,
    FIRST_TS,
    HASH,
    LAST_TS,
    N_EVENTS,
    ORIGINAL_ID,
    SESSION,
    TS,
    TYPE,
    Column,
    Table,
)

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
    order=("line",),
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
    order=("aid",),
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
    order=("session",),
)
EVENTS = Table("One event.", (SESSION, AID, TS, TYPE), order=("session", "ts"))
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
