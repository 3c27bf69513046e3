"""Training rows, features → the features of the training rows, in the same shards.

At OTTO's size the features of all candidates are 25 GB, and every fold of every target is fitted on
about a tenth of them: they are picked out once.
"""

from pathlib import Path

import polars as pl

from otto_pipeline.features.table import SUBMISSION_FEATURES
from otto_pipeline.ranking.learnt_lanes import in_lane, lane_shards
from otto_pipeline.settings import Settings
from otto_pipeline.store.dataset import Figures
from otto_pipeline.store.stage import Inputs, Stage


def write_training_features(inputs: Inputs, shard: int, _settings: Settings, path: Path) -> Figures:
    """The features of one shard's training rows."""
    lane, number = in_lane(inputs, "features", shard)
    chosen = inputs["training_rows"].read_shard(shard).select("session", "aid")
    frame = (
        pl.scan_parquet(inputs[f"{lane}features"].files[number])
        .select(SUBMISSION_FEATURES.names())
        .join(chosen.lazy(), on=["session", "aid"], how="semi", maintain_order="left")
        .collect()
    )
    frame.write_parquet(path, statistics=False)
    return {"rows": frame.height}


def _same_shards_as_features(inputs: Inputs, _settings: Settings) -> int:
    return lane_shards(inputs, "features")


TRAINING_FEATURES_STAGE = Stage(write=write_training_features, shards=_same_shards_as_features)
