"""Ways to find the nearest items in an embedding, into RESULTS.md.

    python -m bench nearest bench/data/store/full/validation cells

Items that the lane's query sessions hold are looked up among all of `spectral`, in the ways named,
or in all: the cells of the pipeline, and HNSW indexes.
"""

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.matrices import shown, table
from bench.results import write_section
from otto_pipeline.events.event_log import open_event_log
from otto_pipeline.retrieval.nearest import NEAREST, nearest_vectors, queried_items
from otto_pipeline.settings import load_settings
from otto_pipeline.store.dataset import Dataset

COMPARED = 2_000
"""Asked items whose neighbours are also taken from all products."""

Way = Callable[[NDArray[np.float32], NDArray[np.int64], int], NDArray]


def by_cells(vectors: NDArray[np.float32], asked: NDArray[np.int64], threads: int) -> NDArray:
    return nearest_vectors(vectors, asked, threads, 1)[0]


def by_index(
    links: int, depth: int, vectors: NDArray[np.float32], asked: NDArray[np.int64], threads: int
) -> NDArray:
    """`depth` items are looked at when one is added and when one is asked."""
    from voyager import Index, Space  # noqa: PLC0415  # an extra, only for this

    size = vectors.shape[1]
    index = Index(Space.InnerProduct, size, links, depth, 1, max_elements=len(vectors))
    index.add_items(vectors, num_threads=threads)
    return index.query(vectors[asked], NEAREST + 1, threads, depth)[0]


WAYS: dict[str, Way] = {
    "cells": by_cells,
    "hnsw_16_100": partial(by_index, 16, 100),
    "hnsw_16_200": partial(by_index, 16, 200),
    "hnsw_32_200": partial(by_index, 32, 200),
}


def exact(vectors: NDArray[np.float32], sample: NDArray[np.int64]) -> NDArray[np.int64]:
    """The nearest of the sampled vectors, from all products."""
    found = []
    for some in np.array_split(sample, -(-len(sample) // 100)):
        cosine = vectors[some] @ vectors.T
        cosine[np.arange(len(some)), some] = -1
        # a copy, as a view would keep the places of all items
        found.append(np.argpartition(cosine, -NEAREST, axis=1)[:, -NEAREST:].copy())
    return np.concatenate(found)


def measure(lane: Path, names: list[str]) -> str:
    """The section's text."""
    threads, embedding = load_settings().threads, Dataset(lane / "embeddings/spectral").read()
    aid, vectors = embedding["aid"].to_numpy(), embedding["vector"].to_numpy(writable=True)
    log = open_event_log(Dataset(lane / "event_log"))
    asked = np.flatnonzero(np.isin(aid, queried_items(log, Dataset(lane / "sessions"))))
    chosen = np.random.default_rng(1).permutation(len(asked))[:COMPARED]
    nearest_vectors(vectors[:COMPARED], np.arange(1), threads, 1)  # compiles
    began = time.monotonic()
    best = exact(vectors, asked[chosen])
    rows = [["all products (for all, from these)", _for_all(began, asked, chosen), "1"]]
    for name in names:
        began = time.monotonic()
        found = WAYS[name](vectors, asked, threads)
        seconds = f"{time.monotonic() - began:.1f}"
        pairs = zip(found[chosen], best, strict=True)
        hits = sum(len(np.intersect1d(some, of_exact)) for some, of_exact in pairs)
        rows.append([name, seconds, shown(hits / best.size)])
    return (
        f"The {NEAREST} nearest, among {len(aid):,} items, of the {len(asked):,} items of query "
        f"sessions; recall of the exact, of {len(chosen):,} of them. HNSW by voyager: links of an "
        "item, items looked at when one is added and asked.\n\n"
        + table(["way", f"s, {threads} threads", "recall"], rows)
    )


def _for_all(began: float, asked: NDArray, chosen: NDArray) -> str:
    return f"{(time.monotonic() - began) * len(asked) / len(chosen):.0f}"


def main(lane: str, *names: str) -> None:
    """`lane` is the folder of a lane in a store."""
    text = measure(Path(lane), [*names] or [*WAYS])
    command = " ".join(["python -m bench nearest", lane, *names])
    items = Dataset(Path(lane) / "embeddings/spectral").manifest.rows
    write_section(f"Nearest of {items:,} items", command, text)


if __name__ == "__main__":
    main(*sys.argv[1:])
