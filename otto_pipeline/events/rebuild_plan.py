"""What a rebuild of a log will cost on this machine: memory, disk and time at each scale.

A linear model of the number of events and sessions' share that a scale takes. Its constants are
`COSTS`, for two cores at full OTTO size; `bench/` measures them.
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
    base_seconds=40,
    read_seconds_per_event=1.0e-6,
    seconds_per_event=85e-6,
    base_bytes=0.7e9,
    memory_per_event=68,
    disk_per_event=350,
)
"""From the budgets of the full OTTO log (224 M events: 160 minutes on 2 cores, 16 GB, 80 GB)."""


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
