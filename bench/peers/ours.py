"""Ours: the three matrices of the seed, and one that does the work of `implicit`'s."""

from collections.abc import Mapping

import numpy as np
import polars as pl

from otto_pipeline.events.event_log import EventLog
from otto_pipeline.retrieval.covisitation import neighbours
from otto_pipeline.retrieval.matrices import CATALOGUE
from otto_pipeline.retrieval.matrix import Matrix

SEED = tuple(m for m in CATALOGUE if m.name in ("time", "cart_order", "buy2buy"))
COSINE = (Matrix("cosine", "implicit", last=500, normalisation="cosine", top_k=20),)


def load(log: EventLog) -> EventLog:
    return log


def compute(log: EventLog, option: str) -> list[tuple[str, pl.DataFrame]]:
    """`option` names the matrices and the number of threads."""
    name, threads = option.split()
    matrices = SEED if name == "seed" else COSINE
    queries = np.zeros(log.n_sessions, np.bool_)
    return list(neighbours(log, queries, matrices, 0, log.n_items, int(threads)))


def frames(computed: list[tuple[str, pl.DataFrame]]) -> Mapping[str, pl.DataFrame]:
    blocks: dict[str, list[pl.DataFrame]] = {}
    for name, frame in computed:
        blocks.setdefault(name, []).append(frame)
    return {name: pl.concat(of_name) for name, of_name in blocks.items()}
