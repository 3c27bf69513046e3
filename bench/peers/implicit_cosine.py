"""`implicit`'s item-item recommender: cosine of the items' counts over whole sessions, top 20."""

from collections.abc import Mapping

import numpy as np
import polars as pl
from implicit.nearest_neighbours import CosineRecommender
from scipy.sparse import csr_matrix

from otto_pipeline.events.event_log import EventLog


def load(log: EventLog) -> EventLog:
    return log


def compute(log: EventLog, option: str) -> csr_matrix:
    """`option` is the number of threads."""
    shape = (log.n_sessions, log.n_items)
    counts = csr_matrix((np.ones(log.n_events), log.aid, log.session_start), shape)
    counts.sum_duplicates()
    model = CosineRecommender(K=20, num_threads=int(option))
    model.fit(counts, show_progress=False)
    return model.similarity


def frames(computed: csr_matrix) -> Mapping[str, pl.DataFrame]:
    pairs = computed.tocoo()
    frame = pl.DataFrame({"aid": pairs.row, "neighbour": pairs.col, "weight": pairs.data})
    return {"cosine": frame}
