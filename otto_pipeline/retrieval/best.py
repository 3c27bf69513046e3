"""The best of many items by score, as kernels find them: numbers that sort best first."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from otto_pipeline.compute.kernels import inner_njit

NUMBER_BITS = 32
NUMBER_MASK = 2**NUMBER_BITS - 1
"""Low bits of a key: the number of an item, or of something else, below 2^32."""


@inner_njit
def best_first_key(score: float, number: int) -> int:
    """A key that is the smaller, the larger the score in single precision; then the number.

    The bits of floats, those of negative ones turned over, have the order of the floats.
    """
    bits = np.int64(np.float32(score).view(np.int32))
    ordered = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    return int((-1 - ordered) << NUMBER_BITS | np.int64(number))


@inner_njit
def score_of_key(key: int) -> float:
    """The score of a key, in single precision; of scores ≥ 0."""
    return float(np.int32(-1 - (key >> NUMBER_BITS)).view(np.float32))


@njit(cache=True, nogil=True)
def sort_smallest(keys: NDArray[np.int64], count: int, wanted: int) -> int:
    """Bring the `wanted` smallest of keys[:count] to the front, sorted; return how many they are.

    The order of the others is lost. Quickselect (Hoare 1961), then a sort of what is wanted.
    """
    low, high = 0, count - 1
    while wanted < count and low < high:
        middle = _part(keys, low, high)
        if middle < wanted:
            low = middle + 1
        else:
            high = middle - 1
    kept = min(wanted, count)
    keys[:kept].sort()
    return kept


@inner_njit
def _part(keys: NDArray[np.int64], low: int, high: int) -> int:
    """Bring what is smaller than one of keys[low … high] before it; return its place.

    Without branches in the loop: which of two random keys is smaller cannot be foreseen.
    """
    first, second, third = keys[low], keys[(low + high) // 2], keys[high]
    pivot = max(min(first, second), min(max(first, second), third))
    at = low if pivot == first else high if pivot == third else (low + high) // 2
    keys[at], keys[high] = keys[high], pivot
    place = low
    for other in range(low, high):
        key = keys[other]
        keys[other] = keys[place]
        keys[place] = key
        place += key < pivot
    keys[high] = keys[place]
    keys[place] = pivot
    return place
