"""The user's eligibility file, items → what may be recommended, and to whom."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from otto_pipeline.events.eligibility_file import FROM, ITEM, SETTING, UNTIL, read_eligibility
from otto_pipeline.events.errors import LogError
from otto_pipeline.events.event_log import EventLog
from otto_pipeline.events.raw import remembered_hash
from otto_pipeline.schemas import AID, TYPES, Column, Table
from otto_pipeline.settings import Settings
from otto_pipeline.store.dataset import Dataset, Figures
from otto_pipeline.store.stage import Inputs, Stage

ORDER = TYPES.index("orders")
SHOWN = 5
"""Unknown items that are named."""

ELIGIBILITY = Table(
    "One item of the log that OTTO_ELIGIBILITY_FILE lists; none where that is not set.",
    (
        AID,
        Column("allowed", pl.Boolean, "Whether it may ever be recommended."),
        Column("from_ts", pl.Int64, "From when on, ms since 1970 UTC; null: always.", True),
        Column("until_ts", pl.Int64, "Before when, ms since 1970 UTC; null: always.", True),
    ),
    unique=("aid",),
    order=("aid",),
)


@dataclass(frozen=True)
class Eligibility:
    """What may be recommended in a lane: all but `denied` items, bool[n_items].

    And, where `exclude_ordered`, but what a session itself has ordered before.
    """

    denied: NDArray[np.bool_]
    exclude_ordered: bool

    def of(self, rows: pl.DataFrame, log: EventLog) -> pl.Series:
        """Whether each of the rows (session, aid, …) is eligible."""
        eligible = pl.Series("eligible", ~self.denied[rows["aid"].to_numpy()])
        if not self.exclude_ordered:
            return eligible
        pairs = rows.select("session", "aid")
        ordered = pairs.join(ordered_items(log, rows["session"].unique()), on=pairs.columns)
        return eligible & ~pairs.to_struct().is_in(ordered.to_struct().implode())


def ordered_items(log: EventLog, sessions: pl.Series) -> pl.DataFrame:
    """The items (session, aid) that the lane sees the sessions order."""
    orders = np.flatnonzero(log.type == ORDER)
    session = np.searchsorted(log.session_start, orders, side="right") - 1
    pairs = pl.DataFrame({"session": session.astype(np.int32), "aid": log.aid[orders]})
    return pairs.filter(pl.col("session").is_in(sessions.implode())).unique()


def open_eligibility(dataset: Dataset | None, log: EventLog, settings: Settings) -> Eligibility:
    """What is eligible in a lane: at the moment of the last event that it sees.

    Without a dataset no item is denied.
    """
    rows = dataset.read() if dataset else ELIGIBILITY.empty()
    denied = denied_at(rows, log.last_ts, log.n_items)
    return Eligibility(denied, settings.exclude_ordered)


def denied_at(rows: pl.DataFrame, moment: int, n_items: int) -> NDArray[np.bool_]:
    """Whether each item may not be recommended at a moment (ms), from `ELIGIBILITY` rows."""
    begun = pl.col("from_ts").is_null() | (pl.col("from_ts") <= moment)
    ended = pl.col("until_ts").is_not_null() & (pl.col("until_ts") <= moment)
    denied = np.zeros(n_items, np.bool_)
    denied[rows.filter(~(pl.col("allowed") & begun & ~ended))["aid"].to_numpy()] = True
    return denied


def write_eligibility(inputs: Inputs, _shard: int, settings: Settings, path: Path) -> Figures:
    """The rows of the file whose items the log has; the figures count and name the others."""
    frame, unknown = ELIGIBILITY.empty(), pl.Series(dtype=pl.String)
    if settings.eligibility_file is not None:
        listed = read_eligibility(settings.eligibility_file)
        items = inputs["items"].read("aid", ITEM).with_columns(pl.col(ITEM).cast(pl.String))
        unknown = listed.join(items, on=ITEM, how="anti")[ITEM]
        frame = (
            listed.join(items, on=ITEM)
            .rename({FROM: "from_ts", UNTIL: "until_ts"})
            .select(ELIGIBILITY.names())
            .sort("aid")
        )
    frame.write_parquet(path)
    return {"unknown_items": len(unknown), "examples": unknown.sort().head(SHOWN).to_list()}


def _content(settings: Settings) -> dict[str, str]:
    file = settings.eligibility_file
    if file is None:
        return {}
    if not file.is_file():
        raise LogError(f"{SETTING}={file}: there is no such file; correct it or leave it out")
    return {"file": remembered_hash(file, settings.store_dir)}


ELIGIBILITY_STAGE = Stage(write=write_eligibility, sources=_content)
