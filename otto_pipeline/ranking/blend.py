"""Out-of-fold scores, labels → how the final score of each target is mixed, and what that brings.

The score that ranks is a weighted sum of standardised scores: the list's that needs no labels, the
target's own ranker's and the other targets'. Its weights are cross-fitted: for the sessions of one
fold they are chosen on the others, so that what is reported is out-of-fold; for the submission
they are chosen on all.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from otto_pipeline.folds import ALL_SESSIONS, row_folds
from otto_pipeline.metrics import count_labels
from otto_pipeline.ranking.fold_scores import read_scores
from otto_pipeline.ranking.scoring import (
    LIST_SCORE,
    LIST_VERSION,
    Scores,
    keys,
    list_score,
    session_draws,
    session_ranks,
)
from otto_pipeline.schemas import BLEND, EVENT_TYPE, TOP_K, TYPES
from otto_pipeline.settings import Settings
from otto_pipeline.store.dataset import Dataset, Figures
from otto_pipeline.store.stage import Inputs, Stage

LIST = "list"
SCORED = (LIST, *TYPES)
"""What has a standardised score, in the order of a mix's weights."""

CROSS = {
    "clicks": {"clicks": 1.0, "carts": 0.3},
    "carts": {"carts": 1.0, "clicks": 0.3},
    "orders": {"orders": 1.0, "carts": 0.5, "clicks": 0.15},
}
"""How the targets' scores are added for each target (RANKING.md, 6)."""
LIST_SHARES = (0.5, 1.0, 0.8, 0.65, 0.35, 0.2, 0.0)
"""Shares of the list's score beside that sum; the first is what is assumed without evidence."""
EVIDENCE = 2.0
"""Standard errors by which another mix must win over the assumed one. On small logs the best of
several mixes by their hits is mostly the luckiest."""
EVIDENCE_FOR_LIST = 1.0
"""The same for the list alone, which cannot have learnt anything wrong."""


@dataclass(frozen=True)
class Trial:
    """Hits of each mix in the sessions with labels of one target.

    `hits` int64 [mixes, sessions], `labels` and `fold` int64 [sessions].
    """

    folds: int

    hits: NDArray[np.int64]
    labels: NDArray[np.int64]
    fold: NDArray[np.int64]


def mixes(name: str) -> NDArray[np.float64]:
    """Weights [mixes, scored] to choose from for a target; the last is its ranker alone."""
    own = {other: weight / sum(CROSS[name].values()) for other, weight in CROSS[name].items()}
    rows = [
        [share, *((1 - share) * own.get(other, 0.0) for other in TYPES)] for share in LIST_SHARES
    ]
    return np.array([*rows, [float(name == other) for other in SCORED]])


def mixed(weights: NDArray[np.float64], scores: Scores) -> NDArray[np.float32]:
    """The final score of each candidate, from its scores by `SCORED` and a mix's weights."""
    total = np.zeros(len(scores[LIST]), np.float64)
    for weight, name in zip(weights, SCORED, strict=True):
        total += weight * scores[name]
    return total.astype(np.float32)


def choose(hits: NDArray[np.int64]) -> int:
    """The mix that wins over the assumed one by most beyond the evidence asked for, if any does.

    `hits` [mixes, sessions] are paired by session: a gain's standard error is the root of the sum
    of its squares.
    """
    gains = hits - hits[0]
    asked = np.where(np.array([*LIST_SHARES, 0.0]) == 1, EVIDENCE_FOR_LIST, EVIDENCE)
    return int(np.argmax(gains.sum(axis=1) - asked * np.sqrt((gains**2).sum(axis=1))))


def write_blend(inputs: Inputs, _shard: int, settings: Settings, path: Path) -> Figures:
    """Weights and recall of every target and fold."""
    labels = count_labels(inputs["labels"].read())
    rows = [row for name in TYPES for row in _rows(name, trial(name, inputs, labels, settings))]
    pl.DataFrame(rows, schema=BLEND.empty().schema).write_parquet(path)
    return {}


