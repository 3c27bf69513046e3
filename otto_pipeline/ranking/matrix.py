"""Training rows, features → the dense arrays that a ranker is fitted on."""

from dataclasses import dataclass

import numpy as np
import polars as pl
import xgboost as xgb
from numpy.typing import NDArray

from otto_pipeline.events.hashing import draw
from otto_pipeline.features.table import FEATURE_NAMES
from otto_pipeline.settings import Settings
from otto_pipeline.store.dataset import Dataset


@dataclass(frozen=True)
class TrainingData:
    """Rows of one target, whole sessions one after the other.

    `features` float32 [rows, features], `label` uint8 [rows], `session` int32 [rows], `draws`
    uint64 [rows]: the hash of the row's session.
    """

    features: NDArray[np.float32]
    label: NDArray[np.uint8]
    session: NDArray[np.int32]
    hash: NDArray[np.uint64]

    def where(self, rows: NDArray[np.bool_]) -> "TrainingData":
        """The rows of a mask."""
        return TrainingData(
            self.features[rows], self.label[rows], self.session[rows], self.hash[rows]
        )

    @property
    def positive_sessions(self) -> int:
        """Sessions with a label."""
        return len(np.unique(self.session[self.label == 1]))

    def draws(self, seed: int, purpose: str) -> NDArray[np.uint64]:
        """A draw for each row, the same for all rows of a session."""
        return draw(pl.Series("hash", self.hash), seed, purpose).to_numpy()


def read_training_data(
    features: Dataset, rows: Dataset, name: str, settings: Settings
) -> TrainingData:
    """The training rows of a target with their features, at most `training_rows` (a sample of
    sessions where there are more).
    """
    share = min(1.0, settings.training_rows / max(rows.total(f"rows_{name}"), 1))
    chosen = _chosen_rows(rows, name, share, settings.seed)
    parts = [_read_shard(features, shard, chosen) for shard in range(len(features.files))]
    frame = pl.concat(parts)
    return TrainingData(
        features=frame.select(pl.col(FEATURE_NAMES).cast(pl.Float32)).to_numpy(order="c"),
        label=frame["label"].to_numpy(),
        session=frame["session"].to_numpy(),
        hash=frame["hash"].to_numpy(),
    )


def _chosen_rows(rows: Dataset, name: str, share: float, seed: int) -> pl.DataFrame:
    frame = (
        rows.scan()
        .filter(pl.col(f"in_{name}"))
        .select("session", "aid", "hash", label=f"label_{name}")
        .collect()
    )
    limit = int(share * 1_000_000)
    return frame.filter(draw(frame["hash"], seed, "training sessions") % 1_000_000 < limit)


def _read_shard(features: Dataset, shard: int, chosen: pl.DataFrame) -> pl.DataFrame:
    return (
        pl.scan_parquet(features.files[shard])
        .select("session", "aid", *FEATURE_NAMES)
        .join(chosen.lazy(), on=["session", "aid"], how="inner", maintain_order="left")
        .collect()
    )


def quantile_matrix(
    data: TrainingData, threads: int, ref: xgb.QuantileDMatrix | None = None
) -> xgb.QuantileDMatrix:
    """XGBoost's compact form of the rows, grouped by session."""
    return xgb.QuantileDMatrix(
        data.features,
        label=data.label,
        qid=data.session,
        feature_names=FEATURE_NAMES,
        nthread=threads,
        ref=ref,
    )
