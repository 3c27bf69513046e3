"""Labels, predictions, candidates → recall@20 of the pipeline, of baselines and of each source.

All are computed on the same sessions: those of the validation lane that have labels.
"""

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from otto_pipeline.evaluation.bootstrap import intervals
from otto_pipeline.events.event_log import open_event_log
from otto_pipeline.features.table import visible_events
from otto_pipeline.metrics import count_hits, recalls, scores
from otto_pipeline.retrieval.candidates import query_sessions
from otto_pipeline.retrieval.sources import SOURCES
from otto_pipeline.schemas import SCORES, TOP_K, TYPES
from otto_pipeline.settings import Settings
from otto_pipeline.store.dataset import Dataset, Figures
from otto_pipeline.store.stage import Inputs, Stage

PIPELINE = "pipeline"
BY_POPULARITY = "baseline: most popular items"
BY_HISTORY = "baseline: own history"
BY_LIST = "list without labels"
IN_CANDIDATES = "candidates"
WEEK = [f"{name}_week" for name in TYPES]
"""Events of an item in the last week, by type."""


def in_source(source: str) -> str:
    """Name of the system that is one source's part of the candidates."""
    return f"candidates: {source}"


def write_scores(inputs: Inputs, _shard: int, settings: Settings, path: Path) -> Figures:
    """Recall of every system, with 95 % intervals over sessions."""
    labels = inputs["labels"].read()
    frames = [
        _rows(system, count_hits(labels, hits), settings.seed)
        for system, hits in hits_by_system(inputs, labels)
    ]
    frame = pl.concat(frames)
    frame.write_parquet(path)
    of_pipeline = frame.filter(pl.col("system") == PIPELINE)
    return dict(of_pipeline.select("type", "recall").iter_rows())


def _rows(system: str, by_session: pl.DataFrame, seed: int) -> pl.DataFrame:
    by_type = recalls(by_session)
    bounds = intervals(by_session, seed)
    counts = {name: recall.labels for name, recall in by_type.items()}
    return pl.DataFrame(
        [
            {
                "system": system,
                "type": name,
                "recall": value,
                "low": bounds[name][0],
                "high": bounds[name][1],
                "labels": counts.get(name, sum(counts.values())),
            }
            for name, value in scores(by_type).items()
        ],
        schema=SCORES.empty().schema,
    )


def hits_by_system(inputs: Inputs, labels: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    """The labels that each system hits, as their rows."""
    yield PIPELINE, hit_predictions(inputs["predictions"], labels)
    yield BY_POPULARITY, _hit_popular(inputs["popularity"], labels)
    yield BY_HISTORY, _hit_history(inputs, labels)
    candidates = _hit_candidates(inputs["candidates"], labels)
    yield BY_LIST, candidates.filter(pl.col("place") <= TOP_K)
    yield IN_CANDIDATES, candidates
    for source in SOURCES:
        yield in_source(source), candidates.filter(pl.col(f"{source}_rank").is_not_null())


def hit_predictions(predictions: Dataset, labels: pl.DataFrame) -> pl.DataFrame:
    """The labels that are predicted, as their keys."""
    keys = ["session", "type", "aid"]
    return pl.concat(
        [
            pl.scan_parquet(file).join(labels.lazy(), on=keys, how="semi").select(keys).collect()
            for file in predictions.files
        ]
    )


def _hit_candidates(candidates: Dataset, labels: pl.DataFrame) -> pl.DataFrame:
    """Labels among the candidates, with the candidate's ranks and its place in the list."""
    ranks = [f"{source}_rank" for source in SOURCES]
    by_list = pl.col("list_score").rank("ordinal", descending=True).over("session")
    return pl.concat(
        [
            pl.scan_parquet(file)
            .select("session", "aid", *ranks, place=by_list)
            .join(labels.lazy(), on=["session", "aid"])
            .collect()
            for file in candidates.files
        ]
    )


def _hit_popular(popularity: Dataset, labels: pl.DataFrame) -> pl.DataFrame:
    """Every session is given the items of the most events of the type in the last seven days."""
    counts = popularity.read("aid", *WEEK)
    tops = [
        counts.sort([events, "aid"], descending=[True, False])
        .head(TOP_K)
        .select("aid", type=pl.lit(name, labels.schema["type"]))
        for name, events in zip(TYPES, WEEK, strict=True)
    ]
    return labels.join(pl.concat(tops), on=["aid", "type"], how="semi")


def _hit_history(inputs: Inputs, labels: pl.DataFrame) -> pl.DataFrame:
    """Every session is given its own items, the latest first."""
    log = open_event_log(inputs["event_log"])
    latest = (
        visible_events(log, query_sessions(inputs["sessions"])["session"].to_numpy())
        .group_by("session", "aid")
        .agg(pl.col("place").min())
        .filter(pl.col("place").rank("ordinal").over("session") <= TOP_K)
        .collect()
    )
    return labels.join(latest, on=["session", "aid"], how="semi")


SCORES_STAGE = Stage(write=write_scores, settings=("seed",))
