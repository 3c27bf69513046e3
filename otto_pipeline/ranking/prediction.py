"""Features, rankers → predictions: the top 20 items of each session and target.

In the validation lane a session is scored by the ranker that has not seen it (`fold_rankers`), in
the submission lane by the one fitted on all sessions. A target without rankers is ordered by the
list that needs no labels.
"""

from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from otto_pipeline.events.hashing import draw
from otto_pipeline.features.table import FEATURE_NAMES
from otto_pipeline.folds import row_folds
from otto_pipeline.ranking.ranker import load_ranker
from otto_pipeline.schemas import EVENT_TYPE, PREDICTIONS, TOP_K, TYPES
from otto_pipeline.settings import Settings
from otto_pipeline.store.dataset import Dataset, Figures
from otto_pipeline.store.stage import Inputs, Stage


def write_predictions(inputs: Inputs, shard: int, settings: Settings, path: Path) -> Figures:
    """Predictions for the sessions of one shard of features.

    The inputs hold the rankers of a target under its name.
    """
    frame = inputs["features"].read_shard(shard)
    draws = _session_draws(frame, inputs["sessions"], settings)
    matrix = frame.select(pl.col(FEATURE_NAMES).cast(pl.Float32)).to_numpy(order="c")
    tops = []
    for name in TYPES:
        rankers = inputs[name]
        if rankers.files:
            score = _score(matrix, draws, rankers, settings)
        else:
            score = frame["list_score"].to_numpy()
        tops.append(_top(frame, name, score))
    predictions = pl.concat([PREDICTIONS.empty(), *tops]).sort("session", "type", "rank")
    predictions.write_parquet(path)
    return {"sessions": predictions["session"].n_unique()}


def _score(
    matrix: NDArray[np.float32],
    draws: NDArray[np.uint64],
    rankers: Dataset,
    settings: Settings,
) -> NDArray[np.float32]:
    """Score each row by the ranker of its fold; one ranker scores every row."""
    folds = row_folds(draws, len(rankers.files))
    score = np.zeros(len(matrix), np.float32)
    for fold, file in enumerate(rankers.files):
        rows = folds == fold
        if rows.any():
            score[rows] = load_ranker(file, settings).inplace_predict(matrix[rows])
    return score


def _session_draws(
    frame: pl.DataFrame, sessions: Dataset, settings: Settings
) -> NDArray[np.uint64]:
    """Each row's draw for `folds`, as at training."""
    hashes = sessions.scan().filter("query").select("session", "hash").collect()
    rows = frame.select("session").join(hashes, on="session", maintain_order="left")
    return draw(rows["hash"], settings.seed, "folds").to_numpy()


def _top(frame: pl.DataFrame, name: str, score: NDArray[np.float32]) -> pl.DataFrame:
    return (
        frame.select("session", "aid", score=pl.Series(score, dtype=pl.Float32))
        .sort(["session", "score", "aid"], descending=[False, True, False])
        .with_columns(rank=1 + pl.int_range(pl.len()).over("session"))
        .filter(pl.col("rank") <= TOP_K)
        .select(
            "session",
            "aid",
            "score",
            type=pl.lit(name, EVENT_TYPE),
            rank=pl.col("rank").cast(pl.UInt8),
        )
        .select(PREDICTIONS.names())
    )


def _same_shards_as_features(inputs: Inputs, _settings: Settings) -> int:
    return len(inputs["features"].files)


PREDICTIONS_STAGE = Stage(
    write=write_predictions, shards=_same_shards_as_features, settings=("seed", "device")
)
