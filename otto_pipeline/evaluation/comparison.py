"""Two finished runs → how far their recall@20 differs on the sessions that both were asked about.

A session counts where both runs predict it and hold back the same labels of it; it is known by its
original id, so the runs may be of two stores, scales or settings.
"""

from collections.abc import Iterator
from pathlib import Path

import polars as pl
from tabulate import tabulate

from otto_pipeline.evaluation.bootstrap import intervals
from otto_pipeline.evaluation.recall import hit_predictions
from otto_pipeline.evaluation.segments import LENGTH_NAMES, session_segments
from otto_pipeline.events.event_log import open_event_log
from otto_pipeline.metrics import recalls, scores
from otto_pipeline.schemas import TOP_K, TYPES, WEIGHTS
from otto_pipeline.store.dataset import Dataset, read_manifest

SHOWN_SESSIONS = 5
"""Sessions that win, and that lose, most."""
LABEL = ["session", "type", "item"]


def run_folder(folder: Path) -> Path:
    """The folder of a scale: the given one, or the one scale with scores in a store.

    Raises:
        ValueError: there is none, or there are several to choose from.
    """
    found = [
        path
        for path in (folder, *sorted(p for p in folder.glob("*") if p.is_dir()))
        if read_manifest(path / "validation/predictions")
    ]
    if not found:
        raise ValueError(f"{folder}: holds no finished run (no validation/predictions)")
    if len(found) > 1 and found[0] != folder:
        raise ValueError(f"{folder}: holds several runs; choose {' or '.join(map(str, found))}")
    return found[0]


def comparison_text(first: Path, second: Path, seed: int) -> str:
    """Recall of two runs and their difference: in all, by segment, and the extreme sessions."""
    by_session, left_out = compare_runs(first, second)
    shared = by_session["session"].n_unique()
    head = (
        f"A: {first}\nB: {second}\n{shared:,} sessions with the same labels in both; "
        f"{left_out:,} others are left out. 95 % intervals: paired bootstrap over sessions."
    )
    return "\n\n".join(
        [head, _totals(by_session, seed), _segments(by_session, seed), *_extremes(by_session)]
    )


def compare_runs(first: Path, second: Path) -> tuple[pl.DataFrame, int]:
    """Hits of both runs by session and type, and how many sessions are not in both alike.

    Columns session (original id), type, hits (of the first), other_hits, labels, and the segments
    of the session, which are by what the first run sees of it.

    Raises:
        ValueError: the original ids are of different kinds, or the runs share no session.
    """
    mine, other = _labels(first), _labels(second)
    if (
        mine.schema["session"] != other.schema["session"]
        or mine.schema["item"] != (other.schema["item"])
    ):
        raise ValueError("the two runs are of different logs: their ids are of different kinds")
    differing = pl.concat(
        [
            one.join(another, on=LABEL, how="anti")["session"]
            for one, another in ((mine, other), (other, mine))
        ]
    ).unique()
    both = mine.join(other.select(*LABEL, other_hit="hit"), on=LABEL).filter(
        ~pl.col("session").is_in(differing.implode())
    )
    if both.is_empty():
        raise ValueError("the two runs share no session with the same labels")
    most = {"upper_bound": TOP_K}
    by_session = (
        both.group_by("session", "type")
        .agg(
            pl.col("events", "last event").first(),
            hits=pl.col("hit").cast(pl.Int64).sum().clip(**most),
            other_hits=pl.col("other_hit").cast(pl.Int64).sum().clip(**most),
            labels=pl.len().cast(pl.Int64).clip(**most),
        )
        .sort("session", "type")
    )
    return by_session, len(differing)


def _labels(root: Path) -> pl.DataFrame:
    """Labels of a run with original ids, whether each was hit, and the session's segments."""
    keys = ["session", "type", "aid"]
    labels = Dataset(root / "validation/labels").read(*keys)
    hits = hit_predictions(Dataset(root / "validation/predictions"), labels)
    log = open_event_log(Dataset(root / "validation/event_log"))
    segments = session_segments(log, labels["session"].unique().sort())
    return (
        labels.join(hits.with_columns(hit=True), on=keys, how="left")
        .join(segments, on="session")
        .join(Dataset(root / "log/sessions").read("session", "session_id"), on="session")
        .join(Dataset(root / "log/items").read("aid", "item_id"), on="aid")
        .select(
            "type",
            "events",
            "last event",
            pl.col("hit").fill_null(value=False),
            session="session_id",
            item="item_id",
        )
    )


def _differences(by_session: pl.DataFrame, seed: int) -> Iterator[tuple[str, ...]]:
    """For each type and the total the two recalls, their difference and its interval, as text."""
    mine = scores(recalls(by_session))
    other = scores(recalls(by_session.with_columns(hits="other_hits")))
    gain = by_session.with_columns(hits=pl.col("other_hits") - pl.col("hits"))
    bounds = intervals(gain, seed)
    for name, recall in mine.items():
        second, (low, high) = other[name], bounds[name]
        if recall is None or second is None or low is None or high is None:
            yield name, "–", "–", "–", "–"
        else:
            interval = f"{low:+.4f} … {high:+.4f}"
            yield name, f"{recall:.4f}", f"{second:.4f}", f"{second - recall:+.4f}", interval


def _totals(by_session: pl.DataFrame, seed: int) -> str:
    headers = ["recall@20", "A", "B", "B - A", "95 %"]
    return tabulate(list(_differences(by_session, seed)), headers, "simple", disable_numparse=True)


def _segments(by_session: pl.DataFrame, seed: int) -> str:
    rows = []
    for by, names in (("events", LENGTH_NAMES), ("last event", TYPES)):
        for name in names:
            part = by_session.filter(pl.col(by) == name)
            if part.height:
                cells = [f"{row[3]} ({row[4]})" for row in _differences(part, seed)]
                rows.append([by, name, f"{part['session'].n_unique():,}", *cells])
    headers = ["B - A by", "", "sessions", *TYPES, "total"]
    return tabulate(rows, headers, "simple", disable_numparse=True)


def _extremes(by_session: pl.DataFrame) -> Iterator[str]:
    """The sessions to which B brings most, and those from which it takes most."""
    change = pl.col("other_hits") - pl.col("hits")
    weight = pl.col("type").cast(pl.String).replace_strict(WEIGHTS, return_dtype=pl.Float64)
    gains = (
        by_session.with_columns(
            change=change, gain=weight * change / pl.col("labels").sum().over("type")
        )
        .group_by("session", maintain_order=True)
        .agg(
            pl.col("gain").sum(),
            *(pl.col("change").filter(pl.col("type") == name).sum().alias(name) for name in TYPES),
        )
    )
    for what, descending, there in (
        ("B wins most", True, pl.col("gain") > 0),
        ("B loses most", False, pl.col("gain") < 0),
    ):
        found = gains.filter(there).sort(["gain", "session"], descending=[descending, False])
        rows = [
            [session, f"{gain:+.6f}", *(f"{hits:+d}" for hits in changes)]
            for session, gain, *changes in found.head(SHOWN_SESSIONS).iter_rows()
        ]
        headers = [what, "total", *(f"hits {name}" for name in TYPES)]
        yield tabulate(rows, headers, "simple", disable_numparse=True) if rows else f"{what}: none"
