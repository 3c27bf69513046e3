"""Candidates, labels → the rows that rankers learn from, chosen before any feature is read.

For each target: the sessions with a label among their candidates, with all those labels and a
sample of the other candidates. Sessions are those of the validation lane, and those before it that
were cut for want of labels.
"""

from pathlib import Path

import polars as pl

from otto_pipeline.events.hashing import draw_pairs
from otto_pipeline.features.table import add_labels
from otto_pipeline.ranking.learnt_lanes import VALIDATION, in_lane, lane_shards
from otto_pipeline.schemas import TRAINING_ROWS, TYPES
from otto_pipeline.settings import Settings
from otto_pipeline.store.dataset import Dataset, Figures
from otto_pipeline.store.stage import Inputs, Stage


def write_training_rows(inputs: Inputs, shard: int, settings: Settings, path: Path) -> Figures:
    """Training rows among one shard of candidates, of the validation lane or of a half."""
    lane, number = in_lane(inputs, "candidates", shard)
    file = inputs[f"{lane}candidates"].files[number]
    candidates = pl.read_parquet(file, columns=["session", "aid"])
    labels, sessions = inputs[f"{lane}labels"].scan(), inputs[f"{lane}sessions"].scan()
    rows = training_rows(candidates, labels, sessions, settings, is_cut=lane != VALIDATION)
    rows.write_parquet(path)
    return {
        **{f"rows_{name}": int(rows[f"in_{name}"].sum()) for name in TYPES},
        **{f"positive_sessions_{name}": _positive_sessions(rows, name) for name in TYPES},
    }


def training_rows(
    candidates: pl.DataFrame,
    labels: pl.LazyFrame,
    sessions: pl.LazyFrame,
    settings: Settings,
    *,
    is_cut: bool,
) -> pl.DataFrame:
    """The `TRAINING_ROWS` among candidates (session, aid); `is_cut` is the same for all."""
    labelled = add_labels(candidates, labels).join(
        sessions.select("session", "hash").collect(), on="session", maintain_order="left"
    )
    draws = draw_pairs(labelled["hash"], labelled["aid"], settings.seed, "negatives")
    marked = labelled.with_columns(draw=draws, is_cut=pl.lit(is_cut)).with_columns(
        _is_training_row(name, settings.negatives).alias(f"in_{name}") for name in TYPES
    )
    return marked.filter(pl.any_horizontal(f"in_{name}" for name in TYPES)).select(
        TRAINING_ROWS.names()
    )


def _is_training_row(name: str, negatives: int) -> pl.Expr:
    label = pl.col(f"label_{name}")
    negative_place = pl.when(label == 0).then(pl.col("draw")).rank("ordinal").over("session")
    chosen = (label == 1) | (negative_place <= negatives)
    return chosen & (label.max().over("session") == 1)


def _positive_sessions(rows: pl.DataFrame, name: str) -> int:
    return rows.filter(pl.col(f"label_{name}") == 1)["session"].n_unique()


def positive_sessions(rows: Dataset, name: str) -> int:
    """Sessions with a label of a target among their candidates."""
    return rows.total(f"positive_sessions_{name}")


def _same_shards_as_candidates(inputs: Inputs, _settings: Settings) -> int:
    return lane_shards(inputs, "candidates")


TRAINING_ROWS_STAGE = Stage(
    write=write_training_rows,
    version="3",
    shards=_same_shards_as_candidates,
    settings=("seed", "negatives"),
)
