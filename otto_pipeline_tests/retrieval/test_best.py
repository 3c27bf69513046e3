import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otto_pipeline.retrieval.best import (
    NUMBER_MASK,
    best_first_key,
    score_of_key,
    sort_smallest,
)

SCORES = st.floats(0, 2.0**100, width=32)
SIGNED = st.floats(-(2.0**100), 2.0**100, width=32).map(lambda score: score + 0.0)
NUMBERS = st.integers(0, NUMBER_MASK)
KEYS = st.lists(st.integers(-(2**63), 2**63 - 1), unique=True, max_size=300)


@given(st.lists(st.tuples(SIGNED, NUMBERS), max_size=40))
def test_keys_sort_by_falling_score_then_by_number(items: list[tuple[float, int]]) -> None:
    by_key = sorted(items, key=lambda item: best_first_key(*item))
    assert by_key == sorted(items, key=lambda item: (-item[0], item[1]))


@given(SCORES, NUMBERS)
def test_a_key_holds_its_score_and_its_number(score: float, number: int) -> None:
    key = best_first_key(score, number)
    assert score_of_key(key) == score
    assert key & NUMBER_MASK == number


@given(KEYS, st.integers(0, 320), st.integers(0, 20))
def test_the_smallest_are_in_front_sorted(keys: list[int], wanted: int, behind: int) -> None:
    array = np.array(keys + list(range(behind)), np.int64)
    kept = sort_smallest(array, len(keys), wanted)
    assert array[:kept].tolist() == sorted(keys)[:wanted]
    assert sorted(array[: len(keys)].tolist()) == sorted(keys)
    assert array[len(keys) :].tolist() == list(range(behind))


@pytest.mark.parametrize("order", [1, -1])
def test_sorted_keys_are_no_hard_case(order: int) -> None:
    array = np.arange(100_000)[::order].copy()
    assert sort_smallest(array, len(array), 10) == 10
    assert array[:10].tolist() == list(range(10))
