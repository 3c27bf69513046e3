"""Features, scores, blend → predictions: the top 20 items of each session and target.

In the validation lane a session's scores are out-of-fold and mixed by the weights that were chosen
without its fold; in the submission lane the rankers that have learnt from all sessions score it,
all targets in one pass over its features.
"""

from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from otto_pipeline.folds import ALL_SESSIONS, row_folds
from otto_pipeline.ranking.blend import LIST, blend_weights, mixed
from otto_pipeline.ranking.fold_scores import read_scores
from otto_pipeline.ranking.margins import target_scores
from otto_pipeline.ranking.scoring import (
    LIST_SCORE,
    LIST_VERSION,
    Scores,
    keys,
    list_score,
    session_draws,
    session_ranks,
)
from otto_pipeline.schemas import EVENT_TYPE, PREDICTIONS, TOP_K, TYPES
from otto_pipeline.settings import Settings
from otto_pipeline.store.dataset import Figures
from otto_pipeline.store.stage import Inputs, Stage


def write_fold_predictions(inputs: Inputs, shard: int, settings: Settings, path: Path) -> Figures:
    """Predictions from out-of-fold scores, which the inputs hold under the targets' names."""
    frame = pl.read_parquet(inputs["features"].files[shard], columns=["session", "aid", LIST_SCORE])
    scores = {LIST: list_score(frame), **read_scores(inputs, shard, TYPES)}
    draws = session_draws(frame, inputs["sessions"], settings)
    tops = []
    for name in TYPES:
        weights = blend_weights(inputs["blend"], name)
        folds = len(weights) - 1
        fold = row_folds(draws, folds) if folds else np.full(len(draws), ALL_SESSIONS)
        tops.append(_top(frame, name, _final(weights, fold, scores)))
    return _write(tops, path)


def write_predictions(inputs: Inputs, shard: int, settings: Settings, path: Path) -> Figures:
    """Predictions by rankers, which the inputs hold under the targets' names."""
    frame = inputs["features"].read_shard(shard)
    scores = {LIST: list_score(frame), **target_scores(frame, inputs, settings)}
    fold = np.full(frame.height, ALL_SESSIONS)
    tops = [
        _top(frame, name, _final(blend_weights(inputs["blend"], name), fold, scores))
        for name in TYPES
    ]
    return _write(tops, path)


def _final(
    weights: dict[int, NDArray[np.float64]],
    fold: NDArray[np.int64],
    scores: Scores,
) -> NDArray[np.float32]:
    """Final score of each row by the weights of its fold."""
    final = np.zeros(len(fold), np.float32)
    for number in np.unique(fold):
        rows = fold == number
        final[rows] = mixed(weights[number], {name: score[rows] for name, score in scores.items()})
    return final


def _top(frame: pl.DataFrame, name: str, score: NDArray[np.float32]) -> pl.DataFrame:
    rank = session_ranks(*keys(frame), score)
    return (
        frame.select(
            "session",
            "aid",
            type=pl.lit(name, EVENT_TYPE),
            score=pl.Series(score, dtype=pl.Float32),
            rank=pl.Series(rank),
        )
        .filter(pl.col("rank") <= TOP_K)
        .with_columns(pl.col("rank").cast(pl.UInt8))
        .select(PREDICTIONS.names())
    )


def _write(tops: list[pl.DataFrame], path: Path) -> Figures:
    predictions = pl.concat([PREDICTIONS.empty(), *tops]).sort("session", "type", "rank")
    predictions.write_parquet(path)
    return {"sessions": predictions["session"].n_unique()}


def _same_shards_as_features(inputs: Inputs, _settings: Settings) -> int:
    return len(inputs["features"].files)


FOLD_PREDICTIONS_STAGE = Stage(
    write=write_fold_predictions,
    version=f"2 {LIST_VERSION}",
    shards=_same_shards_as_features,
    settings=("seed",),
)
PREDICTIONS_STAGE = Stage(
    write=write_predictions,
    version=f"2 {LIST_VERSION}",
    shards=_same_shards_as_features,
    settings=("seed", "device"),
)
