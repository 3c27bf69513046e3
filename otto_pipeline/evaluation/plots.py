"""Scores, source report, funnel, ablation → pictures (PNG)."""

from typing import Any

import polars as pl

from otto_pipeline.evaluation.ablation import EVERYTHING, NAMES
from otto_pipeline.evaluation.source_report import AT
from otto_pipeline.pictures import panels, png


def recall_plot(scores: pl.DataFrame) -> bytes:
    """Recall@20 by system and type, with 95 % intervals (a table of `SCORES`)."""
    systems = scores["system"].unique(maintain_order=True).to_list()
    figure, axes = _panels(len(systems))
    for axis, name in zip(axes[0], NAMES, strict=True):
        rows = scores.filter(pl.col("type") == name)
        recall = rows["recall"].fill_null(0).to_numpy()
        low = recall - rows["low"].fill_null(0).to_numpy()
        high = rows["high"].fill_null(0).to_numpy() - recall
        colors = ["C0" if system == systems[0] else "0.7" for system in systems]
        axis.barh(systems, recall, color=colors, xerr=[low.clip(0), high.clip(0)], ecolor="0.4")
        axis.set_title(f"{name} recall@20", fontsize=9)
    return png(figure)


def sources_plot(report: pl.DataFrame) -> bytes:
    """Recall of each source alone, and what is lost without it (a table of `SOURCE_REPORT`)."""
    rows = report.filter(pl.col("source") != report["source"][0]).fill_null(0)
    figure, axes = _panels(rows["source"].n_unique(), rows=2)
    for alone, lost, name in zip(*axes, NAMES, strict=True):
        of_type = rows.filter(pl.col("type") == name)
        for number, k in enumerate(reversed(AT)):
            shade = str(0.85 - 0.2 * number)
            alone.barh(of_type["source"], of_type[f"recall_{k}"], color=shade, label=f"@{k}")
        alone.set_title(f"{name}: recall alone", fontsize=9)
        union, shortlist = 100 * of_type["marginal"], 100 * of_type["marginal_list"]
        lost.barh(of_type["source"], union, color="0.75", label="of the union")
        lost.barh(of_type["source"], shortlist, color="C0", label="of the shortlist", height=0.4)
        lost.set_title(f"{name}: % lost without it", fontsize=9)
    for row in axes:
        row[0].legend(fontsize=7)
    return png(figure)


def funnel_plot(funnel: pl.DataFrame) -> bytes:
    """Share of the labels that each step leaves, by type (a table of `FUNNEL`)."""
    steps = funnel["step"].unique(maintain_order=True).to_list()
    figure, axes = _panels(len(steps))
    for axis, name in zip(axes[0], NAMES, strict=True):
        share = 100 * funnel.filter(pl.col("type") == name)["share"].fill_null(0)
        bars = axis.barh(steps, share, color="C0")
        axis.bar_label(bars, fmt="%.1f", fontsize=8)
        axis.set_title(f"{name}: % of labels left", fontsize=9)
    return png(figure)


def ablation_plot(found: pl.DataFrame) -> bytes:
    """What each brings to the recall of each type, with 95 % intervals (`differences`)."""
    rows = found.filter(pl.col("without") != EVERYTHING)
    figure, axes = _panels(rows["without"].n_unique())
    for axis, name in zip(axes[0], NAMES, strict=True):
        of_type = rows.filter(pl.col("type") == name).drop_nulls("brings")
        brings = of_type["brings"].to_numpy()
        ends = [brings - of_type["low"].to_numpy(), of_type["high"].to_numpy() - brings]
        axis.errorbar(
            brings, of_type["without"].to_list(), xerr=[end.clip(0) for end in ends], fmt="o"
        )
        axis.axvline(0, color="0.4", linestyle=":")
        axis.set_title(f"{name}: recall@20 that it brings", fontsize=9)
    return png(figure)


def _panels(bars: int, rows: int = 1) -> tuple[Any, Any]:
    """A figure with rows of panels, one for each of `NAMES`, of so many horizontal bars."""
    size = (11, rows * (0.35 * bars + 1.2))
    figure, axes = panels(rows, len(NAMES), size, sharey=True)
    axes[0][0].invert_yaxis()  # of all, as they share it
    for axis in axes.flat:
        axis.locator_params(axis="x", nbins=5)
    return figure, axes
