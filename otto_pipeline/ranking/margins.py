"""Features, rankers → the standardised score of every candidate.

Margins are evaluated by `forest.py` where it can; XGBoost predicts where the device is a GPU and
where a ranker is refused as a forest. On the CPU both give the same bits.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import polars as pl
import xgboost as xgb
from numpy.typing import NDArray

from otto_pipeline.folds import row_folds
from otto_pipeline.ranking.forest import Codes, Forest, read_forests
from otto_pipeline.ranking.scoring import (
    STACKED,
    Scores,
    keys,
    list_score,
    ranker_features,
    session_draws,
    standardised,
    with_stacked,
)
from otto_pipeline.schemas import TYPES
from otto_pipeline.settings import Settings
from otto_pipeline.store.dataset import Dataset


def target_score(
    name: str,
    frame: pl.DataFrame,
    scores: Scores,
    rankers: Dataset,
    sessions: Dataset,
    settings: Settings,
) -> NDArray[np.float32]:
    """Standardised score of each row of features by the target's rankers, or by the list.

    Of several rankers the one scores a session that has not seen its fold. `scores` are those of
    the targets that this one is stacked on. A target without rankers has the list's score.
    """
    if not rankers.files:
        return list_score(frame)
    folds = row_folds(session_draws(frame, sessions, settings), len(rankers.files))
    margin = np.zeros(frame.height, np.float32)
    for fold, file in enumerate(rankers.files):
        rows = folds == fold
        if rows.any():
            of_fold = {other: scores[other][rows] for other in STACKED[name]}
            margins = Margins({name: file}, frame.filter(rows), settings)
            margin[rows] = margins.of(name, of_fold)
    return standardised(keys(frame)[0], margin)


def target_scores(
    frame: pl.DataFrame, rankers: Mapping[str, Dataset], settings: Settings
) -> Scores:
    """The same of all targets in one pass over the rows, by the rankers of all sessions."""
    files = {name: rankers[name].files[0] for name in TYPES if rankers[name].files}
    margins = Margins(files, frame, settings)
    scores: dict[str, NDArray[np.float32]] = {}
    for name in TYPES:
        scores[name] = (
            standardised(keys(frame)[0], margins.of(name, scores))
            if name in files
            else list_score(frame)
        )
    return scores


class Margins:
    """What the rankers of several targets make of the same rows (session, aid, features).

    The features are coded once for all of them, a byte a value, column by column; the float32
    matrix exists only for XGBoost.
    """

    def __init__(
        self, rankers: Mapping[str, Path], frame: pl.DataFrame, settings: Settings
    ) -> None:
        self._frame, self._threads = frame, settings.threads
        self._boosters = {name: load_ranker(file, settings) for name, file in rankers.items()}
        self._forests: dict[str, Forest] = {}
        if settings.device == "cpu":
            self._code()

    def _code(self) -> None:
        try:
            coding, forests = read_forests(list(self._boosters.values()))
        except ValueError:
            return
        self._forests = dict(zip(self._boosters, forests, strict=True))
        self._codes = Codes(coding, self._frame.height)
        self._codes.add(self._frame, self._threads)

    def of(self, name: str, scores: Scores) -> NDArray[np.float32]:
        """Margin of each row by a target's ranker; `scores` are of those it is stacked on."""
        stacked = with_stacked(self._frame.select("session", "aid"), name, scores)
        stacked = stacked.drop("session", "aid")
        if name in self._forests:
            if stacked.width:
                self._codes.add(stacked, self._threads)
            return self._forests[name].predict(self._codes, self._threads)
        whole = self._frame.hstack(stacked.get_columns())
        matrix = whole.select(pl.col(ranker_features(name)).cast(pl.Float32)).to_numpy(order="c")
        return self._boosters[name].inplace_predict(matrix, predict_type="margin")


def load_ranker(file: Path, settings: Settings) -> xgb.Booster:
    """A ranker from its file."""
    booster = xgb.Booster({"nthread": settings.threads, "device": settings.device})
    booster.load_model(bytearray(file.read_bytes()))
    return booster
