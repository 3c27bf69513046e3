"""Scores of each rebuild, one row each: the trend that static partitions cannot show."""

import importlib.metadata
import time
from pathlib import Path

import polars as pl

from otto_pipeline.schemas import SCORE_HISTORY
from otto_pipeline.store.dataset import Dataset
from otto_pipeline.store.files import atomic
from otto_pipeline.store.lock import updating

FILE = "score_history.parquet"
PACKAGES = ("otto_pipeline", "polars", "xgboost", "numba")


def read_history(folder: Path) -> pl.DataFrame:
    """All rebuilds of a store, oldest first; no rows before the first."""
    path = folder / FILE
    return pl.read_parquet(path) if path.exists() else SCORE_HISTORY.empty()


def append_scores(folder: Path, scale: str, scores: Dataset) -> bool:
    """Add a row for these scores, unless the scale's latest row is for them already."""
    path = folder / FILE
    with updating(path):
        history = read_history(folder)
        latest = history.filter(pl.col("scale") == scale)["fingerprint"].tail(1).to_list()
        if latest == [scores.fingerprint]:
            return False
        with atomic(path) as temporary:
            pl.concat([history, _row(scale, scores)]).write_parquet(temporary)
    return True


def _row(scale: str, scores: Dataset) -> pl.DataFrame:
    row = {
        "time": time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime()),
        "scale": scale,
        **scores.figures(),
        "versions": ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES),
        "fingerprint": scores.fingerprint,
    }
    return pl.DataFrame([row], schema=SCORE_HISTORY.empty().schema)
