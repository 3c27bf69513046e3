"""A built lane → what recommenders without learning give its query sessions, to compare with.

The lists serve all three targets and have 20 distinct items for each session, best first, as rows
(session, aid).
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from bench.matrices import SEED
from otto_pipeline.events.event_log import EventLog, open_event_log
from otto_pipeline.features.table import visible_events
from otto_pipeline.retrieval.candidates import query_sessions
from otto_pipeline.retrieval.popularity import popular_items
from otto_pipeline.retrieval.union import TYPE_WEIGHTS
from otto_pipeline.schemas import TOP_K
from otto_pipeline.settings import extra
from otto_pipeline.store.dataset import Dataset

SESSIONS_AT_ONCE = 20_000
BM25_NEIGHBOURS = 200
"""Of an item, itself among them."""


def rules_list(lane: Path) -> pl.DataFrame:
    """The public rules: the session's own items by recency × type, then their neighbours in the
    seed's three matrices by share, one matrix after the other, then popular items.
    """
    return _rules(lane, lambda own, matrices: [neighbours(own, matrix) for matrix in matrices])


def votes_list(lane: Path) -> pl.DataFrame:
    """The public rules as notebooks have them: own items, then their neighbours in the seed's three
    matrices by the number of rows in which they stand, then popular items.
    """
    return _rules(lane, lambda own, matrices: [votes(own, matrices)])


def _rules(
    lane: Path, near: Callable[[pl.DataFrame, list[pl.DataFrame]], list[pl.DataFrame]]
) -> pl.DataFrame:
    log = open_event_log(Dataset(lane / "event_log"))
    matrices = [Dataset(lane / f"covisitation/{name}").read() for name in SEED]
    parts = []
    for queries in _parts(lane):
        own = own_items(visible_events(log, queries))
        parts.append(first_of(own, *near(own, matrices), _popular(lane, log, queries)))
    return pl.concat(parts)


def votes(own: pl.DataFrame, matrices: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Neighbours of sessions' items; their score: the number of rows of matrices that hold them.

    Of as many rows those win that come first: by matrix, then by the own item, the best first.
    """
    place = pl.col("score").rank("ordinal", descending=True).over("session")
    placed = own.select("session", "aid", place=place)
    rows = pl.concat(
        placed.join(matrix, on="aid").select(
            "session", aid="neighbour", turn=number * 1e6 + pl.col("place") * 100 + pl.col("rank")
        )
        for number, matrix in enumerate(matrices)
    )
    return rows.group_by("session", "aid").agg(score=pl.len() - pl.col("turn").min() / 1e8)


def own_items(events: pl.LazyFrame) -> pl.DataFrame:
    """Items of sessions, with a score: Σ over events of (2^r − 1) × type weight, where r grows
    from .1 to 1 at the latest (OTTO.md, seed).
    """
    steps = pl.col("session_size") - 1
    recency = pl.when(steps == 0).then(1.0).otherwise(1 - 0.9 * pl.col("place") / steps)
    weight = pl.col("type").replace_strict(dict(enumerate(TYPE_WEIGHTS)), return_dtype=pl.Float64)
    score = ((2.0**recency - 1) * weight).sum()
    return events.group_by("session", "aid").agg(score=score).collect()


def neighbours(own: pl.DataFrame, matrix: pl.DataFrame) -> pl.DataFrame:
    """Neighbours of sessions' items in a matrix; their score: Σ own item's score × share."""
    shares = matrix.with_columns(share=pl.col("weight") / pl.col("weight").sum().over("aid"))
    found = own.join(shares, on="aid").group_by("session", aid="neighbour")
    return found.agg(score=(pl.col("score") * pl.col("share")).sum())


def bm25_list(lane: Path, threads: int) -> pl.DataFrame:
    """`implicit`'s BM25 between items, a session as a user, queries included up to their cut; then
    popular items.

    It sees whether a session has an item, not how often, and more neighbours than implicit's 20.
    """
    with extra("embeddings", "this benchmark"):
        from implicit.nearest_neighbours import BM25Recommender  # noqa: PLC0415  # an extra

    log = open_event_log(Dataset(lane / "event_log"))
    has = csr_matrix(
        (np.ones(log.n_events), np.array(log.aid), np.array(log.session_start)),
        shape=(log.n_sessions, log.n_items),
    )
    has.sum_duplicates()
    has.data[:] = 1
    model = BM25Recommender(K=BM25_NEIGHBOURS, num_threads=threads)
    model.fit(has, show_progress=False)
    parts = []
    for queries in _parts(lane):
        aids, scores = model.recommend(
            queries, has[queries], N=TOP_K, filter_already_liked_items=False
        )
        near = pl.DataFrame(
            {
                "session": np.repeat(queries, TOP_K),
                "aid": aids.ravel().astype(np.int32),
                "score": scores.ravel(),
            }
        ).filter(pl.col("aid") >= 0)  # fewer than asked for
        parts.append(first_of(near, _popular(lane, log, queries)))
    return pl.concat(parts)


def first_of(*lists: pl.DataFrame) -> pl.DataFrame:
    """The best `TOP_K` of one list after the other, each (session, aid, score) by falling score,
    ties by item.

    An item stands where it comes first.
    """
    numbered = [one.with_columns(list=pl.lit(number)) for number, one in enumerate(lists)]
    return (
        pl.concat(frame.select("session", "aid", "score", "list") for frame in numbered)
        .sort("session", "list", "score", "aid", descending=[False, False, True, False])
        .unique(["session", "aid"], keep="first", maintain_order=True)
        .group_by("session", maintain_order=True)
        .head(TOP_K)
        .select("session", "aid")
    )


def _popular(lane: Path, log: EventLog, queries: NDArray[np.int32]) -> pl.DataFrame:
    denied = np.zeros(log.n_items, np.bool_)
    popular = popular_items(Dataset(lane / "popularity"), denied).head(TOP_K)
    return pl.DataFrame({"session": queries}).join(popular, how="cross")


def _parts(lane: Path) -> Iterator[NDArray[np.int32]]:
    """Query sessions of a lane."""
    for part in query_sessions(Dataset(lane / "sessions")).iter_slices(SESSIONS_AT_ONCE):
        yield part["session"].to_numpy()
