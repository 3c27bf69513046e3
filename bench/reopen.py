"""Time to open the event logs of the OTTO-sized log again, into RESULTS.md.

python -m bench reopen
"""

import time
from pathlib import Path

import numpy as np

from bench.harness import STORE
from bench.results import write_section
from otto_pipeline.events.event_log import ARRAYS, open_event_log
from otto_pipeline.settings import SCALES
from otto_pipeline.store.dataset import Dataset


def reopen(folder: Path) -> tuple[int, float, float]:
    """Events of an event log; seconds to open it, and to read every array through once."""
    began = time.monotonic()
    log = open_event_log(Dataset(folder))
    opened = time.monotonic()
    for name in ARRAYS:
        np.max(getattr(log, name))
    return log.n_events, opened - began, time.monotonic() - opened


def main() -> None:
    lines = ["| event log | events | ms to open | s to read through |", "|---|---|---|---|"]
    for scale in SCALES[1:]:
        for lane in ("validation", "submission"):
            events, opened, read = reopen(STORE / scale / lane / "event_log")
            lines.append(f"| {scale}/{lane} | {events:,} | {opened * 1000:.1f} | {read:.2f} |")
    write_section("Event logs, opened again", "python -m bench reopen", "\n".join(lines))
