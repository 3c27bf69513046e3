"""Running work that releases the interpreter lock (kernels, Polars) on several threads."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Item = TypeVar("Item")
Result = TypeVar("Result")

BLOCKS_PER_THREAD = 8
"""More blocks than threads, so that uneven blocks even out."""


def map_blocks(
    fn: Callable[[int, int], Result],
    cost: NDArray[np.int64],
    threads: int,
    blocks: int | None = None,
) -> Iterator[Result]:
    """Call `fn(first, last)` for consecutive blocks that cover a range; yield in its order.

    `cost[i]` is the cost of element i; the blocks, by default some for each thread, have about
    equal sums of it. Few results wait to be
    taken, as with `map_ahead`.
    """
    bounds = _bounds(cost, blocks or threads * BLOCKS_PER_THREAD)
    return map_ahead(lambda block: fn(*block), pairwise(bounds), threads)


def map_ahead(
    fn: Callable[[Item], Result], items: Iterable[Item], threads: int
) -> Iterator[Result]:
    """Call `fn(item)` on several threads; yield in the order of the items.

    At most one result more than there are threads waits to be taken, so that memory is bounded.
    """
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[Result]] = deque()
        for item in items:
            waiting.append(pool.submit(fn, item))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _bounds(cost: NDArray[np.int64], blocks: int) -> list[int]:
    total = np.cumsum(cost, dtype=np.int64)
    if len(total) == 0:
        return []
    shares = np.linspace(0, total[-1], blocks + 1)[1:-1]
    inner = np.searchsorted(total, shares)
    return sorted({0, *map(int, inner), len(cost)})
