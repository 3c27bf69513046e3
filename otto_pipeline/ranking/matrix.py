"""Training rows, features, out-of-fold scores → the matrix that a ranker is fitted on.

Features stay in their own small types until XGBoost takes them, batch by batch, so that the dense
float32 matrix (four times the size) never exists whole.
"""

from collections.abc import Callable

import numpy as np
import polars as pl
import xgboost as xgb
from numpy.typing import NDArray

from otto_pipeline.events.hashing import draw
from otto_pipeline.ranking.fold_scores import read_scores
from otto_pipeline.ranking.scoring import STACKED, ranker_features, with_stacked
from otto_pipeline.settings import Settings
from otto_pipeline.store.dataset import Dataset
from otto_pipeline.store.stage import Inputs

BATCH_ROWS = 500_000
"""Rows that XGBoost takes at once. Batches end with a session and do not follow the shards, since
the cuts between bins depend on them."""


def chosen_rows(rows: Dataset, name: str, settings: Settings) -> pl.DataFrame:
    """Training rows of a target (session, aid, hash, is_cut, label), at most `training_rows` of
    them: a sample of sessions where there are more.
    """
    share = min(1.0, settings.training_rows / max(rows.total(f"rows_{name}"), 1))
    frame = (
        rows.scan()
        .filter(pl.col(f"in_{name}"))
        .select("session", "aid", "hash", "is_cut", label=f"label_{name}")
        .collect()
    )
    return frame.filter(draws_below(frame, settings.seed, "training sessions", share))


def draws_below(frame: pl.DataFrame, seed: int, purpose: str, share: float) -> pl.Series:
    """Whether a row's session is in a share of all that is drawn for a purpose."""
    return draw(frame["hash"], seed, purpose) % 1_000_000 < int(share * 1_000_000)


def held_out(rows: pl.DataFrame, seed: int, purpose: str, share: float) -> pl.Series:
    """Whether a row is of the share of sessions that judge, and are not learnt from.

    Only sessions of the validation lane judge: those that were cut are not what is predicted.
    """
    return draws_below(rows, seed, purpose, share) & ~rows["is_cut"]


def read_training_data(inputs: Inputs, name: str, chosen: pl.DataFrame) -> pl.DataFrame:
    """The chosen rows, with all their columns, and `ranker_features` of them in their own types.

    Whole sessions, one after the other.
    """
    shards = range(len(inputs["training_features"].files))
    return pl.concat([_read_shard(inputs, name, shard, chosen) for shard in shards])


def _read_shard(inputs: Inputs, name: str, shard: int, chosen: pl.DataFrame) -> pl.DataFrame:
    frame = inputs["training_features"].read_shard(shard)
    rows = frame.join(chosen, on=["session", "aid"], how="inner", maintain_order="left")
    if STACKED[name]:  # ranks are among all candidates
        keys = pl.read_parquet(inputs[STACKED[name][0]].files[shard], columns=["session", "aid"])
        stacked = with_stacked(keys, name, read_scores(inputs, shard, STACKED[name]))
        rows = rows.join(stacked, on=["session", "aid"], how="left", maintain_order="left")
    return rows


def quantile_matrix(
    data: pl.DataFrame, name: str, threads: int, ref: xgb.QuantileDMatrix | None = None
) -> xgb.QuantileDMatrix:
    """XGBoost's compact form of training data, grouped by session: about a byte a value."""
    return xgb.QuantileDMatrix(_Batches(data, ranker_features(name)), nthread=threads, ref=ref)


class _Batches(xgb.DataIter):
    """Training data in batches of whole sessions."""

    def __init__(self, data: pl.DataFrame, names: list[str]) -> None:
        self._data, self._names = data, names
        # XGBoost wants ascending groups; the sessions of the halves come after later ones
        self._group = data["session"].rle_id().to_numpy()
        self._bounds = _batch_bounds(self._group)
        self._batch = 0
        super().__init__()

    def reset(self) -> None:
        """Begin again with the first batch."""
        self._batch = 0

    def next(self, input_data: Callable[..., None]) -> bool:
        """Hand over one batch; False where there is none left."""
        if self._batch + 1 >= len(self._bounds):
            return False
        first, last = self._bounds[self._batch], self._bounds[self._batch + 1]
        rows = self._data[first:last]
        input_data(
            data=rows.select(pl.col(self._names).cast(pl.Float32)).to_numpy(order="c"),
            label=rows["label"].to_numpy(),
            qid=self._group[first:last],
            feature_names=self._names,
        )
        self._batch += 1
        return True


def _batch_bounds(group: NDArray[np.uint32]) -> list[int]:
    """First rows of batches, and the end; each begins with a session."""
    wanted = np.arange(0, len(group), BATCH_ROWS)
    return [*np.unique(np.searchsorted(group, group[wanted])).tolist(), len(group)]
