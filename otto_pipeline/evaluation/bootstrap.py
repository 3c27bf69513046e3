"""Hits of each session → 95 % intervals of recall, by resampling sessions."""

import numpy as np
import polars as pl

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
    if by_session.is_empty():
        return dict.fromkeys((*TYPES, "total"), (None, None))
    patterns = _patterns(by_session)
    frequency = patterns["sessions"].to_numpy()
    generator = np.random.default_rng(seed)
    draws = generator.multinomial(frequency.sum(), frequency / frequency.sum(), size=RESAMPLES)
    recall = {}
    for name in TYPES:
        hits = draws @ patterns[f"hits_{name}"].to_numpy()
        labels = draws @ patterns[f"labels_{name}"].to_numpy()
        with np.errstate(invalid="ignore"):
            recall[name] = hits / labels  # nan where a resample has no label of the type
    present = [name for name in TYPES if patterns[f"labels_{name}"].sum() > 0]
    weights = np.array([WEIGHTS[name] for name in present])
    values = np.array([recall[name] for name in present])
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        recall["total"] = (weights @ np.where(known, values, 0)) / (weights @ known)
    return {name: _interval(values) for name, values in recall.items()}


def gains(one: pl.DataFrame, other: pl.DataFrame) -> pl.DataFrame:
    """How many labels `one` hits more than `other`, both rows of `metrics.hits_by_session`.

    The recall of these rows is the difference of recall, their `intervals` are those of the
    difference, paired by session.
    """
    keys = ["session", "type"]
    paired = one.join(other.select(*keys, fewer="hits"), on=keys, how="inner", validate="1:1")
    return paired.with_columns(pl.col("hits") - pl.col("fewer")).drop("fewer")


def _patterns(by_session: pl.DataFrame) -> pl.DataFrame:
    """Distinct counts (hits, labels of each type) of a session, and how many sessions have them."""
    wide = by_session.group_by("session").agg(
        pl.col(kind).filter(pl.col("type") == name).sum().alias(f"{kind}_{name}")
        for kind in ("hits", "labels")
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