def trial(name: str, inputs: Inputs, labels: pl.DataFrame, settings: Settings) -> Trial | None:
    """What each mix of a target hits, out-of-fold; None where it has no ranker, or no label that a
    ranker, learnt from cut sessions alone, could be judged by.
    """
    folds = inputs[name].figures()["folds"]
    of_type = labels.filter(pl.col("type") == name)
    if folds == 0 or of_type.is_empty():
        return None
    shards = range(len(inputs["features"].files))
    hits = pl.concat([_hits(name, inputs, shard, settings) for shard in shards])
    found = of_type.join(hits, on="session", how="left", maintain_order="left")
    return Trial(
        folds=folds,
        hits=found.select(pl.col(_columns(name)).fill_null(0)).to_numpy().T.astype(np.int64),
        labels=found["labels"].to_numpy(),
        fold=row_folds(session_draws(found, inputs["sessions"], settings), folds),
    )


def _hits(name: str, inputs: Inputs, shard: int, settings: Settings) -> pl.DataFrame:
    """Rows (session, hits of each mix) of a shard's sessions with a label among the candidates."""
    label = f"label_{name}"
    frame = pl.read_parquet(
        inputs["features"].files[shard], columns=["session", "aid", LIST_SCORE, label]
    ).with_columns(**read_scores(inputs, shard, TYPES))
    frame = frame.filter(pl.col(label).max().over("session") == 1)
    scores = {
        LIST: list_score(frame),
        **{other: frame[other].to_numpy(writable=True) for other in TYPES},
    }
    session, aid = keys(frame)
    columns = {
        column: session_ranks(session, aid, mixed(weights, scores)) <= TOP_K
        for column, weights in zip(_columns(name), mixes(name), strict=True)
    }
    return (
        frame.select("session", label)
        .with_columns(**columns)
        .filter(pl.col(label) == 1)
        .group_by("session", maintain_order=True)
        .agg(pl.col(_columns(name)).sum().clip(upper_bound=TOP_K))
    )


def _columns(name: str) -> list[str]:
    return [f"mix_{number}" for number in range(len(mixes(name)))]


def _rows(name: str, trial: Trial | None) -> Iterator[dict[str, object]]:
    """The rows of `BLEND` of a target."""
    if trial is None:
        yield {"type": name, "fold": ALL_SESSIONS, LIST: 1.0, **dict.fromkeys(TYPES, 0.0)}
        return
    blended = np.zeros_like(trial.labels)
    for fold in range(trial.folds):
        scored = trial.fold == fold
        chosen = choose(trial.hits[:, ~scored])
        blended[scored] = trial.hits[chosen, scored]
        yield _row(name, fold, chosen, trial, scored, blended)
    everyone = np.ones(len(blended), np.bool_)
    yield _row(name, ALL_SESSIONS, choose(trial.hits), trial, everyone, blended)


def _row(
    name: str,
    fold: int,
    chosen: int,
    trial: Trial,
    scored: NDArray[np.bool_],
    blended: NDArray[np.int64],
) -> dict[str, object]:
    labels = trial.labels[scored].sum()
    hits = {
        "recall_list": trial.hits[LIST_SHARES.index(1.0)],
        "recall_ranker": trial.hits[-1],
        "recall_blend": blended,
    }
    return {
        "type": name,
        "fold": fold,
        **dict(zip(SCORED, mixes(name)[chosen].tolist(), strict=True)),
        **{key: value[scored].sum() / labels if labels else None for key, value in hits.items()},
    }


def blend_weights(blend: Dataset, name: str) -> dict[int, NDArray[np.float64]]:
    """Weights of a target's final score by fold, in the order of `SCORED`."""
    rows = blend.read().filter(pl.col("type") == pl.lit(name, EVENT_TYPE))
    return {fold: np.array(weights) for fold, *weights in rows.select("fold", *SCORED).iter_rows()}


def ordered_by(weights: NDArray[np.float64]) -> str:
    """What orders a target: the list alone, a blend, or the rankers alone."""
    if weights[0] == 1:
        return "list"
    return "blend" if weights[0] > 0 else "ranker"


BLEND_STAGE = Stage(
    write=write_blend,
    version=f"2 {LIST_VERSION} {CROSS} {LIST_SHARES} {EVIDENCE} {EVIDENCE_FOR_LIST}",
    settings=("seed",),
)
