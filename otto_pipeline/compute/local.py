"""The local engine: shards one after the other in this process.

One shard at a time is what the memory budget is made for: the shard functions themselves use all
threads (Polars, numba kernels, XGBoost). No data travel through an engine, only paths, so another
engine is another function of this signature.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import psutil

Result = TypeVar("Result")

Alive = Callable[[float, int], None]
"""Told, from a thread of its own, that a shard still runs: (seconds so far, resident bytes)."""

ALIVE_SECONDS = 20.0


@dataclass(frozen=True)
class Done(Generic[Result]):
    """What one shard gave: its number, the function's result, seconds, peak memory in bytes."""

    shard: int
    result: Result
    seconds: float
    peak_bytes: int


def map_shards(
    fn: Callable[[int], Result], shards: Iterable[int], alive: Alive
) -> Iterator[Done[Result]]:
    """Call `fn` (picklable, idempotent) for every shard; yield in order of completion.

    `alive` is called every 20 seconds while a shard runs. The shard has the main thread, so that
    Ctrl-C stops it.
    """
    for shard in shards:
        with Watch(alive) as watch:
            result = fn(shard)
        yield Done(shard, result, watch.seconds, watch.peak_bytes)


class Watch:
    """Times a block, and samples the resident memory of this process and its children."""

    INTERVAL_SECONDS = 0.05

    def __init__(self, alive: Alive) -> None:
        self.peak_bytes = 0
        self._alive = alive
        self._process = psutil.Process()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    @property
    def seconds(self) -> float:
        """Time since the block began."""
        return time.monotonic() - self._began

    def __enter__(self) -> "Watch":
        self._began = time.monotonic()
        self._sample()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._sample()
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        told = 0.0
        while not self._stop.wait(self.INTERVAL_SECONDS):
            resident = self._sample()
            if self.seconds - told >= ALIVE_SECONDS:
                told = self.seconds
                self._alive(told, resident)

    def _sample(self) -> int:
        resident = self._process.memory_info().rss
        for child in self._process.children(recursive=True):
            try:
                resident += child.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        self.peak_bytes = max(self.peak_bytes, resident)
        return resident
