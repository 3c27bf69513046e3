"""Statistics of any log: events in, one figure a statistic out, beside OTTO's.

Counts run over pieces of a log (whole sessions each), so that memory does not grow with it: 12
bytes an item. The asset `log/statistics` and the check of a generated log use the same functions.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray
from tabulate import tabulate

from otto_pipeline.events.otto import OTTO, shown
from otto_pipeline.events.pictures import Panels, log_picture
from otto_pipeline.metrics import Recall, count_hits, recalls, weighted_total
from otto_pipeline.schemas import STATISTICS, TOP_K, TYPES
from otto_pipeline.settings import Settings
from otto_pipeline.store.dataset import Dataset, Figures
from otto_pipeline.store.files import atomic
from otto_pipeline.store.parquet import read_pieces
from otto_pipeline.store.stage import Inputs, Stage

PICTURE = "statistics.png"
HOUR_MS = 3_600_000
WEEK_HOURS = 7 * 24
QUANTILES = (0.5, 0.75, 0.9, 0.95)

Counted = NDArray[np.int64]
Values = dict[str, float]
"""Statistics by name."""


class LogCounts:
    """Running counts of one part of a log, over at most `n_items` items (indices from 0).

    by_item, by_type, by_hour: events of each item, type and hour of the day (UTC); by_length:
    sessions of 0, 1, … events; begun: sessions by the hour of their first event since 1970;
    first, last, having: sessions whose first or last event is of each type, or any; shares: sum
    over sessions of each type's share of the events; distinct: pairs of session and item.
    """

    def __init__(self, n_items: int) -> None:
        self.by_item, self.by_type, self.by_hour = (np.zeros(n, np.int64) for n in (n_items, 3, 24))
        self.first, self.last, self.having = np.zeros((3, 3), np.int64)
        self.shares = np.zeros(3)
        self.by_length, self.begun = np.zeros((2, 0), np.int64)
        self.distinct, self.last_ts = 0, 0
        self._seen_by = np.full(n_items, -1, np.int32)

    @property
    def sessions(self) -> int:
        """Sessions counted."""
        return int(self.by_length.sum())

    @property
    def events(self) -> int:
        """Events counted."""
        return int(self.by_type.sum())

    def add(self, events: pl.DataFrame) -> None:
        """Count whole sessions: columns session, aid, ts (ms), type; ordered by session and time.

        A session must not be in two calls.
        """
        if events.is_empty():
            return
        session, ts = events["session"].to_numpy(), events["ts"].to_numpy()
        start = np.flatnonzero(np.concatenate([[True], session[1:] != session[:-1], [True]]))
        self.distinct += _count(
            start,
            self.sessions,
            events["aid"].to_numpy(),
            ts,
            events["type"].to_physical().to_numpy(),
            self._seen_by,
            self.by_item,
            self.by_type,
            self.by_hour,
            self.first,
            self.last,
            self.having,
            self.shares,
        )
        self.by_length = _added(self.by_length, np.bincount(np.diff(start)))
        self.begun = _added(self.begun, np.bincount(ts[start[:-1]] // HOUR_MS))
        self.last_ts = max(self.last_ts, int(ts.max()))

    def values(self) -> Values:
        """Every statistic of the part; none of a part without sessions."""
        if self.sessions == 0:
            return {}
        per_item = np.bincount(self.by_item)
        per_item[0] = 0  # items of other parts
        return {
            "sessions": self.sessions,
            "items": int(per_item.sum()),
            "events": self.events,
            **{f"events per session: {name}": x for name, x in spread(self.by_length).items()},
            **_per_item(per_item),
            **_by_type("share of events", self.by_type, self.events),
            **_by_type("share of first events", self.first, self.sessions),
            **_by_type("share of last events", self.last, self.sessions),
            **_by_type("share in sessions with any", self.shares, self.having),
            "distinct items of a session per event": self.distinct / self.events,
            "sessions begun in the last 7 days": self._begun_lately() / self.sessions,
        }

    def _begun_lately(self) -> int:
        return int(self.begun[max(0, self.last_ts // HOUR_MS + 1 - WEEK_HOURS) :].sum())


class LabelCounts:
    """Running counts of what follows the cuts of sessions, and of what history recalls of it."""

    def __init__(self) -> None:
        self.sessions = 0
        self.having, self.labels, self.hits, self.hittable = np.zeros((4, 3), np.int64)

    def add(self, visible: pl.DataFrame, labels: pl.DataFrame) -> None:
        """Count whole sessions: their visible events (session, aid, in order), and `LABELS` rows.

        A session must not be in two calls.
        """
        by_session = count_hits(labels, labels.join(_history(visible), on=["session", "aid"]))
        found = recalls(by_session)
        types = labels["type"].to_physical().to_numpy()
        self.sessions += visible["session"].n_unique()
        self.labels += np.bincount(types, minlength=3)
        self.having += np.bincount(by_session["type"].to_physical().to_numpy(), minlength=3)
        self.hits += [found[name].hits for name in TYPES]
        self.hittable += [found[name].labels for name in TYPES]

    def values(self) -> Values:
        """Every statistic of the labels that there is a label for."""
        if not self.labels[0]:
            return {}
        by_type = {
            name: Recall(int(hits), int(hittable))
            for name, hits, hittable in zip(TYPES, self.hits, self.hittable, strict=True)
        }
        return {
            **_by_type("sessions with any", self.having, self.sessions),
            **_by_type("labels of a session with any", self.labels, self.having),
            **_by_type("labels per click label", self.labels, self.labels[0]),
            **_by_type("recall@20 of history", self.hits, self.hittable),
            "recall@20 of history: total": weighted_total(by_type) or 0.0,
        }


def spread(counts: Counted) -> Values:
    """Mean, standard deviation, quantiles and maximum where `counts[x]` of all have the value x.

    A quantile is the least value that so many do not exceed.
    """
    total, x = counts.sum(), np.arange(len(counts))
    mean = float((counts * x).sum() / total)
    places = np.searchsorted(np.cumsum(counts), np.ceil(np.multiply(QUANTILES, total)))
    return {
        "mean": mean,
        "standard deviation": float(np.sqrt((counts * (x - mean) ** 2).sum() / total)),
        **{f"{q:.0%}".replace("%", " %"): int(x) for q, x in zip(QUANTILES, places, strict=True)},
        "largest": int(np.flatnonzero(counts)[-1]),
    }


def statistics_table(parts: dict[str, Values]) -> pl.DataFrame:
    """Rows of `STATISTICS`: the values of each part, by its name, beside OTTO's."""
    rows = [
        (part, name, value, OTTO.get(part, {}).get(name))
        for part, values in parts.items()
        for name, value in values.items()
    ]
    return pl.DataFrame(rows, schema=STATISTICS.empty().schema, orient="row")


