"""Scores → a picture."""

import io

import polars as pl

from otto_pipeline.schemas import TYPES


def recall_plot(scores: pl.DataFrame) -> bytes:
    """PNG of recall@20 by system and type, with 95 % intervals (a table of `SCORES`)."""
    import matplotlib as mpl  # noqa: PLC0415  # half a second of import that only pictures need

    mpl.use("Agg")
    import matplotlib.pyplot as plt  # noqa: PLC0415

    systems = scores["system"].unique(maintain_order=True).to_list()
    names = (*TYPES, "total")
    figure, axes = plt.subplots(1, len(names), figsize=(11, 0.35 * len(systems) + 1.2), sharey=True)
    for axis, name in zip(axes, names, strict=True):
        rows = scores.filter(pl.col("type") == name)
        recall = rows["recall"].fill_null(0).to_numpy()
        low = recall - rows["low"].fill_null(0).to_numpy()
        high = rows["high"].fill_null(0).to_numpy() - recall
        colors = ["C0" if system == systems[0] else "0.7" for system in systems]
        axis.barh(systems, recall, color=colors, xerr=[low.clip(0), high.clip(0)], ecolor="0.4")
        axis.set_title(f"{name} recall@20", fontsize=9)
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].invert_yaxis()
    figure.tight_layout()
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=90)
    plt.close(figure)
    return png.getvalue()
