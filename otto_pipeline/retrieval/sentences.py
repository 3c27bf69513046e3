"""The events that embeddings learn from."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from otto_pipeline.events.event_log import EventLog
from otto_pipeline.retrieval.matrix import DAY

EVENTS_AT_ONCE = 4_000_000


def runs(log: EventLog, last_days: float | None) -> Iterator[pl.DataFrame]:
    """Sessions as runs of items, a few million events at once: columns session, aid, events.

    Consecutive events of one item are one row; a session lies in one frame.
    """
    since = 0 if last_days is None else log.last_second - last_days * DAY
    bounds = np.searchsorted(log.session_start, np.arange(0, max(log.n_events, 1), EVENTS_AT_ONCE))
    for first, last in zip(bounds, [*bounds[1:], log.n_sessions], strict=True):
        begin, end = log.session_start[first], log.session_start[last]
        lengths = np.diff(log.session_start[first : last + 1])
        session = np.repeat(np.arange(first, last, dtype=np.int32), lengths)
        frame = pl.DataFrame(
            {"session": session, "aid": log.aid[begin:end], "ts": log.ts[begin:end]}
        )
        yield (
            frame.filter(pl.col("ts") >= since)
            .group_by(pl.struct("session", "aid").rle_id().alias("run"), maintain_order=True)
            .agg(pl.col("session", "aid").first(), events=pl.len())
            .drop("run")
        )


def write_sentences(log: EventLog, last_days: float | None, path: Path) -> int:
    """Write one session of two runs or more a line, as item indices; return how many."""
    written = 0
    with path.open("wb") as file:
        for frame in runs(log, last_days):
            sentences = (
                frame.group_by("session", maintain_order=True)
                .agg(pl.len(), pl.col("aid").cast(pl.String).str.join(" "))
                .filter(pl.col("len") > 1)
                .select("aid")
            )
            sentences.write_csv(file, include_header=False, quote_style="never")
            written += sentences.height
    return written
