"""The assets of the validation lane beside the lane itself: split, rankers, scores, report."""

import base64
from collections.abc import Iterable
from typing import Any

import dagster as dg
import polars as pl
from tabulate import tabulate

from otto_pipeline.evaluation import report
from otto_pipeline.evaluation.plots import recall_plot
from otto_pipeline.evaluation.recall import SCORES_STAGE
from otto_pipeline.evaluation.summary import score_table
from otto_pipeline.events import split
from otto_pipeline.folds import ALL_SESSIONS
from otto_pipeline.orchestration.artifact import Artifact
from otto_pipeline.ranking import ranker
from otto_pipeline.ranking.blend import BLEND_STAGE
from otto_pipeline.ranking.fold_scores import fold_scores_stage
from otto_pipeline.ranking.scoring import STACKED
from otto_pipeline.ranking.training_rows import TRAINING_ROWS_STAGE
from otto_pipeline.schemas import (
    BLEND,
    EVENTS,
    FOLD_SCORES,
    KNOWN_ITEMS,
    LABELS,
    LANE_SESSIONS,
    RANKER,
    REPORT,
    SCORES,
    TRAINING_ROWS,
    TYPES,
)
from otto_pipeline.store.dataset import Dataset

LOG = {"parsed": "log/parsed", "events": "log/events"}
LOG_SESSIONS = {"sessions": "log/sessions"}
KNOWN = {"known_items": "validation/known_items", "items": "log/items"}
TRAINING = {"training_rows": "validation/training_rows"}
FEATURES = {"features": "validation/features"}
VALIDATION_SESSIONS = {"sessions": "validation/sessions"}
MODEL = frozenset({"xgboost"})

SPLIT_ARTIFACTS = (
    Artifact(
        "validation/known_items",
        split.KNOWN_ITEMS_STAGE,
        KNOWN_ITEMS,
        "validation",
        "Items that a session before the split moment holds; query sessions keep only these.",
        {**LOG, "items": "log/items"},
    ),
    Artifact(
        "validation/events",
        split.VISIBLE_STAGE,
        EVENTS,
        "validation",
        "What the validation lane sees: sessions before the split moment, and the beginnings of "
        "those after it.",
        {**LOG, **LOG_SESSIONS, **KNOWN},
    ),
    Artifact(
        "validation/sessions",
        split.VALIDATION_SESSIONS_STAGE,
        LANE_SESSIONS,
        "validation",
        "Sessions of the validation lane; those that start after the split moment are queries.",
        {**LOG, **LOG_SESSIONS, "visible": "validation/events"},
    ),
    Artifact(
        "validation/labels",
        split.LABELS_STAGE,
        LABELS,
        "validation",
        "What each query session did after its cut: the next click, the carts, the orders.",
        {**LOG, **LOG_SESSIONS, **KNOWN},
    ),
)


def _fold_scores(targets: Iterable[str]) -> dict[str, str]:
    return {name: f"validation/fold_scores/{name}" for name in targets}


def _rankers(name: str) -> tuple[Artifact, ...]:
    """What is learnt for a target: rankers by fold, their scores, the ranker of all sessions."""
    inputs = {**TRAINING, **FEATURES, **_fold_scores(STACKED[name])}
    fold_rankers = f"validation/fold_rankers/{name}"
    return (
        Artifact(
            fold_rankers,
            ranker.fold_rankers_stage(name),
            RANKER,
            "ranking",
            f"Rankers of {name}, each of which has not seen the sessions of one fold: for "
            "out-of-fold scores.",
            inputs,
            kinds=MODEL,
            frames=ranker.frames,
        ),
        Artifact(
            f"validation/fold_scores/{name}",
            fold_scores_stage(name),
            FOLD_SCORES,
            "ranking",
            f"What the rankers of {name} say of each candidate of the sessions that they have "
            "not seen.",
            {
                **FEATURES,
                **VALIDATION_SESSIONS,
                "rankers": fold_rankers,
                **_fold_scores(STACKED[name]),
            },
            kinds=MODEL | {"parquet"},
        ),
        Artifact(
            f"validation/rankers/{name}",
            ranker.ranker_stage(name),
            RANKER,
            "ranking",
            f"The ranker of {name} that has learnt from all sessions: for the submission.",
            {**inputs, "fold_rankers": fold_rankers},
            kinds=MODEL,
            frames=ranker.frames,
        ),
    )


def _blend_metadata(dataset: Dataset) -> dict[str, Any]:
    table = dataset.read().filter(pl.col("fold") == ALL_SESSIONS).drop("fold")
    shown = tabulate(table.rows(), table.columns, "github", floatfmt=".4f", missingval="–")
    return {"blend": dg.MetadataValue.md(shown)}


RANKER_ARTIFACTS = (
    Artifact(
        "validation/training_rows",
        TRAINING_ROWS_STAGE,
        TRAINING_ROWS,
        "ranking",
        "The candidates that rankers learn from, chosen before any feature is read.",
        {
            "candidates": "validation/candidates",
            "labels": "validation/labels",
            "sessions": "validation/sessions",
        },
    ),
    *(artifact for name in TYPES for artifact in _rankers(name)),
    Artifact(
        "validation/blend",
        BLEND_STAGE,
        BLEND,
        "ranking",
        "How the final score of each target is mixed of the list that needs no labels and of the "
        "rankers, chosen out-of-fold.",
        {
            **FEATURES,
            **VALIDATION_SESSIONS,
            "labels": "validation/labels",
            **_fold_scores(TYPES),
        },
        metadata=_blend_metadata,
    ),
)


def _scores_metadata(dataset: Dataset) -> dict[str, Any]:
    table = dataset.read()
    picture = base64.b64encode(recall_plot(table)).decode()
    return {
        "recall_at_20": dg.MetadataValue.md(score_table(table, "github")),
        "picture": dg.MetadataValue.md(f"![recall@20](data:image/png;base64,{picture})"),
    }


def _report_metadata(dataset: Dataset) -> dict[str, Any]:
    return {
        "scores_json": dg.MetadataValue.path(dataset.files[0]),
        "recall_png": dg.MetadataValue.path(dataset.folder / report.PICTURE),
    }


EVALUATION_ARTIFACTS = (
    Artifact(
        "validation/scores",
        SCORES_STAGE,
        SCORES,
        "evaluation",
        "Recall@20 of the pipeline, out-of-fold, of two baselines and of the candidates, on the "
        "same sessions.",
        {
            "labels": "validation/labels",
            "predictions": "validation/predictions",
            "candidates": "validation/candidates",
            "popularity": "validation/popularity",
            "event_log": "validation/event_log",
            "sessions": "validation/sessions",
        },
        metadata=_scores_metadata,
    ),
    Artifact(
        "validation/report",
        report.REPORT_STAGE,
        REPORT,
        "evaluation",
        "The scores with everything a reader must know of them, for machines: scores.json.",
        {
            "scores": "validation/scores",
            "sessions": "validation/sessions",
            **TRAINING,
            "blend": "validation/blend",
            **{name: f"validation/fold_rankers/{name}" for name in TYPES},
        },
        kinds=frozenset({"json"}),
        frames=report.frames,
        metadata=_report_metadata,
    ),
)
