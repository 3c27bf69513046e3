"""Measurements of stages: kept in `measurements.json`, one of each stage and scale; shown in
RESULTS.md beside each other, with their growth.
"""

import time
from pathlib import Path

import msgspec
import numpy as np

from bench.results import machine, write_section
from bench.stage import STEPS, Cost
from otto_pipeline.settings import SCALES
from otto_pipeline.store.dataset import write_json

FILE = Path(__file__).with_name("measurements.json")
WHOLE_LOG = ("log/raw", "log/parsed")
"""Stages that read the whole log at every scale: they do not grow with the scale's events."""


class Measurement(msgspec.Struct, frozen=True):
    """The cost of a stage at a scale, when and where it was measured."""

    stage: str
    scale: str
    date: str
    machine: str
    cost: Cost


def read() -> dict[tuple[str, str], Measurement]:
    """All measurements, by stage and scale."""
    found = msgspec.json.decode(FILE.read_bytes(), type=list[Measurement]) if FILE.exists() else []
    return {(one.stage, one.scale): one for one in found}


def record(stage: str, scale: str, cost: Cost) -> None:
    """Keep a measurement in the place of the one before."""
    new = Measurement(stage, scale, time.strftime("%Y-%m-%d"), machine(), cost)
    kept = read() | {(stage, scale): new}
    places = [(step, scale) for step in STEPS for scale in SCALES]
    write_json(FILE, [kept[place] for place in places if place in kept])


def write_results() -> None:
    """Lay all measurements out in RESULTS.md."""
    measured = read()
    events = {
        scale: measured["log/events", scale].cost.rows
        for scale in SCALES
        if ("log/events", scale) in measured
    }
    stages = dict.fromkeys(stage for stage, scale in measured if scale in events)
    heads = [f"{scale}: {count / 1e6:,.1f} M events" for scale, count in events.items()]
    rows = [_row(stage, measured, events) for stage in stages]
    text = [
        "Cells: wall s (CPU s) · peak MB · MB on disk; each in a process of its own, whose 0.3 GB "
        "of interpreter and libraries, and mapped files, count. Growth: exponent of wall time and "
        "of peak memory over events, by least squares over the scales, and of wall time from the "
        "second largest scale to the largest, where fixed costs weigh less.",
        "",
        f"| stage | {' | '.join(heads)} | growth of time | last step | of memory |",
        "|---|" + "---|" * (len(heads) + 3),
        *rows,
        "",
        f"{' and '.join(WHOLE_LOG)} read the whole log at every scale.",
        "",
        *(f"Measured {where}." for where in _wheres(measured)),
    ]
    write_section("Stages", "python -m bench --scale … STAGE …", "\n".join(text))


def _row(stage: str, measured: dict[tuple[str, str], Measurement], events: dict[str, int]) -> str:
    found = {scale: measured[stage, scale].cost for scale in events if (stage, scale) in measured}
    cells = [_cell(found[scale]) if scale in found else "" for scale in events]
    seconds = [(events[scale], cost.seconds) for scale, cost in found.items()]
    memory = [(events[scale], cost.peak_bytes) for scale, cost in found.items()]
    growths = [_growth(seconds), _growth(seconds[-2:]), _growth(memory)]
    if stage in WHOLE_LOG:
        growths = ["", "", ""]
    return f"| {stage} | {' | '.join([*cells, *growths])} |"


def _cell(cost: Cost) -> str:
    return (
        f"{cost.seconds:,.1f} ({cost.cpu_seconds:,.1f}) · {cost.peak_bytes / 2**20:,.0f} · "
        f"{cost.disk_bytes / 2**20:,.1f}"
    )


def _growth(points: list[tuple[int, float]]) -> str:
    """Slope of the logarithms."""
    if len(points) < 2:
        return ""
    x, y = np.log([(x, max(y, 0.01)) for x, y in points]).T
    return f"{np.polyfit(x, y, 1)[0]:.2f}"


def _wheres(measured: dict[tuple[str, str], Measurement]) -> list[str]:
    return sorted({f"{one.date} on {one.machine}" for one in measured.values()})
