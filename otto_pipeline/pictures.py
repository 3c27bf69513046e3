"""Pictures (PNG): panels beside each other, in the plain form that all of ours have."""

import io
from typing import Any


def panels(rows: int, columns: int, size: tuple[float, float], **options: Any) -> tuple[Any, Any]:
    """A figure of so many inches, and its axes as an array rows × columns."""
    from matplotlib.figure import Figure  # noqa: PLC0415  # half a second that only pictures need

    figure = Figure(figsize=size)
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    for axis in axes.flat:
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def png(figure: Any, dpi: int = 90) -> bytes:
    """The finished figure as PNG."""
    figure.tight_layout()
    found = io.BytesIO()
    figure.savefig(found, format="png", dpi=dpi)
    return found.getvalue()
