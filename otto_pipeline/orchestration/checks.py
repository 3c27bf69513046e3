"""Checks: each artifact's contract, shard by shard, the submission's rules, drift of features."""

from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg
import polars as pl
from tabulate import tabulate

from otto_pipeline.events.eligibility import open_eligibility
from otto_pipeline.events.event_log import open_event_log
from otto_pipeline.orchestration.artifact import Artifact, picture
from otto_pipeline.orchestration.scales import SCALE_PARTITIONS, scale_of
from otto_pipeline.orchestration.store_resource import StoreResource
from otto_pipeline.ranking.drift import LARGE_DRIFT, drift_plot, lane_drift
from otto_pipeline.schemas import Table
from otto_pipeline.store.dataset import Dataset
from otto_pipeline.store.marks import passed_before, remember_passed
from otto_pipeline.submission.submission import faults

SHOWN_FAILURES = 10
SHOWN_FEATURES = 20


def schema_checks(step: str, artifacts: Sequence[Artifact]) -> dg.AssetChecksDefinition:
    """The checks of what a step makes, in one step: columns, types, nulls, ranges, keys, order."""

    @dg.multi_asset_check(
        name=f"{step}_schema",
        specs=[
            dg.AssetCheckSpec(
                "schema",
                asset=artifact.key,
                blocking=True,
                partitions_def=SCALE_PARTITIONS,
                description=f"{artifact.table.row} Columns, types, nulls, value ranges, keys and "
                "order.",
            )
            for artifact in artifacts
        ],
        can_subset=len(artifacts) > 1,
    )
    def schema(
        context: dg.AssetCheckExecutionContext, store: StoreResource
    ) -> Iterator[dg.AssetCheckResult]:
        selected = {check.asset_key for check in context.selected_asset_check_keys}
        for artifact in artifacts:
            if artifact.key in selected:
                result = check_dataset(artifact, store.dataset(scale_of(context), artifact.path))
                yield result._replace(asset_key=artifact.key, check_name="schema")

    return schema


def check_dataset(artifact: Artifact, dataset: Dataset) -> dg.AssetCheckResult:
    """Validate a dataset piece by piece, unless these very bytes have passed before."""
    contract = repr(artifact.table)
    if passed_before(dataset, contract):
        return dg.AssetCheckResult(passed=True, metadata={"read": False})
    rows = 0
    for number, piece in enumerate(artifact.frames(dataset) if dataset.files else ()):
        frame = piece.collect()
        rows += frame.height
        failures = table_failures(artifact.table, frame)
        if failures:
            return dg.AssetCheckResult(
                passed=False,
                description=f"piece {number}: {failures[0]}",
                metadata={"piece": number, "failures": dg.MetadataValue.json(failures)},
            )
    remember_passed(dataset, contract)
    return dg.AssetCheckResult(passed=True, metadata={"read": True, "rows_checked": rows})


def table_failures(table: Table, frame: pl.DataFrame) -> list[str]:
    """What of a frame breaks its contract, in words; empty if nothing."""
    # a second of import, which a run that finds all as it was does not need
    from pandera.errors import SchemaErrors  # noqa: PLC0415

    from otto_pipeline.schemas.checks import pandera_schema  # noqa: PLC0415

    if frame.columns != table.names():
        return [f"columns are {frame.columns} instead of {table.names()}"]
    try:
        pandera_schema(table).validate(frame, lazy=True)
    except SchemaErrors as error:
        cases: Any = error.failure_cases
        return [
            f"{case['column'] or 'table'}: {case['check']} fails for {case['failure_case']}"
            for case in cases.head(SHOWN_FAILURES).iter_rows(named=True)
        ]
    return []


def submission_check(artifact: Artifact) -> dg.AssetChecksDefinition:
    """The check that a submission can be handed in."""

    @dg.asset_check(
        asset=artifact.key,
        name="valid",
        blocking=True,
        partitions_def=SCALE_PARTITIONS,
        additional_deps=[
            dg.AssetKey(path.split("/"))
            for name, path in artifact.inputs.items()
            if name != "predictions"
        ],
        description="Every test session has its three lines, each of 1–20 distinct known items "
        "that may be recommended.",
    )
    def valid(context: dg.AssetCheckExecutionContext, store: StoreResource) -> dg.AssetCheckResult:
        inputs = store.inputs(artifact, scale_of(context))
        submission = store.dataset(scale_of(context), artifact.path)
        log = open_event_log(inputs["event_log"])
        denied = open_eligibility(inputs["eligibility"], log, store.settings()).denied
        found = faults(submission, inputs["sessions"], inputs["items"], denied)
        return dg.AssetCheckResult(
            passed=not found,
            description="; ".join(f"{count:,} {fault}" for fault, count in found.items()) or None,
            metadata={"lines": submission.figures()["lines"], **found},
        )

    return valid


def drift_check(artifact: Artifact, reference: Artifact) -> dg.AssetChecksDefinition:
    """The check that warns where a lane's features are distributed unlike those of another."""

    @dg.asset_check(
        asset=artifact.key,
        name="drift",
        partitions_def=SCALE_PARTITIONS,
        additional_deps=[reference.key],
        description="No feature's population stability index against the lane that rankers learn "
        f"in reaches {LARGE_DRIFT}. Warns, and stops nothing.",
    )
    def drifts(context: dg.AssetCheckExecutionContext, store: StoreResource) -> dg.AssetCheckResult:
        learnt, applied = (
            store.dataset(scale_of(context), one.path) for one in (reference, artifact)
        )
        return check_drift(learnt, applied, store.settings().seed)

    return drifts


def check_drift(learnt: Dataset, applied: Dataset, seed: int) -> dg.AssetCheckResult:
    """Compare the features that rankers learn from with those that they are applied to."""
    if not (learnt.manifest.rows and applied.manifest.rows):
        return dg.AssetCheckResult(passed=True, description="a lane has no candidates to compare")
    found = lane_drift(learnt, applied, seed)
    large = found.filter(pl.col("psi") >= LARGE_DRIFT).select("feature", "psi").rows()
    worst = found.head(SHOWN_FEATURES)
    shown = tabulate(worst.rows(), worst.columns, "github", floatfmt=".3f")
    return dg.AssetCheckResult(
        passed=not large,
        severity=dg.AssetCheckSeverity.WARN,
        description=", ".join(f"{name} {psi:.2f}" for name, psi in large) or None,
        metadata={
            "drifting": len(large),
            "worst": dg.MetadataValue.md(shown),
            "picture": picture("drift of features", drift_plot(found)),
        },
    )
