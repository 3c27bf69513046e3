"""Labels, predictions, event log, popularity → recall@20 by segment: where the pipeline is weak.

Segments of sessions are by their visible events and by the type of the last of these, those of
labels by how popular their item was in the lane's last week.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
from tabulate import tabulate

from otto_pipeline.evaluation.bootstrap import intervals
from otto_pipeline.evaluation.recall import WEEK, hit_predictions
from otto_pipeline.events.event_log import EventLog, open_event_log
from otto_pipeline.metrics import count_hits, recalls, scores
from otto_pipeline.schemas import TYPES, Column, Table
from otto_pipeline.settings import Settings
from otto_pipeline.store.dataset import Figures
from otto_pipeline.store.stage import Inputs, Stage

_KEYS = ["session", "type", "aid"]
LENGTHS = (1, 2, 5, 10, 20, 50)
"""Visible events from which a segment of sessions begins."""
LENGTH_NAMES = ("1", "2-4", "5-9", "10-19", "20-49", "50 or more")
PARTS = ("most popular third", "middle third", "least popular third", "not seen in the week")
"""Segments of items: thirds of the last week's events, by falling popularity of the item."""
BY = ("all", "events", "last event", "item")

SEGMENTS = Table(
    "Recall@20 of the pipeline in one segment, for one target.",
    (
        Column("by", pl.Enum(BY), "What divides the sessions or the labels."),
        Column("segment", pl.String, "The segment."),
        Column("type", pl.String, "clicks, carts, orders or total (weighted)."),
        Column("sessions", pl.Int64, "Sessions of the segment with labels.", ge=1),
        Column("labels", pl.Int64, "Labels that could be hit.", ge=0),
        Column("recall", pl.Float64, "Recall@20; null: no labels.", True, 0, 1),
        Column("low", pl.Float64, "Lower end of the 95 % interval.", True, 0, 1),
        Column("high", pl.Float64, "Upper end of the 95 % interval.", True, 0, 1),
    ),
    unique=("by", "segment", "type"),
)


def write_segments(inputs: Inputs, _shard: int, settings: Settings, path: Path) -> Figures:
    """One row for each segment with labels and type."""
    labels = inputs["labels"].read()
    log = open_event_log(inputs["event_log"])
    hits = hit_predictions(inputs["predictions"], labels)
    frames = [
        _rows(by, segment, count_hits(part, hits.join(part, on=_KEYS, how="semi")), settings.seed)
        for by, segment, part in _parts(labels, log, inputs["popularity"].read("aid", *WEEK))
    ]
    pl.concat([SEGMENTS.empty(), *frames]).write_parquet(path)
    return {}


def _parts(
    labels: pl.DataFrame, log: EventLog, popularity: pl.DataFrame
) -> Iterator[tuple[str, str, pl.DataFrame]]:
    """The labels of each segment that has any."""
    if labels.height:
        yield "all", "all", labels
    of_session = session_segments(log, labels["session"].unique().sort())
    of_item = item_segments(popularity)
    for by, names in (("events", LENGTH_NAMES), ("last event", TYPES), ("item", PARTS)):
        other = of_item if by == "item" else of_session.select("session", segment=by)
        parts = labels.join(other, on=other.columns[0], maintain_order="left")
        for name in names:
            part = parts.filter(pl.col("segment") == name).drop("segment")
            if part.height:
                yield by, name, part


def session_segments(log: EventLog, sessions: pl.Series) -> pl.DataFrame:
    """Columns session, `events` and `last event`: the segments of sessions, by their names."""
    session = sessions.to_numpy()
    first, end = log.session_start[session], log.session_start[session + 1]
    place = np.searchsorted(LENGTHS, end - first, side="right") - 1
    return pl.DataFrame(
        {
            "session": sessions,
            "events": np.array(LENGTH_NAMES)[place],
            "last event": np.array(TYPES)[log.type[end - 1]],
        },
        {"session": pl.Int32, "events": pl.String, "last event": pl.String},
    )


def item_segments(popularity: pl.DataFrame) -> pl.DataFrame:
    """Columns aid, segment: the third of the last week's events that an item belongs to."""
    events = pl.sum_horizontal(pl.col(WEEK).cast(pl.Int64))
    ordered = popularity.select("aid", events=events).sort(
        ["events", "aid"], descending=[True, False]
    )
    before = pl.col("events").cum_sum() - pl.col("events")
    third = (3 * before // pl.max_horizontal(pl.col("events").sum(), 1)).clip(0, 2)
    return ordered.select(
        "aid",
        segment=pl.when(pl.col("events") == 0)
        .then(pl.lit(PARTS[-1]))
        .otherwise(third.replace_strict(dict(enumerate(PARTS[:3])), return_dtype=pl.String)),
    )


def _rows(by: str, segment: str, by_session: pl.DataFrame, seed: int) -> pl.DataFrame:
    by_type, bounds = recalls(by_session), intervals(by_session, seed)
    counts = {name: recall.labels for name, recall in by_type.items()}
    sessions = by_session["session"].n_unique()
    rows = [
        (by, segment, name, sessions, counts.get(name, sum(counts.values())), value, *bounds[name])
        for name, value in scores(by_type).items()
    ]
    return pl.DataFrame(rows, SEGMENTS.empty().schema, orient="row")


def segments_table(segments: pl.DataFrame, style: str = "simple") -> str:
    """Recall@20 of each segment by type, with the interval of the total."""
    rows = []
    for (by, segment), part in segments.group_by(["by", "segment"], maintain_order=True):
        found = {row["type"]: row for row in part.iter_rows(named=True)}
        recall = [_shown(found[name]["recall"]) for name in (*TYPES, "total")]
        ends = "–".join(_shown(found["total"][end]) for end in ("low", "high"))
        rows.append([by, segment, f"{found['total']['sessions']:,}", *recall, ends])
    headers = ["by", "segment", "sessions", *TYPES, "total", "95 % of total"]
    return tabulate(rows, headers, style, disable_numparse=True)


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


SEGMENTS_STAGE = Stage(write=write_segments, version=f"1 {LENGTHS} {PARTS}", settings=("seed",))
