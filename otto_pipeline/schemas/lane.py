"""Tables of one lane, from the events that it sees to its candidates."""

from collections.abc import Iterable

import polars as pl

from otto_pipeline.schemas.table import (
    AID,
    EVENT_TYPE,
    FIRST_TS,
    HALF,
    HASH,
    LAST_TS,
    SCORE_OF_LIST,
    SESSION,
    TARGET,
    TYPES,
    Column,
    Table,
)

KNOWN_ITEMS = Table(
    "One item that a session of the lane's training part holds.", (AID,), ("aid",), ("aid",)
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
    order=("session",),
)
LABELS = Table(
    "One item that a query session goes on to click (next), cart or order.",
    (SESSION, TARGET, AID),
    unique=("session", "type", "aid"),
    order=("session", "type", "aid"),
)
CUT_SESSIONS = Table(
    "One session before the split moment that is cut, so that rankers learn what came after.",
    (
        SESSION,
        Column("half", HALF, "Half of the sessions that it belongs to."),
        Column("type", EVENT_TYPE, "Target that it was cut for; it has labels of others too."),
        Column("cut", pl.Int64, "Events that its half sees; what comes after is labels.", ge=1),
        HASH,
    ),
    unique=("session",),
    order=("session",),
)
EVENT_LOG = Table(
    "One event, in the memory-mapped form that kernels read.",
    (
        SESSION,
        AID,
        Column("ts", pl.Int32, "Time of the event, seconds since the lane's first.", ge=0),
        Column("type", pl.UInt8, "0 clicks, 1 carts, 2 orders.", ge=0, le=2),
    ),
    order=("session", "ts"),
)
WINDOWS = {"day": 1, "week": 7, "21d": 21}
"""Windows that end with the lane's last event, in days: what is counted in them does not grow with
the log. The longest fits into both lanes of OTTO's log, of four weeks and of five."""
HOUR_PARTS, WEEKDAYS = 8, 7
"""Parts of three hours of a day, and days of a week, both in UTC, by which events are counted."""
POPULARITY = Table(
    "One item of the log, with its events that the lane sees.",
    (
        AID,
        *(
            Column(
                f"{what}_{window}",
                pl.UInt32,
                f"{what.capitalize()} of the item in the lane's last {24 * days} hours.",
            )
            for window, days in WINDOWS.items()
            for what in (*TYPES, "sessions")
        ),
        Column(
            "orders_again_21d",
            pl.UInt32,
            "Of the orders in the last 21 days those after one in the same session and days.",
        ),
        Column("events", pl.UInt32, "Events of the item in the whole log."),
        Column(
            "by_hour",
            pl.Array(pl.UInt32, HOUR_PARTS),
            "Events of the last 21 days in each part of three hours of the day, UTC.",
        ),
        Column(
            "by_weekday",
            pl.Array(pl.UInt32, WEEKDAYS),
            "Events of the last 21 days on each day of the week, UTC, Monday first.",
        ),
        Column(
            "last_seen",
            pl.Int32,
            "Seconds from the lane's first event to the item's last; -1: none.",
            ge=-1,
        ),
    ),
    unique=("aid",),
    order=("aid",),
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
    order=("aid", "rank"),
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
    order=("aid", "neighbour"),
)
POSTINGS = Table(
    "One item and in how many sessions it is; which these are, kernels read from arrays.",
    (
        AID,
        Column("sessions", pl.Int32, "Sessions that hold the item.", ge=0),
        Column("kept", pl.Int32, "Of these the latest, which session kNN looks at.", ge=0),
    ),
    unique=("aid",),
    order=("aid",),
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
        order=("aid",),
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
        SCORE_OF_LIST,
        Column("pre_score", pl.Float32, "Score of the pre-ranker, else the list's; best first."),
    ]
    return Table(
        "One item that a query session may want.", tuple(columns), ("session", "aid"), ("session",)
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
        ("session",),
    )
