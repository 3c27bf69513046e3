"""Hits of each session → 95 % intervals of recall, by resampling sessions."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from otto_pipeline.schemas import TYPES, WEIGHTS

RESAMPLES = 1000
QUANTILES = (0.025, 0.975)

Interval = tuple[float | None, float | None]


def intervals(by_session: pl.DataFrame, seed: int) -> dict[str, Interval]:
    """95 % interval of each type's recall and of the total; (None, None) without labels.

    `by_session` has the rows of `metrics.hits_by_session`. Sessions with equal counts are drawn
    together (one multinomial draw a resample), so the cost does not grow with their number. The
    total runs over the types that have labels in the sample, with weights scaled to sum to one.
    """
    (recall,) = _resampled(by_session, ("hits",), seed)
    return {name: _interval(values) for name, values in recall.items()}


def paired_intervals(by_session: pl.DataFrame, seed: int) -> dict[str, Interval]:
    """The same of the difference of two recalls: that by `other_hits` less that by `hits`.

    Both are of the same resampled sessions, so what makes a session hard for both cancels out.
    """
    recall, other = _resampled(by_session, ("hits", "other_hits"), seed)
    return {name: _interval(other[name] - values) for name, values in recall.items()}


def _resampled(
    by_session: pl.DataFrame, kinds: Sequence[str], seed: int
) -> list[dict[str, NDArray[np.float64]]]:
    """For each kind of hits the recall of each type and the total in every resample."""
    if by_session.is_empty():
        return [{name: np.zeros(0) for name in (*TYPES, "total")} for _ in kinds]
    patterns = _patterns(by_session, (*kinds, "labels"))
    frequency = patterns["sessions"].to_numpy()
    generator = np.random.default_rng(seed)
    draws = generator.multinomial(frequency.sum(), frequency / frequency.sum(), size=RESAMPLES)
    return [_recall(patterns, draws, kind) for kind in kinds]


def _recall(
    patterns: pl.DataFrame, draws: NDArray[np.int64], kind: str
) -> dict[str, NDArray[np.float64]]:
    recall = {}
    for name in TYPES:
        hits = draws @ patterns[f"{kind}_{name}"].to_numpy()
        labels = draws @ patterns[f"labels_{name}"].to_numpy()
        with np.errstate(invalid="ignore"):
            recall[name] = hits / labels  # nan where a resample has no label of the type
    present = [name for name in TYPES if patterns[f"labels_{name}"].sum() > 0]
    weights = np.array([WEIGHTS[name] for name in present])
    values = np.array([recall[name] for name in present])
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        recall["total"] = (weights @ np.where(known, values, 0)) / (weights @ known)
    return recall


def _patterns(by_session: pl.DataFrame, kinds: Sequence[str]) -> pl.DataFrame:
    """Distinct counts (of each kind and type) of a session, and how many sessions have them."""
    wide = by_session.group_by("session").agg(
        pl.col(kind).filter(pl.col("type") == name).sum().alias(f"{kind}_{name}")
        for kind in kinds
        for name in TYPES
    )
    counts = [column for column in wide.columns if column != "session"]
    return wide.group_by(counts).agg(sessions=pl.len().cast(pl.Int64)).sort(counts)


def _interval(values: np.ndarray) -> Interval:
    values = values[~np.isnan(values)]
    if len(values) == 0:
        return None, None
    low, high = np.quantile(values, QUANTILES)
    return float(low), float(high)
