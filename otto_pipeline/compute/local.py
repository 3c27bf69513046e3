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


@dataclass(frozen=True)
class Done(Generic[Result]):
    """What one shard gave: its number, the function's result, seconds, peak memory in bytes."""

    shard: int
    result: Result
    seconds: float
    peak_bytes: int


def map_shards(fn: Callable[[int], Result], shards: Iterable[int]) -> Iterator[Done[Result]]:
    """Call `fn` (picklable, idempotent) for every shard; yield in order of completion."""
    for shard in shards:
        started = time.monotonic()
        with PeakMemory() as memory:
            result = fn(shard)
        yield Done(shard, result, time.monotonic() - started, memory.peak_bytes)


class PeakMemory:
    """Samples the resident memory of this process and its children every 50 ms."""

    INTERVAL_SECONDS = 0.05

    def __init__(self) -> None:
        self.peak_bytes = 0
        self._process = psutil.Process()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "PeakMemory":
        self._sample()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._sample()
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(self.INTERVAL_SECONDS):
            self._sample()

    def _sample(self) -> None:
        resident = self._process.memory_info().rss
        for child in self._process.children(recursive=True):
            try:
                resident += child.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        self.peak_bytes = max(self.peak_bytes, resident)
