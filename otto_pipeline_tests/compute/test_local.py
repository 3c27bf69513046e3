import contextlib
import signal
import subprocess
import sys
import threading
import time
from itertools import pairwise

import numpy as np
import pytest

from otto_pipeline.compute.local import map_shards

MEGABYTE = 2**20


def silent(_seconds: float, _resident_bytes: int) -> None:
    pass


def test_results_come_with_shard_and_seconds_in_order() -> None:
    def work(shard: int) -> str:
        time.sleep(0.02 * shard)
        return f"shard {shard}"

    done = list(map_shards(work, [4, 0, 2], silent))
    assert [(one.shard, one.result) for one in done] == [(i, f"shard {i}") for i in (4, 0, 2)]
    assert all(0.02 * one.shard <= one.seconds < 0.02 * one.shard + 1 for one in done)
    assert done[0].seconds > done[2].seconds > done[1].seconds


def test_no_shard_is_begun_before_the_one_before_is_taken() -> None:
    begun: list[int] = []
    results = map_shards(begun.append, range(3), silent)
    assert begun == []
    next(results)
    assert begun == [0]


def allocate(shard: int) -> None:
    if shard == 1:
        held = np.ones(200 * MEGABYTE, np.uint8)
        time.sleep(0.15)
        del held


def test_peak_sees_memory_that_is_gone_again_at_the_end() -> None:
    before, during, after = (done.peak_bytes for done in map_shards(allocate, range(3), silent))
    assert during - before > 190 * MEGABYTE
    assert during - after > 190 * MEGABYTE


def allocate_in_child(shard: int) -> None:
    code = "import time; held = b'x' * (200 << 20); time.sleep(0.3)"
    if shard == 1:
        subprocess.run([sys.executable, "-S", "-c", code], check=True)


def test_peak_sees_the_memory_of_child_processes() -> None:
    before, during = (done.peak_bytes for done in map_shards(allocate_in_child, range(2), silent))
    assert during - before > 190 * MEGABYTE


def test_error_of_a_shard_comes_out_and_what_was_done_is_kept() -> None:
    results = map_shards(lambda shard: 1 // (1 - shard), range(3), silent)
    assert next(results).result == 1
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_long_shard_is_told_of_again_and_again_and_a_short_one_never(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("otto_pipeline.compute.local.ALIVE_SECONDS", 0.2)
    told: list[tuple[float, int]] = []
    held = np.ones(200 * MEGABYTE, np.uint8)
    [short] = map_shards(lambda _shard: None, [0], lambda *said: told.append(said))
    assert told == []
    [long] = map_shards(lambda _shard: time.sleep(1.1), [0], lambda *said: told.append(said))
    seconds = [seconds for seconds, _ in told]
    assert 3 <= len(seconds) <= 5
    assert all(later - earlier >= 0.2 for earlier, later in pairwise([0, *seconds]))
    assert all(held.nbytes < resident <= long.peak_bytes for _, resident in told)
    assert short.seconds < 0.2 < seconds[-1] < long.seconds


def test_nothing_is_told_of_a_shard_that_has_ended_or_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("otto_pipeline.compute.local.ALIVE_SECONDS", 0.0)
    threads = threading.active_count()
    told: list[tuple[float, int]] = []
    for fn in (lambda _shard: time.sleep(0.2), lambda _shard: time.sleep(0.2) or 1 // 0):
        with contextlib.suppress(ZeroDivisionError):
            list(map_shards(fn, [0], lambda *said: told.append(said)))
        told.clear()
        time.sleep(0.2)
        assert told == []
    assert threading.active_count() == threads


SLEEPING = """
import time
from otto_pipeline.compute.local import map_shards
list(map_shards(lambda _shard: print("begun", flush=True) or time.sleep(60), [0], print))
"""


def test_ctrl_c_stops_a_shard() -> None:
    command = [sys.executable, "-c", SLEEPING]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert "KeyboardInterrupt" in errors