def statistics_text(table: pl.DataFrame, tablefmt: str = "github") -> str:
    """A table of `STATISTICS` for people."""
    head = ("part", "statistic", "this log", "OTTO")
    rows = [(part, name, shown(value), shown(otto)) for part, name, value, otto in table.rows()]
    align = ("left", "left", "right", "right")
    return tabulate(rows, head, tablefmt=tablefmt, colalign=align, disable_numparse=True)


def _per_item(counts: Counted) -> Values:
    values = spread(counts)
    mean = values.pop("mean")
    relative = {f"events per item, of their mean: {name}": x / mean for name, x in values.items()}
    return {"events per item: mean": mean, **relative}


def _by_type(name: str, counts: NDArray, of: NDArray | int) -> Values:
    shares = np.divide(counts, of, out=np.zeros(3), where=np.asarray(of) > 0)
    return {f"{name}: {kind}": float(x) for kind, x in zip(TYPES, shares, strict=True)}


def _added(total: Counted, more: Counted) -> Counted:
    size = max(len(total), len(more))
    return np.pad(total, (0, size - len(total))) + np.pad(more, (0, size - len(more)))


def _history(visible: pl.DataFrame) -> pl.DataFrame:
    """The latest distinct items of each session, as many as a prediction has."""
    latest = visible.select("session", "aid").reverse().unique(maintain_order=True)
    return latest.filter(pl.int_range(pl.len()).over("session") < TOP_K)


# --- the asset -----------------------------------------------------------------------------------


def write_statistics(inputs: Inputs, _shard: int, _settings: Settings, path: Path) -> Figures:
    """Measure each part of the log in one pass, and draw its picture beside the table."""
    events, n_items = inputs["events"], inputs["items"].manifest.rows
    parts = {"train": LogCounts(n_items), "test": LogCounts(n_items)}
    for is_test, piece in _pieces(events):
        parts["test" if is_test else "train"].add(piece)
    table = statistics_table({part: counts.values() for part, counts in parts.items()})
    table.write_parquet(path)
    drawn = {part: _panels(counts) for part, counts in parts.items() if counts.sessions}
    with atomic(path.parent / PICTURE) as temporary:
        temporary.write_bytes(log_picture(drawn))
    return {"statistics": table.height}


def _pieces(events: Dataset) -> Iterator[tuple[bool, pl.DataFrame]]:
    for receipt, file in zip(events.manifest.shards, events.files, strict=True):
        for piece in read_pieces(file):
            yield receipt.figures["is_test"], piece


def _panels(counts: LogCounts) -> Panels:
    return Panels(
        sessions_by_hour=counts.begun,
        sessions_by_length=counts.by_length,
        items_by_events=np.bincount(counts.by_item),
        events_by_hour_of_day=counts.by_hour,
        events_by_type=counts.by_type,
    )


STATISTICS_STAGE = Stage(write=write_statistics)


# --- kernel: one pass over the events, about 10 ns each ------------------------------------------


@njit(cache=True, nogil=True)
def _count(
    start: NDArray[np.int64],
    first_number: int,
    aid: NDArray,
    ts: NDArray[np.int64],
    type_: NDArray[np.uint8],
    seen_by: NDArray[np.int32],
    by_item: NDArray[np.int64],
    by_type: NDArray[np.int64],
    by_hour: NDArray[np.int64],
    first: NDArray[np.int64],
    last: NDArray[np.int64],
    having: NDArray[np.int64],
    shares: NDArray[np.float64],
) -> int:
    """Add sessions to the counts of `LogCounts`; return their distinct pairs.

    Session i of these holds events start[i] … start[i+1]−1. `seen_by[item]` is the number of the
    last session that had the item, so that a pair is counted once without a set.
    """
    distinct = 0
    for session in range(len(start) - 1):
        begin, end = start[session], start[session + 1]
        of_type = np.zeros(3, np.int64)
        for event in range(begin, end):
            item = aid[event]
            by_item[item] += 1
            of_type[type_[event]] += 1
            by_hour[ts[event] // HOUR_MS % 24] += 1
            if seen_by[item] != first_number + session:
                seen_by[item] = first_number + session
                distinct += 1
        first[type_[begin]] += 1
        last[type_[end - 1]] += 1
        for kind in range(3):
            by_type[kind] += of_type[kind]
            having[kind] += of_type[kind] > 0
            shares[kind] += of_type[kind] / (end - begin)
    return distinct
