"""Found labels → what each source of candidates is worth, and what stands behind it costs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
from tabulate import tabulate

from otto_pipeline.metrics import count_hits, recalls, scores
from otto_pipeline.retrieval.sources import SOURCES
from otto_pipeline.schemas import TYPES, Column, Table
from otto_pipeline.settings import Settings
from otto_pipeline.store.dataset import Dataset, Figures, Receipt
from otto_pipeline.store.stage import Inputs, Stage

ALL = "all sources"
AT = (20, 50, 100, 200)
"""Lengths of a source's own list at which its recall is taken."""
KEYS = ["session", "type", "aid"]
TITLES = {
    "source": "source",
    **{f"alone @{k}": f"recall_{k}" for k in AT},
    "union loses": "marginal",
    "shortlist loses": "marginal_list",
    "unique hits": "unique_hits",
}
"""Columns by their titles where people read them."""
COSTS = ("built in s", "peak MB", "size MB", "proposes in s")
"""Of what stands behind a source; and its part, by the processor's cycles, of the seconds that the
candidates take."""
NO_COSTS = dict.fromkeys(COSTS)

SOURCE_REPORT = Table(
    "What one source of candidates, or all of them, find of one target's labels.",
    (
        Column("source", pl.String, "The source."),
        Column("type", pl.String, "clicks, carts, orders or total (weighted)."),
        *(
            Column(
                f"recall_{k}", pl.Float64, f"Recall of its own best {k}; null: no labels.", True, 0
            )
            for k in AT
        ),
        Column(
            "marginal",
            pl.Float64,
            "What the recall of the union of all sources loses without it; null: no labels.",
            True,
            0,
        ),
        Column(
            "marginal_list",
            pl.Float64,
            "What the recall of the shortlist, merged by the list that needs no labels, loses "
            "without it; below zero: it does harm; null: no labels.",
            True,
        ),
        Column("unique_hits", pl.Int64, "Labels that no other source finds.", ge=0),
        Column("labels", pl.Int64, "Labels of the sampled sessions.", ge=0),
    ),
    ("source", "type"),
)


def write_source_report(inputs: Inputs, _shard: int, settings: Settings, path: Path) -> Figures:
    """Four rows for all sources and for each; the figures hold the cost of each.

    The inputs hold what stands behind a source under the source's name.
    """
    found = inputs["found_labels"].read()
    rows = [*rows_of(found, ALL, settings.max_candidates)]
    for source in SOURCES:
        rows += rows_of(found, source, settings.max_candidates)
    pl.DataFrame(rows, schema=SOURCE_REPORT.empty().schema).write_parquet(path)
    return {
        "sessions": inputs["found_labels"].figures()["sessions"],
        "cost": {source: cost(inputs, source) for source in SOURCES},
    }


def rows_of(found: pl.DataFrame, source: str, max_candidates: int) -> Iterator[dict[str, Any]]:
    """The rows of one source, by type, from those of `FOUND_LABELS`."""
    own, others = "place", pl.lit(None, pl.UInt32)
    if source != ALL:
        own, others = f"{source}_rank", pl.col(f"place_without_{source}")
    found = found.with_columns(rank=own, without=others)
    rank, place, without = pl.col("rank"), pl.col("place"), pl.col("without")
    alone = {f"recall_{k}": _recall(found, rank <= k) for k in AT}
    union, shortlist = _recall(found, place > 0), _recall(found, place <= max_candidates)
    other_union, other_list = _recall(found, without > 0), _recall(found, without <= max_candidates)
    only = found.filter(rank.is_not_null() & without.is_null())
    for name in (*TYPES, "total"):
        yield {
            "source": source,
            "type": name,
            **{column: by_type[name] for column, by_type in alone.items()},
            "marginal": _difference(union[name], other_union[name]),
            "marginal_list": _difference(shortlist[name], other_list[name]),
            "unique_hits": _count(only, name),
            "labels": _count(found, name),
        }


def _recall(found: pl.DataFrame, hit: pl.Expr) -> dict[str, float | None]:
    return scores(recalls(count_hits(found.select(KEYS), found.filter(hit).select(KEYS))))


def _difference(all_: float | None, others: float | None) -> float | None:
    return None if all_ is None or others is None else all_ - others


def _count(labels: pl.DataFrame, name: str) -> int:
    return labels.height if name == "total" else labels.filter(pl.col("type") == name).height


def cost(inputs: Inputs, source: str) -> dict[str, float | None]:
    """What a source costs, by `COSTS`; None where nothing stands behind it."""
    behind: list[Receipt] = [
        receipt
        for receipt in inputs["neighbours"].manifest.shards
        if receipt.figures["source"] == source
    ]
    if source in inputs:
        behind += inputs[source].manifest.shards
    built: tuple[float | None, ...] = (None, None, None)
    if behind:
        peak, size = max(receipt.peak_bytes for receipt in behind), sum(r.bytes for r in behind)
        seconds = sum(receipt.seconds for receipt in behind)
        built = (round(seconds, 1), peak // 2**20, round(size / 2**20, 1))
    return dict(zip(COSTS, (*built, round(_proposing(inputs, source), 1)), strict=True))


def _proposing(inputs: Inputs, source: str) -> float:
    """The source's part of the seconds that the candidates took."""
    seconds = 0.0
    for receipt in inputs["candidates"].manifest.shards:
        cycles = receipt.figures["cycles"]
        seconds += receipt.seconds * cycles[source] / max(1, sum(cycles.values()))
    return seconds


def source_tables(report: Dataset) -> str:
    """The report as Markdown, recall in %: a table for the total, with costs, and for each type."""
    rows, costs = report.read(), report.figures()["cost"]
    parts = []
    for name in ("total", *TYPES):
        of_type = rows.filter(pl.col("type") == name).drop("type", "labels").iter_rows(named=True)
        table = [
            {title: _shown(row[column]) for title, column in TITLES.items()}
            | (_shown_cost(costs.get(row["source"], NO_COSTS)) if name == "total" else {})
            for row in of_type
        ]
        parts += [f"**{name}**", tabulate(table, "keys", "github", disable_numparse=True)]
    return "\n\n".join(parts)


def _shown(value: str | float | None) -> str:
    if isinstance(value, float):
        return f"{round(100 * value, 2) + 0.0:.2f}"  # no -0.00
    return "–" if value is None else str(value)


def _shown_cost(found: dict[str, float | None]) -> dict[str, str]:
    return {title: "–" if value is None else f"{value:,}" for title, value in found.items()}


SOURCE_REPORT_STAGE = Stage(write=write_source_report, settings=("max_candidates",))
