"""EventLog: the log as four memory-mapped arrays, the form that kernels work on.

In go a lane's events and sessions, out come `session_start` int64[S+1], `aid` int32[E], `ts`
int32[E] (seconds since the lane's first event) and `type` uint8[E]: session s holds events
session_start[s] … session_start[s+1]−1 in order of time. A session that the lane does not see is
empty, so that a session has one index everywhere. About 9 bytes an event and 8 a session; every
process that maps the files shares one copy.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from otto_pipeline.events.errors import LogError
from otto_pipeline.schemas import EVENT_LOG
from otto_pipeline.settings import Settings
from otto_pipeline.store.dataset import Dataset, Figures
from otto_pipeline.store.parquet import read_pieces
from otto_pipeline.store.stage import Inputs, Stage

ARRAYS = ("session_start", "aid", "ts", "type")
"""The shards of the dataset, one file each."""
MAX_SECONDS = 2**31 - 1
CHECKED_EVENTS = 2_000_000
"""Events that one piece of a check holds."""


@dataclass(frozen=True)
class EventLog:
    """The arrays, the number of the log's items, and the time of second 0 (ms since 1970)."""

    session_start: NDArray[np.int64]
    aid: NDArray[np.int32]
    ts: NDArray[np.int32]
    type: NDArray[np.uint8]
    n_items: int
    first_ts: int

    @property
    def n_sessions(self) -> int:
        """Indices of sessions, up to the last that the lane sees."""
        return len(self.session_start) - 1

    @property
    def n_events(self) -> int:
        """Events that the lane sees."""
        return len(self.aid)

    @property
    def last_second(self) -> int:
        """Time of the last event, in seconds since the first; 0 for an empty log."""
        return int(self.ts.max()) if len(self.ts) else 0

    @property
    def last_ts(self) -> int:
        """Time of the last event, ms since 1970; that of second 0 for an empty log."""
        return self.first_ts + 1000 * self.last_second


def open_event_log(dataset: Dataset) -> EventLog:
    """Map the arrays of a dataset that `EVENT_LOG_STAGE` wrote."""
    figures = dataset.figures()
    session_start, aid, ts, type_ = (np.load(file, mmap_mode="r") for file in dataset.files)
    return EventLog(session_start, aid, ts, type_, figures["items"], figures["first_ts"])


def event_log_of(events: pl.DataFrame, *, n_sessions: int, n_items: int, first_ts: int) -> EventLog:
    """An EventLog in memory, of a frame of events ordered by session and time."""
    return EventLog(
        session_start=_starts(np.bincount(events["session"].to_numpy(), minlength=n_sessions)),
        aid=events["aid"].to_numpy(),
        ts=((events["ts"] - first_ts) // 1000).cast(pl.Int32).to_numpy(),
        type=events["type"].to_physical().cast(pl.UInt8).to_numpy(),
        n_items=n_items,
        first_ts=first_ts,
    )


def frames(dataset: Dataset) -> list[pl.LazyFrame]:
    """The events as tables, piece by piece, for the check of the contract."""
    log = open_event_log(dataset)
    bounds = range(0, max(log.n_events, 1), CHECKED_EVENTS)
    return [_frame(log, start, min(start + CHECKED_EVENTS, log.n_events)) for start in bounds]


def _frame(log: EventLog, start: int, stop: int) -> pl.LazyFrame:
    session = np.searchsorted(log.session_start, np.arange(start, stop), side="right") - 1
    return pl.LazyFrame(
        {
            "session": session.astype(np.int32),
            "aid": log.aid[start:stop],
            "ts": log.ts[start:stop],
            "type": log.type[start:stop],
        },
        schema=EVENT_LOG.empty().schema,
    )


def write_array(inputs: Inputs, shard: int, _settings: Settings, path: Path) -> Figures:
    """Write one of `ARRAYS`, reading only the column that it needs."""
    name = ARRAYS[shard]
    first_ts, last_ts = _time_range(inputs)
    if last_ts - first_ts > MAX_SECONDS * 1000:
        raise LogError(
            f"the log spans {(last_ts - first_ts) / 31_557_600_000:.0f} years, more than 68: look "
            "at the largest and smallest ts; some are probably not in ms"
        )
    if name == "session_start":
        _save(path, _session_start(inputs))
    else:
        _write_column(inputs, name, first_ts, path)
    return {"items": inputs["items"].manifest.rows, "first_ts": first_ts}


def _time_range(inputs: Inputs) -> tuple[int, int]:
    """Times (ms) of the lane's first and last event."""
    sessions = inputs["sessions"].scan().select(pl.col("first_ts").min(), pl.col("last_ts").max())
    first, last = sessions.collect().row(0)
    return first or 0, last or 0


def _session_start(inputs: Inputs) -> NDArray[np.int64]:
    last_session = inputs["sessions"].scan().select(pl.col("session").max()).collect().item()
    counts = np.zeros(0 if last_session is None else last_session + 1, dtype=np.int64)
    for file in inputs["events"].files:
        for events in read_pieces(file, ["session"]):
            sessions = events["session"].to_numpy()
            if len(sessions):
                first, last = sessions[0], sessions[-1]
                counts[first : last + 1] += np.bincount(sessions - first)
    return _starts(counts)


def _starts(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)])


def _write_column(inputs: Inputs, name: str, first_ts: int, path: Path) -> None:
    dtype = np.dtype({"aid": np.int32, "ts": np.int32, "type": np.uint8}[name])
    rows = inputs["events"].manifest.rows
    header = {"descr": dtype.str, "fortran_order": False, "shape": (rows,)}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for events_file in inputs["events"].files:
            for events in read_pieces(events_file, [name]):
                file.write(_values(events[name], first_ts).astype(dtype).tobytes())


def _values(column: pl.Series, first_ts: int) -> NDArray[np.generic]:
    if column.name == "ts":
        return ((column - first_ts) // 1000).to_numpy()
    return column.to_physical().to_numpy()


def _save(path: Path, array: NDArray[np.generic]) -> None:
    with path.open("wb") as file:
        np.save(file, array)


def _four(_inputs: Inputs, _settings: Settings) -> int:
    return len(ARRAYS)


EVENT_LOG_STAGE = Stage(write=write_array, shards=_four, file="array-{shard}.npy")
