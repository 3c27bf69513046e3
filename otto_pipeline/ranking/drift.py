"""Features of two lanes → how far the distribution of each feature differs between them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from otto_pipeline.features.feature import Feature
from otto_pipeline.features.item import ITEM_FEATURES
from otto_pipeline.features.session import SESSION_FEATURES
from otto_pipeline.features.table import FEATURES
from otto_pipeline.pictures import panels, png
from otto_pipeline.ranking.explanation import bars, sample_rows
from otto_pipeline.store.dataset import Dataset

BINS = 10
"""Quantile bins of a feature's values, beside the one of missing values."""
NOTEWORTHY_DRIFT, LARGE_DRIFT = 0.1, 0.25
"""Population stability indices from which a shift is worth a look, and worth doing something."""
DRIFT_ROWS = 20_000
"""Candidates of each lane whose features are compared; as many of both, as the more candidates
there are the more of the rare items are among them."""
OF = {
    **{feature.name: "aid" for feature in ITEM_FEATURES},
    **{feature.name: "session" for feature in SESSION_FEATURES},
}
"""What a feature tells of, where it is the item's or the session's alone: one value however many
candidates have it."""


def lane_drift(reference: Dataset, other: Dataset, seed: int) -> pl.DataFrame:
    """`drift` of all features between samples of two lanes' tables of features; neither empty."""
    rows = min(DRIFT_ROWS, reference.manifest.rows, other.manifest.rows)
    return drift(
        FEATURES, *(sample_rows(lane, lane.read_shard, rows, seed) for lane in (reference, other))
    )


def drift(
    features: Sequence[Feature], reference: pl.DataFrame, other: pl.DataFrame
) -> pl.DataFrame:
    """How far the distribution of each feature in one lane is from that in a reference.

    Frames of candidates with session and aid. Columns feature, psi, missing_reference,
    missing_other (shares of values). The population stability index is Σ (q − p) ln(q / p) over the
    shares of the reference p and the other q in deciles of the reference, with missing values in a
    bin of their own (Siddiqi, Credit Risk Scorecards, 2006); half a value is added to each bin, so
    that no share is zero. What two draws of one distribution differ by is taken off
    (`_by_chance`).
    """
    rows = []
    for feature in features:
        lanes = [_values(lane, feature.name) for lane in (reference, other)]
        edges = _edges(lanes[0].value, feature.missing)
        counts = [_bin_counts(lane.value, feature.missing, edges) for lane in lanes]
        p, q = ((count + 0.5) / (count + 0.5).sum() for count in counts)
        psi = float(((q - p) * np.log(q / p)).sum())
        chance = _by_chance(counts[0] + counts[1], [lane.draws for lane in lanes])
        missing = [count[0] / count.sum() for count in counts]
        rows.append((feature.name, max(psi - chance, 0.0), *missing))
    schema = {
        "feature": pl.String,
        "psi": pl.Float64,
        "missing_reference": pl.Float64,
        "missing_other": pl.Float64,
    }
    return pl.DataFrame(rows, schema, orient="row").sort("psi", "feature", descending=[True, False])


def drift_plot(drifts: pl.DataFrame) -> bytes:
    """PNG of the features that drift most, with the marks from which a shift is noteworthy."""
    figure, ((axis,),) = panels(1, 1, (5, 5))
    bars(axis, drifts, "psi")
    for mark in (NOTEWORTHY_DRIFT, LARGE_DRIFT):
        axis.axvline(mark, color="0.4", linestyle=":")
    axis.set_title("population stability index", fontsize=9)
    return png(figure)


class _Values(NamedTuple):
    """Values of a feature in a lane, and how many independent draws they are."""

    value: pl.Series
    draws: int


def _values(candidates: pl.DataFrame, name: str) -> _Values:
    """A value for each item, session or candidate that the feature tells of; candidates of one
    session resemble each other, so that they are one draw.
    """
    if name in OF:
        value = candidates.unique(OF[name], keep="first", maintain_order=True)[name]
        return _Values(value, len(value))
    return _Values(candidates[name], candidates["session"].n_unique())


def _by_chance(counts: NDArray[np.int64], draws: Sequence[int]) -> float:
    """Index to be expected where both lanes draw from one distribution: that of a χ² with a degree
    of freedom less than there are bins with values (Yurdakul, Statistical Properties of the
    Population Stability Index, Journal of Risk Model Validation, 2020).
    """
    return (np.count_nonzero(counts) - 1) * sum(1 / number for number in draws)


def _edges(values: pl.Series, missing: float) -> NDArray[np.float64]:
    """Lower edges of the bins: quantiles of what is not missing, each once."""
    present = values.filter(values != missing).to_numpy()
    if len(present) == 0:
        return np.zeros(0)
    return np.unique(np.quantile(present, np.arange(1, BINS) / BINS))


def _bin_counts(values: pl.Series, missing: float, edges: NDArray[np.float64]) -> NDArray[np.int64]:
    """Values that are missing, then values in each bin."""
    present = values.filter(values != missing).to_numpy()
    bins = np.searchsorted(edges, present, side="right")
    counts = np.bincount(bins, minlength=len(edges) + 1)
    return np.concatenate([[len(values) - len(present)], counts])
