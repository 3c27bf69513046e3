"""Hits with everything and with something left out → what each brings, with 95 % intervals."""

from collections.abc import Mapping

import polars as pl
from tabulate import tabulate

from otto_pipeline.evaluation.bootstrap import gains, intervals
from otto_pipeline.metrics import recalls, scores
from otto_pipeline.schemas import TYPES

EVERYTHING = "everything"
"""The name of what nothing is left out of."""
NAMES = (*TYPES, "total")


def differences(hits: Mapping[str, pl.DataFrame], seed: int) -> pl.DataFrame:
    """How much recall@20 with everything is above that without each of the others.

    `hits` has the rows of `metrics.hits_by_session` by the name of what is left out, first those of
    `EVERYTHING`, all of the same sessions. One row for each name and for each type and the total:
    without, type, recall, and beside it, for all but `EVERYTHING`, brings, low, high, the
    difference and its interval (paired bootstrap over sessions). Null where there is no label.
    """
    rows = []
    for name, by_session in hits.items():
        recall = scores(recalls(by_session))
        gain = gains(hits[EVERYTHING], by_session)
        brings, bounds = scores(recalls(gain)), intervals(gain, seed)
        for of in NAMES:
            difference = (None,) * 3 if name == EVERYTHING else (brings[of], *bounds[of])
            rows.append((name, of, recall[of], *difference))
    numbers = dict.fromkeys(("recall", "brings", "low", "high"), pl.Float64)
    return pl.DataFrame(rows, {"without": pl.String, "type": pl.String, **numbers}, orient="row")


def ablation_text(found: pl.DataFrame, sessions: int) -> str:
    """The table of `differences` over so many sessions, and how to read it."""
    head = (
        f"{sessions:,} sessions with labels. Recall@20 with everything, out-of-fold, and what each "
        "brings to it: the\nrecall with everything less that without it. 95 % intervals: paired "
        "bootstrap over sessions."
    )
    return f"{head}\n\n{ablation_table(found)}"


def ablation_table(found: pl.DataFrame, style: str = "simple") -> str:
    """The rows of `differences`, a line for each of what is left out."""
    rows = [
        [name, *map(_cell, part.iter_rows(named=True))]
        for (name,), part in found.group_by(["without"], maintain_order=True)
    ]
    return tabulate(rows, ["without", *NAMES], style, disable_numparse=True)


def _cell(row: Mapping[str, float | None]) -> str:
    if row["recall"] is None:
        return "–"
    if row["brings"] is None:
        return f"{row['recall']:.4f}"
    return f"{row['brings']:+.4f} ({row['low']:+.4f} … {row['high']:+.4f})"
