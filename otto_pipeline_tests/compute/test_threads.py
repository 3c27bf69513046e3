import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otto_pipeline.compute.threads import BLOCKS_PER_THREAD, map_ahead, map_blocks


def blocks_of(costs: list[int], threads: int) -> list[tuple[int, int]]:
    cost = np.array(costs, np.int64)
    return list(map_blocks(lambda first, last: (first, last), cost, threads))


COSTS = st.lists(st.integers(0, 5) | st.integers(0, 10**9), max_size=60)


@given(costs=COSTS, threads=st.integers(1, 4))
@settings(max_examples=60)
def test_blocks_cover_the_range_exactly_once_in_order(costs: list[int], threads: int) -> None:
    blocks = blocks_of(costs, threads)
    assert [i for first, last in blocks for i in range(first, last)] == list(range(len(costs)))
    assert all(first < last for first, last in blocks)
    assert len(blocks) <= threads * BLOCKS_PER_THREAD


@given(costs=st.lists(st.integers(0, 1000), min_size=1, max_size=200), threads=st.integers(1, 4))
@settings(max_examples=60)
def test_no_block_costs_much_more_than_its_share(costs: list[int], threads: int) -> None:
    share = sum(costs) / (threads * BLOCKS_PER_THREAD)
    for first, last in blocks_of(costs, threads):
        assert sum(costs[first:last]) <= share + max(costs) + 1e-6


def test_empty_range_has_no_blocks() -> None:
    assert blocks_of([], 2) == []


def test_range_that_costs_nothing_is_covered() -> None:
    assert blocks_of([0, 0, 0], 2) == [(0, 3)]


def test_results_come_in_order_whatever_ends_first() -> None:
    ended = []

    def work(first: int, _last: int) -> int:
        time.sleep(0.1 if first == 0 else 0)
        ended.append(first)
        return first

    results = list(map_blocks(work, np.ones(64, np.int64), 2))
    assert results == sorted(results)
    assert ended != sorted(ended)


def test_blocks_run_on_as_many_threads_as_given() -> None:
    together = threading.Barrier(3, timeout=10)

    def work(first: int, last: int) -> int:
        if first < 3:
            together.wait()
        return last - first

    assert sum(map_blocks(work, np.ones(24, np.int64), 3)) == 24


def test_error_of_a_block_comes_out() -> None:
    with pytest.raises(ZeroDivisionError):
        list(map_blocks(lambda first, _last: 1 // first, np.ones(5, np.int64), 2))


@given(items=st.lists(st.integers(), max_size=20), threads=st.integers(1, 4))
@settings(max_examples=40)
def test_items_are_mapped_exactly_once_in_order(items: list[int], threads: int) -> None:
    assert list(map_ahead(str, items, threads)) == list(map(str, items))


def test_items_are_taken_only_as_far_ahead_as_there_are_threads() -> None:
    taken = []

    def items() -> Iterator[int]:
        for item in range(100):
            taken.append(item)
            yield item

    results = map_ahead(str, items(), 2)
    assert taken == []
    for number in range(3):
        assert next(results) == str(number)
        assert len(taken) == number + 3
    results.close()


def test_items_are_mapped_on_as_many_threads_as_given() -> None:
    together = threading.Barrier(3, timeout=10)
    assert sorted(map_ahead(lambda _: together.wait(), range(3), 3)) == [0, 1, 2]


def test_error_of_an_item_comes_out_in_its_place() -> None:
    results = map_ahead(lambda item: 1 // (1 - item), range(3), 2)
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)
