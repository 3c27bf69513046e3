"""OTTO's published statistics, by part and name, and how near to them a generated log is.

`events/statistics.py` measures the same of any log.

Parts: `train`; `test`, whose sessions are cut at a random event; `full test`, the same uncut;
`labels`, what follows the cuts. Sources: https://github.com/otto-de/recsys-dataset, and for
`labels` and the share of the last week public contest solutions, whose figures are of the
validation week and agree with each other within some 20 %.
"""

from collections.abc import Mapping

import polars as pl
from tabulate import tabulate

OTTO: dict[str, dict[str, float]] = {
    "train": {
        "sessions": 12_899_779,
        "items": 1_855_603,
        "events": 216_716_096,
        "events per session: mean": 16.80,
        "events per session: standard deviation": 33.58,
        "events per session: 50 %": 6,
        "events per session: 75 %": 15,
        "events per session: 90 %": 39,
        "events per session: 95 %": 68,
        "events per session: largest": 500,
        "events per item: mean": 116.79,
        "events per item, of their mean: 50 %": 20 / 116.79,
        "events per item, of their mean: 75 %": 56 / 116.79,
        "events per item, of their mean: 90 %": 183 / 116.79,
        "events per item, of their mean: 95 %": 398 / 116.79,
        "events per item, of their mean: largest": 129_004 / 116.79,
        "share of events: clicks": 0.8985,
        "share of events: carts": 0.0780,
        "share of events: orders": 0.0235,
        "share of first events: clicks": 0.9957,
        "share of first events: carts": 0.0029,
        "share of first events: orders": 0.0014,
        "share of last events: clicks": 0.9188,
        "share of last events: carts": 0.0377,
        "share of last events: orders": 0.0435,
        "share in sessions with any: clicks": 0.9375,
        "share in sessions with any: carts": 0.1650,
        "share in sessions with any: orders": 0.1094,
        "sessions begun in the last 7 days": 1_801_251 / 12_899_779,
    },
    "test": {
        "sessions": 1_671_803,
        "items": 783_486,
        "events": 6_928_123,
        "events per session: mean": 4.14,
        "events per session: 50 %": 2,
        "share of events: clicks": 0.9083,
        "share of events: carts": 0.0823,
        "share of events: orders": 0.0095,
        "share of last events: clicks": 0.9398,
        "share of last events: carts": 0.0507,
        "share of last events: orders": 0.0094,
        "distinct items of a session per event": 5_006_557 / 6_928_123,
    },
    "full test": {
        "sessions": 1_671_803,
        "items": 1_019_357,
        "events": 13_851_293,
        "events per session: mean": 8.29,
        "events per session: standard deviation": 13.74,
        "events per session: 50 %": 4,
        "events per session: 75 %": 8,
        "events per session: 90 %": 18,
        "events per session: 95 %": 28,
        "events per session: largest": 498,
        "events per item: mean": 13.59,
        "events per item, of their mean: 50 %": 3 / 13.59,
        "events per item, of their mean: 75 %": 9 / 13.59,
        "events per item, of their mean: 90 %": 24 / 13.59,
        "events per item, of their mean: 95 %": 46 / 13.59,
        "events per item, of their mean: largest": 17_068 / 13.59,
        "share of events: clicks": 0.8909,
        "share of events: carts": 0.0834,
        "share of events: orders": 0.0257,
    },
    "labels": {
        "sessions with any: clicks": 0.975,
        "sessions with any: carts": 0.17,
        "sessions with any: orders": 0.08,
        "labels of a session with any: carts": 2.22,
        "labels of a session with any: orders": 1.85,
        "labels per click label: carts": 0.326,
        "labels per click label: orders": 0.179,
        "recall@20 of history: clicks": 0.32,
        "recall@20 of history: carts": 0.31,
        "recall@20 of history: orders": 0.60,
        "recall@20 of history: total": 0.485,
    },
}

ALLOWED = 0.2
"""How far, relative to OTTO's, a statistic of a generated log may be."""
ALLOWED_DIFFICULTY = 0.1
"""The same for what decides how difficult the log is: the recall of history."""
SIZES = ("sessions", "items", "events", "events per item: mean")
"""What is asked for and so is not compared; nor is the largest of anything, which grows with it."""


def compare(parts: Mapping[str, Mapping[str, float]]) -> pl.DataFrame:
    """OTTO's statistics beside those of a generated log, by part.

    Columns part, name, otto, value, deviation (value / otto − 1), allowed (null: not compared),
    near (whether the deviation is allowed).
    """
    rows = [
        (part, name, published, float(parts[part][name]), _allowed(name))
        for part, statistics in OTTO.items()
        for name, published in statistics.items()
        if name in parts.get(part, {})
    ]
    schema = pl.Schema(
        {
            **dict.fromkeys(("part", "name"), pl.String()),
            **dict.fromkeys(("otto", "value", "allowed"), pl.Float64()),
        }
    )
    deviation = pl.col("value") / pl.col("otto") - 1
    return (
        pl.DataFrame(rows, schema=schema, orient="row")
        .with_columns(deviation=deviation, near=deviation.abs() <= pl.col("allowed"))
        .select("part", "name", "otto", "value", "deviation", "allowed", "near")
    )


def comparison_text(comparison: pl.DataFrame, tablefmt: str = "simple") -> str:
    """The table of `compare`; what is too far off is marked and counted below it."""
    rows = [
        (row["part"], row["name"], shown(row["otto"]), shown(row["value"]), *_verdict(row))
        for row in comparison.iter_rows(named=True)
    ]
    head = ("part", "statistic", "OTTO", "generated", "off by", "")
    align = ("left", "left", "right", "right", "right", "left")
    table = tabulate(rows, head, tablefmt=tablefmt, colalign=align, disable_numparse=True)
    compared = comparison["allowed"].count()
    far = compared - int(comparison["near"].sum())
    return (
        f"{table}\n\n{far} of {compared} statistics are further from OTTO's than {ALLOWED:.0%} "
        f"(recall of history: {ALLOWED_DIFFICULTY:.0%})"
    )


def shown(value: float | None) -> str:
    """A statistic as people read it: whole numbers in full, others to four digits."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 1000 or value == int(value) else f"{value:.4g}"


def _allowed(name: str) -> float | None:
    if name in SIZES or name.endswith("largest"):
        return None
    return ALLOWED_DIFFICULTY if name.startswith("recall@20 of history") else ALLOWED


def _verdict(row: dict[str, float | None]) -> tuple[str, str]:
    if row["allowed"] is None:
        return "", ""
    return f"{row['deviation']:+.0%}", "" if row["near"] else "too far"
