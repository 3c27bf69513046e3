"""Progress of long work, as log lines: how much is done, and what is at work."""

import time
from collections.abc import Callable

EVERY_SECONDS = 15.0


class Progress:
    """Counts finished pieces and logs how many, how fast, and when the last is expected."""

    def __init__(
        self,
        name: str,
        *,
        total: int,
        log: Callable[[str], None],
        unit: str = "shards",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name, self._total, self._log, self._unit, self._clock = name, total, log, unit, clock
        self._done = 0
        self._began = self._logged = clock()

    def advance(self, pieces: int = 1) -> None:
        """`pieces` more are done."""
        self._done += pieces
        now = self._clock()
        if now - self._logged < EVERY_SECONDS or self._done >= self._total:
            return
        self._logged = now
        seconds_each = (now - self._began) / self._done
        left = seconds_each * (self._total - self._done)
        end = time.strftime("%H:%M:%S", time.localtime(time.time() + left))
        self._log(
            f"{self._name}: {self._done:,} of {self._total:,} {self._unit}, "
            f"{60 / seconds_each:,.1f} a minute, end expected at {end}"
        )

    def alive(self, seconds: float, resident_bytes: int) -> None:
        """Log that the next shard is at work, for how long and with how much memory."""
        self._log(
            f"{self._name}: at shard {self._done + 1:,} of {self._total:,}, "
            f"{seconds:,.0f} s so far, {resident_bytes / 2**20:,.0f} MB in memory"
        )
