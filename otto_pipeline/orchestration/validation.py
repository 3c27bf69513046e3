"""The assets of the validation lane beside the lane itself: split, rankers, scores, report."""

from collections.abc import Iterable
from typing import Any

import dagster as dg
import polars as pl
from tabulate import tabulate

from otto_pipeline.evaluation import report
from otto_pipeline.evaluation.found_labels import FOUND_LABELS, FOUND_LABELS_STAGE
from otto_pipeline.evaluation.funnel import FUNNEL, FUNNEL_STAGE, funnel_table
from otto_pipeline.evaluation.plots import funnel_plot, recall_plot, sources_plot
from otto_pipeline.evaluation.recall import SCORES_STAGE
from otto_pipeline.evaluation.segments import SEGMENTS, SEGMENTS_STAGE, segments_table
from otto_pipeline.evaluation.source_report import (
    SOURCE_REPORT,
    SOURCE_REPORT_STAGE,
    source_tables,
)
from otto_pipeline.evaluation.summary import score_table
from otto_pipeline.events import split
from otto_pipeline.features.table import SUBMISSION_FEATURES
from otto_pipeline.folds import ALL_SESSIONS
from otto_pipeline.orchestration.artifact import Artifact, picture
from otto_pipeline.orchestration.lane import KERNEL, behind_sources, source_inputs
from otto_pipeline.ranking import ranker
from otto_pipeline.ranking.blend import BLEND_STAGE
from otto_pipeline.ranking.explanation import EXPLANATION, EXPLANATION_STAGE, importance_plot
from otto_pipeline.ranking.fold_scores import fold_scores_stage
from otto_pipeline.ranking.learning_curves import curves_plot, read_curves
from otto_pipeline.ranking.learnt_lanes import lane_inputs
from otto_pipeline.ranking.scoring import STACKED
from otto_pipeline.ranking.training_features import TRAINING_FEATURES_STAGE
from otto_pipeline.ranking.training_rows import TRAINING_ROWS_STAGE
from otto_pipeline.retrieval import pre_ranker
from otto_pipeline.retrieval.sources import UNION_SAMPLE
from otto_pipeline.retrieval.union_sample import UNION_SAMPLE_STAGE
from otto_pipeline.schemas import (
    BLEND,
    EVENTS,
    FOLD_SCORES,
    KNOWN_ITEMS,
    LABELS,
    LANE_SESSIONS,
    PRE_RANKER,
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
TRAINING_FEATURES = {"training_features": "validation/training_features"}
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

SAMPLE = {"union_sample": "validation/union_sample"}
PRE_RANKER_ARTIFACTS = (
    Artifact(
        "validation/union_sample",
        UNION_SAMPLE_STAGE,
        UNION_SAMPLE,
        "ranking",
        "What all sources together propose to a sample of the sessions with labels.",
        {**source_inputs("validation"), "labels": "validation/labels"},
        kinds=frozenset({"numba", "parquet"}),
    ),
    Artifact(
        "validation/fold_pre_rankers",
        pre_ranker.FOLD_PRE_RANKERS_STAGE,
        PRE_RANKER,
        "ranking",
        "Pre-rankers, each of which has not seen the sessions of one fold: they choose the "
        "candidates of the validation lane.",
        SAMPLE,
        kinds=MODEL,
        frames=pre_ranker.frames,
    ),
    Artifact(
        "validation/pre_ranker",
        pre_ranker.PRE_RANKER_STAGE,
        PRE_RANKER,
        "ranking",
        "The pre-ranker that has seen all sampled sessions: it chooses the candidates of the "
        "submission lane.",
        SAMPLE,
        kinds=MODEL,
        frames=pre_ranker.frames,
    ),
)


def _fold_scores(targets: Iterable[str]) -> dict[str, str]:
    return {name: f"validation/fold_scores/{name}" for name in targets}


def _curves_metadata(dataset: Dataset) -> dict[str, Any]:
    curves = read_curves(dataset)
    if curves.is_empty():
        return {}
    return {"learning_curves": picture("learning curves", curves_plot(curves))}


def _rankers(name: str) -> tuple[Artifact, ...]:
    """What is learnt for a target: rankers by fold, their scores, the ranker of all sessions."""
    inputs = {**TRAINING, **TRAINING_FEATURES, **_fold_scores(STACKED[name])}
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
            metadata=_curves_metadata,
        ),
        Artifact(
            f"validation/fold_scores/{name}",
            fold_scores_stage(name),
            FOLD_SCORES,
            "ranking",
            f"What the rankers of {name} say of each candidate of the sessions that they have "
            "not seen.",
            {
                **lane_inputs("features", "sessions"),
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
        lane_inputs("candidates", "labels", "sessions"),
    ),
    Artifact(
        "validation/training_features",
        TRAINING_FEATURES_STAGE,
        SUBMISSION_FEATURES,
        "ranking",
        "What a ranker knows of each training row.",
        {**TRAINING, **lane_inputs("features")},
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
    return {
        "recall_at_20": dg.MetadataValue.md(score_table(table, "github")),
        "picture": picture("recall@20", recall_plot(table)),
    }


def _sources_metadata(dataset: Dataset) -> dict[str, Any]:
    return {
        "sources": dg.MetadataValue.md(source_tables(dataset)),
        "picture": picture("sources of candidates", sources_plot(dataset.read())),
    }


def _funnel_metadata(dataset: Dataset) -> dict[str, Any]:
    table = dataset.read()
    return {
        "funnel": dg.MetadataValue.md(funnel_table(table, "github")),
        "picture": picture("labels left", funnel_plot(table)),
    }


def _segments_metadata(dataset: Dataset) -> dict[str, Any]:
    return {"segments": dg.MetadataValue.md(segments_table(dataset.read(), "github"))}


def _explanation_metadata(dataset: Dataset) -> dict[str, Any]:
    table = dataset.read()
    if table.is_empty():
        return {}
    return {
        what: picture(
            meaning,
            importance_plot(
                table.select("type", "feature", importance=what).sort(
                    "type", "importance", "feature", descending=[False, True, False]
                ),
                meaning,
            ),
        )
        for what, meaning in (("gain", "share in the gain"), ("shap", "mean |SHAP|"))
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
        "validation/found_labels",
        FOUND_LABELS_STAGE,
        FOUND_LABELS,
        "evaluation",
        "Where each source puts each label of a sample of query sessions, before the cut to the "
        "shortlist.",
        {**source_inputs("validation"), "labels": "validation/labels"},
        kinds=KERNEL,
    ),
    Artifact(
        "validation/source_report",
        SOURCE_REPORT_STAGE,
        SOURCE_REPORT,
        "evaluation",
        "Recall of each source of candidates alone, what is lost without it, and what stands "
        "behind it costs: which source to drop.",
        {
            "found_labels": "validation/found_labels",
            "neighbours": "validation/neighbours",
            "candidates": "validation/candidates",
            **behind_sources("validation"),
        },
        metadata=_sources_metadata,
    ),
    Artifact(
        "validation/funnel",
        FUNNEL_STAGE,
        FUNNEL,
        "evaluation",
        "How many labels are left after each step from the log to the top 20: where recall is "
        "lost.",
        {
            "found_labels": "validation/found_labels",
            "candidates": "validation/candidates",
            "predictions": "validation/predictions",
        },
        metadata=_funnel_metadata,
    ),
    Artifact(
        "validation/segments",
        SEGMENTS_STAGE,
        SEGMENTS,
        "evaluation",
        "Recall@20 of the pipeline by length of the session, type of its last event, and "
        "popularity of the item.",
        {
            "labels": "validation/labels",
            "predictions": "validation/predictions",
            "event_log": "validation/event_log",
            "popularity": "validation/popularity",
        },
        metadata=_segments_metadata,
    ),
    Artifact(
        "validation/explanation",
        EXPLANATION_STAGE,
        EXPLANATION,
        "evaluation",
        "What the rankers look at: each feature's share in the gain, and its mean absolute SHAP "
        "value on a sample of candidates.",
        {
            **FEATURES,
            **_fold_scores(STACKED["orders"]),
            **{f"ranker_{name}": f"validation/rankers/{name}" for name in TYPES},
        },
        metadata=_explanation_metadata,
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
            "eligibility": "log/eligibility",
            **TRAINING,
            "cut_sessions": "validation/cut_sessions",
            "blend": "validation/blend",
            **{name: f"validation/fold_rankers/{name}" for name in TYPES},
        },
        kinds=frozenset({"json"}),
        frames=report.frames,
        metadata=_report_metadata,
    ),
)
