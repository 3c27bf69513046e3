import subprocess
import sys
import time

import numpy as np
import pytest

from otto_pipeline.compute.local import map_shards

MEGABYTE = 2**20


def test_results_come_with_shard_and_seconds_in_order() -> None:
    def work(shard: int) -> str:
        time.sleep(0.02 * shard)
        return f"shard {shard}"

    done = list(map_shards(work, [4, 0, 2]))
    assert [(one.shard, one.result) for one in done] == [(i, f"shard {i}") for i in (4, 0, 2)]
    assert all(0.02 * one.shard <= one.seconds < 0.02 * one.shard + 1 for one in done)
    assert done[0].seconds > done[2].seconds > done[1].seconds


def test_no_shard_is_begun_before_the_one_before_is_taken() -> None:
    begun: list[int] = []
    results = map_shards(begun.append, range(3))
    assert begun == []
    next(results)
    assert begun == [0]


def allocate(shard: int) -> None:
    if shard == 1:
        held = np.ones(200 * MEGABYTE, np.uint8)
        time.sleep(0.15)
        del held


def test_peak_sees_memory_that_is_gone_again_at_the_end() -> None:
    before, during, after = (done.peak_bytes for done in map_shards(allocate, range(3)))
    assert during - before > 190 * MEGABYTE
    assert during - after > 190 * MEGABYTE


def allocate_in_child(shard: int) -> None:
    code = "import time; held = b'x' * (200 << 20); time.sleep(0.3)"
    if shard == 1:
        subprocess.run([sys.executable, "-S", "-c", code], check=True)


def test_peak_sees_the_memory_of_child_processes() -> None:
    before, during = (done.peak_bytes for done in map_shards(allocate_in_child, range(2)))
    assert during - before > 190 * MEGABYTE


def test_error_of_a_shard_comes_out_and_what_was_done_is_kept() -> None:
    results = map_shards(lambda shard: 1 // (1 - shard), range(3))
    assert next(results).result == 1
    with pytest.raises(ZeroDivisionError):
        next(results)
