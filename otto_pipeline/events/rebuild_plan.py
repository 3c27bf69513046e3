"""What a rebuild of a log will cost on this machine: memory, disk and time at each scale.

A linear model of the number of events and sessions' share that a scale takes. Its constants are
`COSTS`, measured by `bench/`.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

from otto_pipeline.events.raw import SHARES
from otto_pipeline.settings import Settings


@dataclass(frozen=True)
class Costs:
    """Cost of a rebuild: what every run takes, and what each event adds.

    Only the scaled part of the log costs `…_per_event`; reading it costs `read_…` for every event
    of the whole log, whatever the scale. Times are seconds on one core.
    """

    base_seconds: float
    read_seconds_per_event: float
    seconds_per_event: float
    base_bytes: float
    memory_per_event: float
    disk_per_event: float


COSTS = Costs(
    base_seconds=35,
    read_seconds_per_event=0.6e-6,
    seconds_per_event=65e-6,
    base_bytes=0.9e9,
    memory_per_event=70,
    disk_per_event=115,
)
"""Measured on two cores, wall time times two (`bench/RESULTS.md`), and extrapolated from pct10.

Reading: log/raw and log/parsed of OTTO's 216 M events took 66 s. Time and disk: all other steps of
pct10's 21.6 M events took 726 s on a busy machine and 2.4 GB, a rebuild of the demo's 0.27 M 23 s.
Memory: 0.9 GB for the demo; at full size the budget of 16 GB, which is no measurement (pct1 took
1.5 GB, pct10 3.9 GB, more than the line between).
"""


@dataclass(frozen=True)
class Step:
    """Expected cost of one scale."""

    scale: str
    events: int
    seconds: float
    memory_gb: float
    disk_gb: float


@dataclass(frozen=True)
class Plan:
    """Expected cost of each scale, and what this machine has."""

    steps: tuple[Step, ...]
    threads: int
    memory_gb: float
    disk_gb: float

    def fits(self, step: Step) -> bool:
        """Whether memory budget and free disk suffice."""
        return step.memory_gb <= self.memory_gb and step.disk_gb <= self.disk_gb


def plan_rebuild(events: int, settings: Settings) -> Plan:
    """The cost of a log of so many events, with the threads and budgets of the settings."""
    return Plan(
        steps=tuple(_step(scale, events, settings.threads) for scale in SHARES if scale != "demo"),
        threads=settings.threads,
        memory_gb=settings.memory_gb,
        disk_gb=round(shutil.disk_usage(_existing(settings.store_dir)).free / 1e9, 1),
    )


def _step(scale: str, events: int, threads: int) -> Step:
    taken = round(events * SHARES[scale])
    core_seconds = COSTS.read_seconds_per_event * events + COSTS.seconds_per_event * taken
    return Step(
        scale=scale,
        events=taken,
        seconds=round((COSTS.base_seconds + core_seconds) / threads, 1),
        memory_gb=round((COSTS.base_bytes + COSTS.memory_per_event * taken) / 1e9, 2),
        disk_gb=round(COSTS.disk_per_event * taken / 1e9, 3),
    )


def _existing(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.exists())
