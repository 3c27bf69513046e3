"""Ablation: rankers fitted again with something left out, on a validation lane that is finished.

The stages are the pipeline's own; what they make lies in a folder of its own until all is done.
"""

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

from otto_pipeline.evaluation.ablation import EVERYTHING
from otto_pipeline.evaluation.recall import hit_predictions
from otto_pipeline.events.raw import claim_store
from otto_pipeline.metrics import count_hits
from otto_pipeline.ranking.blend import BLEND_STAGE
from otto_pipeline.ranking.fold_scores import fold_scores_stage
from otto_pipeline.ranking.learnt_lanes import LANES, VALIDATION
from otto_pipeline.ranking.prediction import FOLD_PREDICTIONS_STAGE
from otto_pipeline.ranking.ranker import fold_rankers_stage
from otto_pipeline.ranking.scoring import STACKED
from otto_pipeline.ranking.training_features import TRAINING_FEATURES_STAGE
from otto_pipeline.ranking.training_rows import TRAINING_ROWS_STAGE
from otto_pipeline.ranking.variants import (
    Variant,
    chosen_variants,
    features_stage,
    judged_stage,
    learnt_stage,
    rows_stage,
)
from otto_pipeline.schemas import TYPES
from otto_pipeline.settings import Settings
from otto_pipeline.store.build import build
from otto_pipeline.store.dataset import Dataset
from otto_pipeline.store.lock import hold
from otto_pipeline.store.stage import Inputs, Stage

Make = Callable[..., Dataset]
"""Builds a dataset: (name, stage, **inputs)."""

SCRATCH = "ablation"
"""Where variants are made, in the folder of their scale: one at a time. What a call that was
stopped has left is taken up by the next."""


def ablate(
    scale: str,
    names: Sequence[str],
    sessions: int | None,
    settings: Settings,
    log: Callable[[str], None],
) -> dict[str, pl.DataFrame]:
    """What is hit out-of-fold with everything and without each of the named variants, or of all.

    By name the rows of `metrics.hits_by_session`, on the sessions with labels or a sample of so
    many.

    Raises:
        ValueError: there is no such variant.
        StoreError: the validation lane is not there, the store is of another seed or log, or a
            rebuild of the scale is running.
    """
    variants = {EVERYTHING: Variant(), **chosen_variants(names)}
    root = settings.store_dir / scale
    labels = Dataset(root / "validation/labels").read()
    claim_store(scale, settings)
    hold(root)  # what is read must stay as it is
    found = {}
    for number, (name, variant) in enumerate(variants.items(), start=1):
        began = time.monotonic()
        judged, predictions = fitted(variant, root, sessions, settings, log)
        of_judged = labels.join(judged.read(), on="session", how="semi")
        found[name] = count_hits(of_judged, hit_predictions(predictions, of_judged))
        what = name if name == EVERYTHING else f"without {name}"
        log(f"{number} of {len(variants)}: {what}, {time.monotonic() - began:,.0f} s")
    shutil.rmtree(root / SCRATCH)
    return found


def fitted(
    variant: Variant,
    root: Path,
    sessions: int | None,
    settings: Settings,
    log: Callable[[str], None],
) -> tuple[Dataset, Dataset]:
    """The sessions that are judged, and their predictions by a variant's rankers, out-of-fold."""

    def make(name: str, stage: Stage, **inputs: Dataset) -> Dataset:
        return build(root / SCRATCH, name, stage, inputs, settings, log).dataset

    def of(lane: str, name: str) -> Dataset:
        return Dataset(root / f"{lane or 'validation/'}{name}")

    judged = make(
        "judged",
        judged_stage(sessions),
        labels=of(VALIDATION, "labels"),
        sessions=of(VALIDATION, "sessions"),
    )
    learning, listed, changed = {}, {}, {}
    for lane in LANES:
        chosen = judged if lane == VALIDATION else of(lane, "sessions")
        of_chosen = {"features": of(lane, "features"), "judged": chosen}
        rows = make(f"{lane}rows", rows_stage(variant), **of_chosen)
        learning[f"{lane}candidates"] = rows
        learning[f"{lane}labels"] = of(lane, "labels")
        learning[f"{lane}sessions"] = make(f"{lane}learnt", learnt_stage(variant), judged=chosen)
        listed[f"{lane}features"], listed[f"{lane}sessions"] = rows, of(lane, "sessions")
        changed[f"{lane}features"] = make(f"{lane}features", features_stage(variant), **of_chosen)
    training = _training(make, changed, **learning)
    scores = _scores(make, variant, training, changed, listed)
    of_lane = {"features": listed["features"], "sessions": listed["sessions"], **scores}
    blend = make("blend", BLEND_STAGE, labels=of(VALIDATION, "labels"), **of_lane)
    return judged, make("predictions", FOLD_PREDICTIONS_STAGE, blend=blend, **of_lane)


def _training(
    make: Make, features: Mapping[str, Dataset], **learning: Dataset
) -> dict[str, Dataset]:
    """What rankers learn from."""
    rows = make("training_rows", TRAINING_ROWS_STAGE, **learning)
    of_rows = make("training_features", TRAINING_FEATURES_STAGE, training_rows=rows, **features)
    return {"training_rows": rows, "training_features": of_rows}


def _scores(
    make: Make,
    variant: Variant,
    training: Mapping[str, Dataset],
    changed: Mapping[str, Dataset],
    listed: Mapping[str, Dataset],
) -> dict[str, Dataset]:
    """Out-of-fold scores by target; `listed` is what the list's scores are made from."""
    none = make("no_rankers", replace(fold_rankers_stage(TYPES[0]), shards=_none))
    by_list = make("list_scores", fold_scores_stage(TYPES[0]), rankers=none, **listed)
    scores: dict[str, Dataset] = {}
    for name in TYPES:
        lower = {other: scores[other] if variant.stacked else by_list for other in STACKED[name]}
        rankers = make(f"fold_rankers/{name}", fold_rankers_stage(name), **training, **lower)
        # a target without rankers has the list's scores, be its features left out or not
        scored = {**listed, **changed} if rankers.files else listed
        scores[name] = make(
            f"fold_scores/{name}", fold_scores_stage(name), rankers=rankers, **scored, **lower
        )
    return scores


def _none(_inputs: Inputs, _settings: Settings) -> int:
    return 0
