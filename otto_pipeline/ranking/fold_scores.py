"""Features, fold rankers → out-of-fold scores: of every candidate, for one target.

They are features of the rankers of later targets, and what the blend and the validation lane's
predictions are made from. Sessions that were cut have folds and scores as all others: where they
are features, a score too must come from a ranker that has not seen the session. But only shards of
the validation lane, the first ones, are judged.
"""

from functools import partial
from pathlib import Path

import polars as pl

from otto_pipeline.ranking.learnt_lanes import in_lane, lane_shards
from otto_pipeline.ranking.margins import target_score
from otto_pipeline.ranking.scoring import LIST_VERSION, STACKED, Scores
from otto_pipeline.settings import Settings
from otto_pipeline.store.dataset import Figures
from otto_pipeline.store.stage import Inputs, Stage


def fold_scores_stage(name: str) -> Stage:
    """Out-of-fold scores of a target."""
    return Stage(
        write=partial(write_fold_scores, name),
        version=f"1 {LIST_VERSION}",
        shards=_same_shards_as_features,
        settings=("seed", "device"),
    )


def write_fold_scores(
    name: str, inputs: Inputs, shard: int, settings: Settings, path: Path
) -> Figures:
    """Scores of one shard of features, in its rows' order."""
    lane, number = in_lane(inputs, "features", shard)
    frame, sessions = inputs[f"{lane}features"].read_shard(number), inputs[f"{lane}sessions"]
    lower = read_scores(inputs, shard, STACKED[name])
    rankers = inputs["rankers"]
    score = target_score(name, frame, lower, rankers, sessions, settings)
    frame.select("session", "aid", score=pl.Series(score, dtype=pl.Float32)).write_parquet(path)
    return {"folds": len(rankers.files)}


def read_scores(inputs: Inputs, shard: int, names: tuple[str, ...]) -> Scores:
    """Scores of one shard by target; the inputs hold them under the targets' names."""
    return {
        name: pl.read_parquet(inputs[name].files[shard], columns=["score"])["score"].to_numpy(
            writable=True
        )
        for name in names
    }


def _same_shards_as_features(inputs: Inputs, _settings: Settings) -> int:
    return lane_shards(inputs, "features")
