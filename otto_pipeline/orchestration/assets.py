"""Artifacts → assets: all of them, and the two lanes that predict."""

from collections.abc import Iterable, Iterator, Sequence

import dagster as dg

from otto_pipeline.orchestration.artifact import OWNERS, Artifact, by_name
from otto_pipeline.orchestration.halves import HALVES_ARTIFACTS
from otto_pipeline.orchestration.lane import lane, predictions
from otto_pipeline.orchestration.log import LOG_ARTIFACTS
from otto_pipeline.orchestration.scales import SCALE_PARTITIONS
from otto_pipeline.orchestration.store_resource import StoreResource
from otto_pipeline.orchestration.submission import SUBMISSION_FILE, SUBMISSION_SESSIONS
from otto_pipeline.orchestration.validation import (
    EVALUATION_ARTIFACTS,
    PRE_RANKER_ARTIFACTS,
    RANKER_ARTIFACTS,
    SPLIT_ARTIFACTS,
)
from otto_pipeline.ranking.prediction import FOLD_PREDICTIONS_STAGE, PREDICTIONS_STAGE
from otto_pipeline.settings import Settings

VALIDATION_LANE = [
    *lane(
        "validation",
        events="validation/events",
        labels="validation/labels",
        pre_rankers="validation/fold_pre_rankers",
    ),
    predictions("validation", FOLD_PREDICTIONS_STAGE, by="validation/fold_scores"),
]
SUBMISSION_LANE = [
    *lane("submission", events="log/events", pre_rankers="validation/pre_ranker"),
    predictions("submission", PREDICTIONS_STAGE, by="validation/rankers"),
]


def _in_order(artifacts: Iterable[Artifact]) -> tuple[Artifact, ...]:
    """As given, but inputs before what is made from them."""
    waiting = list(artifacts)
    ordered: list[Artifact] = []
    while waiting:
        made = {artifact.path for artifact in ordered}
        ready = next(artifact for artifact in waiting if made.issuperset(artifact.inputs.values()))
        waiting.remove(ready)
        ordered.append(ready)
    return tuple(ordered)


ARTIFACTS = _in_order(
    [
        *LOG_ARTIFACTS,
        *SPLIT_ARTIFACTS,
        *PRE_RANKER_ARTIFACTS,
        *VALIDATION_LANE,
        *HALVES_ARTIFACTS,
        *RANKER_ARTIFACTS,
        *EVALUATION_ARTIFACTS,
        SUBMISSION_SESSIONS,
        *SUBMISSION_LANE,
        SUBMISSION_FILE,
    ]
)
"""Every artifact, in an order in which they can be made."""


def steps(artifacts: Sequence[Artifact], settings: Settings) -> list[dg.AssetsDefinition]:
    """The steps that build artifacts: one each, or one for several."""
    return [_step(name, members, settings) for name, members in by_step(artifacts).items()]


def by_step(artifacts: Iterable[Artifact]) -> dict[str, list[Artifact]]:
    """The artifacts that one step makes, by its name."""
    return by_name(artifacts, lambda artifact: artifact.step_name)


def _step(name: str, artifacts: Sequence[Artifact], settings: Settings) -> dg.AssetsDefinition:
    @dg.multi_asset(
        name=name,
        specs=[_spec(artifact, settings) for artifact in artifacts],
        partitions_def=SCALE_PARTITIONS,
        can_subset=len(artifacts) > 1,
    )
    def build(
        context: dg.AssetExecutionContext, store: StoreResource
    ) -> Iterator[dg.MaterializeResult]:
        selected = context.selected_asset_keys
        yield from store.materialize(context, [a for a in artifacts if a.key in selected])

    return build


def _spec(artifact: Artifact, settings: Settings) -> dg.AssetSpec:
    deps = [dg.AssetKey(path.split("/")) for path in artifact.inputs.values()]
    if artifact.path == "log/raw":
        deps = [dg.AssetKey(["log", "source"])]
    return dg.AssetSpec(
        artifact.key,
        deps=deps,
        group_name=artifact.group,
        kinds=set(artifact.kinds),
        owners=OWNERS,
        code_version=artifact.stage_for("full").code_version(settings),
        description=artifact.description,
        skippable=artifact.skip is not None,
    )
