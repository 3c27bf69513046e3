"""ALS: sessions as users, runs of an item as confidence; implicit learns."""

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from otto_pipeline.events.event_log import EventLog
from otto_pipeline.retrieval.embedding import Als
from otto_pipeline.retrieval.sentences import runs
from otto_pipeline.settings import extra


def als(log: EventLog, spec: Als, threads: int, seed: int) -> NDArray:
    """Factors of all items, n_items × dimensions f32; zeros where no session is learned from.

    Sessions of one item say nothing of what goes with it and are left out. A session's own
    factors follow from its items' and are not kept.
    """
    with extra("embeddings", f"OTTO_EMBEDDINGS={spec.name}"):
        from implicit.als import AlternatingLeastSquares  # noqa: PLC0415  # a second of import

    users = _users(log, spec.last_days)
    if users.nnz == 0:
        return np.zeros((log.n_items, spec.dimensions), np.float32)
    with threadpool_limits(1, "blas"):  # implicit has threads of its own
        model = AlternatingLeastSquares(
            factors=spec.dimensions,
            regularization=spec.regularization,
            alpha=spec.alpha,
            iterations=spec.iterations,
            num_threads=threads,
            random_state=seed,
        )
        model.fit(users, show_progress=False)
    seen = np.zeros((log.n_items, 1), np.float32)
    seen[users.indices] = 1
    return model.item_factors * seen


def _users(log: EventLog, last_days: float | None) -> csr_matrix:
    """Runs of each item in each session of two items or more."""
    parts = [
        frame.group_by("session", "aid", maintain_order=True)
        .agg(runs=pl.len().cast(pl.Float32))
        .filter(pl.len().over("session") > 1)
        for frame in runs(log, last_days)
    ]
    entries = pl.concat(parts).with_columns(user=pl.col("session").rle_id())
    values = entries["runs"].to_numpy(writable=True)
    places = entries["user"].to_numpy().astype(np.int32), entries["aid"].to_numpy()
    return csr_matrix((values, places), shape=(entries["user"].n_unique(), log.n_items))
