import re
import time
from itertools import pairwise

import pytest

from otto_pipeline.store.progress import Progress


class Work:
    """Pieces of work and the log lines that come of them, by a clock that only work moves."""

    def __init__(self, total: int, unit: str = "shards") -> None:
        self.now = 1000.0
        self.lines: list[tuple[float, str]] = []
        self.progress = Progress(
            "validation/features",
            total=total,
            unit=unit,
            log=lambda line: self.lines.append((self.now, line)),
            clock=lambda: self.now,
        )

    def do(self, seconds: float, pieces: int = 1) -> None:
        self.now += seconds
        self.progress.advance(pieces)


def test_line_has_counts_rate_and_expected_end() -> None:
    work = Work(1200)
    work.do(20, 10)
    [(_, line)] = work.lines
    expected = (
        r"validation/features: 10 of 1,200 shards, 30\.0 a minute, "
        r"end expected at \d\d:\d\d:\d\d"
    )
    assert re.fullmatch(expected, line)


def test_end_is_expected_at_the_rate_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 0.0)
    monkeypatch.setattr(time, "localtime", time.gmtime)
    work = Work(10)
    work.do(60, 4)  # 15 s each, 6 left
    assert work.lines[0][1].endswith("end expected at 00:01:30")


def test_at_most_one_line_every_15_seconds() -> None:
    work = Work(1000)
    for _ in range(900):
        work.do(0.5)
    times = [seconds for seconds, _ in work.lines]
    assert len(times) == 30
    assert all(later - earlier >= 15 for earlier, later in pairwise(times))


def test_slow_pieces_have_a_line_each_but_the_last() -> None:
    work = Work(4, unit="items")
    for _ in range(4):
        work.do(100)
    assert [line.split(",")[0] for _, line in work.lines] == [
        f"validation/features: {done} of 4 items" for done in (1, 2, 3)
    ]


def test_quick_work_logs_nothing() -> None:
    work = Work(100)
    for _ in range(100):
        work.do(0.14)
    assert work.lines == []


def test_shard_at_work_is_told_of_with_its_number_seconds_and_memory() -> None:
    work = Work(12)
    work.progress.alive(40.2, 1536 * 2**20)
    work.do(1, 3)
    work.progress.alive(1234.5, 0)
    assert [line for _, line in work.lines] == [
        "validation/features: at shard 1 of 12, 40 s so far, 1,536 MB in memory",
        "validation/features: at shard 4 of 12, 1,234 s so far, 0 MB in memory",
    ]
