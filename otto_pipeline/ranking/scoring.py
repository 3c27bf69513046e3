"""What the scores of candidates are made of: stacked features, standardised scores, the list.

The margins of two rankers have different scales; standardised within each session (mean 0,
standard deviation 1) they can be features of another ranker and be added. The list that needs no
labels gets a score of the same kind.
"""

from collections.abc import Mapping

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray

from otto_pipeline.events.hashing import draw
from otto_pipeline.features.table import FEATURE_NAMES
from otto_pipeline.schemas import SCORE_OF_LIST
from otto_pipeline.settings import Settings
from otto_pipeline.store.dataset import Dataset

STACKED: dict[str, tuple[str, ...]] = {
    "clicks": (),
    "carts": ("clicks",),
    "orders": ("clicks", "carts"),
}
"""Targets whose scores are features of a target's ranker (OTTO.md §2, 6)."""
LIST_SCORE = SCORE_OF_LIST.name
"""The column of candidates and features by which the list that needs no labels is ordered."""
LIST_OFFSET = 8
"""The list's score is 1 / (this + place) before it is standardised (RANKING.md, 6)."""
LIST_VERSION = f"{LIST_SCORE} {LIST_OFFSET}"
"""Part of the version of every stage that reads the list's score."""

Scores = Mapping[str, NDArray[np.float32]]
"""Score of each candidate by target."""


def ranker_features(name: str) -> list[str]:
    """What the ranker of a target sees, in order."""
    return [*FEATURE_NAMES, *(column for other in STACKED[name] for column in _stacked(other))]


def _stacked(name: str) -> tuple[str, str]:
    return f"stacked_{name}_score", f"stacked_{name}_rank"


def with_stacked(frame: pl.DataFrame, name: str, scores: Scores) -> pl.DataFrame:
    """Features (session, aid, …) with the scores of the targets that `name` is stacked on."""
    session, aid = keys(frame)
    columns = {}
    for other in STACKED[name]:
        score, rank = _stacked(other)
        columns[score] = pl.Series(scores[other], dtype=pl.Float32)
        columns[rank] = pl.Series(session_ranks(session, aid, scores[other])).cast(pl.Int16)
    return frame.with_columns(**columns)


def list_score(frame: pl.DataFrame) -> NDArray[np.float32]:
    """Standardised score of each candidate by the list that needs no labels."""
    session, aid = keys(frame)
    places = session_ranks(session, aid, frame[LIST_SCORE].to_numpy(writable=True))
    return standardised(session, (1 / (LIST_OFFSET + places)).astype(np.float32))


def session_draws(frame: pl.DataFrame, sessions: Dataset, settings: Settings) -> NDArray[np.uint64]:
    """Each row's draw for `folds`, as at training."""
    hashes = sessions.scan().filter("query").select("session", "hash").collect()
    rows = frame.select("session").join(hashes, on="session", maintain_order="left")
    return draw(rows["hash"], settings.seed, "folds").to_numpy()


def keys(frame: pl.DataFrame) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Session and item of each row, writable: kernels are compiled anew for arrays that are not."""
    return frame["session"].to_numpy(writable=True), frame["aid"].to_numpy(writable=True)


@njit(cache=True, nogil=True)
def standardised(session: NDArray[np.int32], score: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scores less their session's mean, over its standard deviation; 0 where all are equal.

    A session's rows lie together; each session is summed in the order of its rows.
    """
    result = np.zeros(len(score), np.float32)
    begin = 0
    while begin < len(score):
        end = begin
        total = 0.0
        while end < len(score) and session[end] == session[begin]:
            total += score[end]
            end += 1
        mean = total / (end - begin)
        squares = 0.0
        for row in range(begin, end):
            squares += (score[row] - mean) ** 2
        deviation = np.sqrt(squares / (end - begin))
        if deviation > 0:
            for row in range(begin, end):
                result[row] = (score[row] - mean) / deviation
        begin = end
    return result


@njit(cache=True, nogil=True)
def session_ranks(
    session: NDArray[np.int32], aid: NDArray[np.int32], score: NDArray[np.float32]
) -> NDArray[np.uint16]:
    """Place of each row in its session by falling score, from 1; ties by item.

    A session's rows lie together. Costs two sorts of a session's rows.
    """
    rank = np.empty(len(score), np.uint16)
    begin = 0
    while begin < len(score):
        end = begin
        while end < len(score) and session[end] == session[begin]:
            end += 1
        by_item = np.argsort(aid[begin:end])
        best = by_item[np.argsort(-score[begin:end][by_item], kind="mergesort")]
        for place in range(len(best)):
            rank[begin + best[place]] = place + 1
        begin = end
    return rank
