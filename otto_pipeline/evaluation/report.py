"""Scores, rankers, labels → the report of a rebuild: `scores.json`, and `recall.png` beside it."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from otto_pipeline.evaluation.plots import recall_plot
from otto_pipeline.evaluation.recall import (
    BY_HISTORY,
    BY_LIST,
    BY_POPULARITY,
    IN_CANDIDATES,
    PIPELINE,
    in_source,
)
from otto_pipeline.events.halves import FEW_SESSIONS
from otto_pipeline.folds import ALL_SESSIONS, MIN_POSITIVE_SESSIONS
from otto_pipeline.ranking.blend import SCORED, blend_weights, ordered_by
from otto_pipeline.ranking.training_rows import positive_sessions
from otto_pipeline.retrieval.sources import SOURCES
from otto_pipeline.schemas import REPORT, TYPES
from otto_pipeline.settings import Settings
from otto_pipeline.store.dataset import Dataset, Figures, write_json
from otto_pipeline.store.stage import Inputs, Stage

PICTURE = "recall.png"


def write_report(inputs: Inputs, _shard: int, settings: Settings, path: Path) -> Figures:
    """Everything that a reader of the scores must know, for machines and for people."""
    table = inputs["scores"].read()
    path.with_name(PICTURE).write_bytes(recall_plot(table))
    report = {
        "scores": _of(table, PIPELINE),
        "interval_95": _intervals(table),
        "baselines": {
            "popularity": _of(table, BY_POPULARITY),
            "history": _of(table, BY_HISTORY),
        },
        "list": _of(table, BY_LIST),
        "candidates": _of(table, IN_CANDIDATES),
        "sources": {source: _of(table, in_source(source)) for source in SOURCES},
        "labels": {name: _labels(table, name) for name in TYPES},
        "query_sessions": inputs["sessions"].total("queries"),
        "cut_sessions": inputs["cut_sessions"].figures()["cut_sessions"],
        "rankers": {name: _ranker(inputs, name, settings) for name in TYPES},
        "notes": notes(inputs, table, settings),
        "fingerprint": inputs["scores"].fingerprint,
    }
    write_json(path, report)
    return {"notes": report["notes"], "query_sessions": report["query_sessions"]}


def notes(inputs: Inputs, table: pl.DataFrame, settings: Settings) -> list[str]:
    """What is out of the ordinary with these scores, in sentences."""
    found = []
    if inputs["sessions"].total("queries") == 0:
        found.append(
            f"no session of the log starts in the last {settings.validation_days:g} days with two "
            "events of known items: nothing could be validated; another OTTO_VALIDATION_DAYS may "
            "help"
        )
    unlabelled = [name for name in TYPES if _labels(table, name) == 0]
    if unlabelled and len(unlabelled) < len(TYPES):
        others = ", ".join(name for name in TYPES if name not in unlabelled)
        found.append(
            f"no label of {', '.join(unlabelled)}: scored null, and the total runs over {others}"
        )
    cut = inputs["cut_sessions"].figures()["cut_sessions"]
    if cut:
        found.append(
            f"rankers learn from {cut:,} sessions before the validation window too, which were cut "
            f"since a type has labels of fewer than {FEW_SESSIONS} sessions"
        )
    unknown = inputs["eligibility"].figures()
    if unknown["unknown_items"]:
        found.append(
            "items of OTTO_ELIGIBILITY_FILE that this log does not have: "
            f"{unknown['unknown_items']:,} ({', '.join(unknown['examples'])})"
        )
    for name in TYPES:
        found += _ranker_notes(name, inputs, settings)
    return found


def _ranker_notes(name: str, inputs: Inputs, settings: Settings) -> list[str]:
    folds = len(inputs[name].files)
    positive = positive_sessions(inputs["training_rows"], name)
    if folds == 0:
        return [
            f"{name}: sessions with a label among their candidates: {positive}, fewer than "
            f"{MIN_POSITIVE_SESSIONS}, so it is ordered by the list that needs no labels"
        ]
    found = []
    if folds < settings.folds:
        found.append(f"{name}: {folds} folds instead of {settings.folds}, for {positive} sessions")
    weights = blend_weights(inputs["blend"], name)
    if ordered_by(weights[ALL_SESSIONS]) == "list":
        is_judged = len(weights) > 1  # there are weights for the sessions of each fold
        why = "does not win out-of-fold" if is_judged else "has no label to be judged by"
        found.append(f"{name}: the ranker {why}, so the list orders it")
    return found


def _ranker(inputs: Inputs, name: str, settings: Settings) -> dict[str, Any]:
    rankers: Dataset = inputs[name]
    return {
        "folds": len(rankers.files),
        "trees": [rankers.figures(fold)["trees"] for fold in range(len(rankers.files))],
        "positive_sessions": positive_sessions(inputs["training_rows"], name),
        "ordered_by": ordered_by(_weights(inputs, name)),
        "weights": dict(zip(SCORED, _weights(inputs, name).tolist(), strict=True)),
        "device": settings.device,
    }


def _weights(inputs: Inputs, name: str) -> NDArray[np.float64]:
    """The weights that order the submission."""
    return blend_weights(inputs["blend"], name)[ALL_SESSIONS]


def _of(table: pl.DataFrame, system: str) -> dict[str, float | None]:
    return dict(table.filter(pl.col("system") == system).select("type", "recall").iter_rows())


def _intervals(table: pl.DataFrame) -> dict[str, list[float | None]]:
    rows = table.filter(pl.col("system") == PIPELINE).select("type", "low", "high")
    return {name: [low, high] for name, low, high in rows.iter_rows()}


def _labels(table: pl.DataFrame, name: str) -> int:
    rows = table.filter((pl.col("system") == PIPELINE) & (pl.col("type") == name))
    return rows["labels"].item()


def frames(dataset: Dataset) -> list[pl.LazyFrame]:
    """The report's scores as rows of `REPORT`, for the check of the contract."""
    report = read_report(dataset)
    rows = [
        {
            "type": name,
            "recall": recall,
            "ordered_by": report["rankers"].get(name, {}).get("ordered_by"),
        }
        for name, recall in report["scores"].items()
    ]
    return [pl.LazyFrame(rows, schema=REPORT.empty().schema)]


def read_report(dataset: Dataset) -> dict[str, Any]:
    """The content of `scores.json`."""
    return msgspec.json.decode(dataset.files[0].read_bytes())


REPORT_STAGE = Stage(
    write=write_report,
    version="3",
    settings=("folds", "validation_days", "device"),
    file="scores.json",
)
