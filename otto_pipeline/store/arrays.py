"""Several arrays in one file, one after the other, to be mapped into memory."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Layout = Mapping[str, tuple[type[np.generic], int]]
"""Type and length of each array, in their order: wide types first, so that all lie at multiples of
their width."""


def offsets(layout: Layout) -> dict[str, int]:
    """Where each array begins, in bytes."""
    sizes = [np.dtype(dtype).itemsize * length for dtype, length in layout.values()]
    return dict(zip(layout, np.cumsum([0, *sizes[:-1]]).tolist(), strict=True))


def map_arrays(path: Path, layout: Layout) -> list[NDArray]:
    """The arrays of a file, read-only, shared by all processes that map it."""
    content = np.memmap(path, np.uint8, mode="r")
    begins = offsets(layout)
    return [
        content[begins[name] : begins[name] + np.dtype(dtype).itemsize * length].view(dtype)
        for name, (dtype, length) in layout.items()
    ]
