"""Counts of a log → a picture that shows at once whether the log looks right."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from otto_pipeline.pictures import panels, png
from otto_pipeline.schemas import TYPES

Counted = NDArray[np.int64]
DATES = 3
"""Dates that fit below one panel."""


@dataclass(frozen=True)
class Panels:
    """What is drawn of one part of a log; the index is what is counted.

    sessions_by_hour: by the hour of their first event since 1970; sessions_by_length and
    items_by_events: by their number of events; events_by_hour_of_day (UTC); events_by_type.
    """

    sessions_by_hour: Counted
    sessions_by_length: Counted
    items_by_events: Counted
    events_by_hour_of_day: Counted
    events_by_type: Counted


def log_picture(parts: dict[str, Panels]) -> bytes:
    """PNG of the parts of a log, by name: time, session lengths, item popularity, hours, types."""
    figure, (axes,) = panels(1, 5, (16, 3.2))
    for color, (part, counts) in enumerate(parts.items()):
        style = {"color": f"C{color}", "label": part, "linewidth": 1.2}
        _draw_days(axes[0], counts.sessions_by_hour, style)
        _draw_counts(axes[1], counts.sessions_by_length, style)
        _draw_counts(axes[2], counts.items_by_events, style)
        by_hour = counts.events_by_hour_of_day
        axes[3].plot(by_hour / by_hour.sum(), **style)
        places = np.arange(len(TYPES)) + 0.4 * color
        by_type = counts.events_by_type
        axes[4].bar(places, by_type / by_type.sum(), 0.4, color=f"C{color}", label=part)
    _label(axes)
    axes[4].set_xticks(np.arange(len(TYPES)) + 0.2 * (len(parts) - 1), TYPES)
    return png(figure, dpi=80)


def _draw_days(axis: Any, by_hour: Counted, style: dict[str, Any]) -> None:
    """Sessions that begin on each day (UTC) from the first to the last with any."""
    by_day = np.add.reduceat(by_hour, np.arange(0, len(by_hour), 24))
    first = np.flatnonzero(by_day)[0]
    axis.plot(np.arange(first, len(by_day)), by_day[first:], marker=".", **style)


def _draw_counts(axis: Any, counts: Counted, style: dict[str, Any]) -> None:
    """How many there are of each number of events, on logarithmic axes."""
    events = np.flatnonzero(counts[1:]) + 1
    axis.plot(events, counts[events], marker=".", **{**style, "linewidth": 0}, markersize=3)
    axis.set_xscale("log")
    axis.set_yscale("log")


def _label(axes: Any) -> None:
    titles = {
        "sessions that begin on a day": "",
        "sessions by their events": "events",
        "items by their events": "events",
        "share of events by hour (UTC)": "hour",
        "share of events by type": "",
    }
    for axis, (title, below) in zip(axes, titles.items(), strict=True):
        axis.set_title(title, fontsize=9)
        axis.set_xlabel(below, fontsize=8)
    _label_days(axes[0])
    axes[0].set_ylim(bottom=0)
    axes[3].set_ylim(bottom=0)
    axes[4].set_yscale("log")
    axes[0].legend(fontsize=8)


def _label_days(axis: Any) -> None:
    """Write a few dates below an axis that counts days since 1970."""
    first, last = axis.dataLim.intervalx
    days = np.unique(np.linspace(first, last, DATES).round().astype(np.int64))
    axis.set_xticks(days, [str(day) for day in days.astype("datetime64[D]")])
