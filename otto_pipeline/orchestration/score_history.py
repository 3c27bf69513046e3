"""The unpartitioned asset that keeps the scores of all rebuilds."""

import dagster as dg

from otto_pipeline.evaluation.history import append_scores, read_history
from otto_pipeline.orchestration.checks import table_failures
from otto_pipeline.orchestration.scales import scale_of
from otto_pipeline.orchestration.store_resource import StoreResource, plain_failures, table_schema
from otto_pipeline.schemas import SCORE_HISTORY
from otto_pipeline.settings import SCALES
from otto_pipeline.store.dataset import read_manifest

KEY = "score_history"
SCORES = "validation/scores"


@dg.asset(
    key=KEY,
    deps=[dg.AssetKey(SCORES.split("/"))],
    group_name="evaluation",
    kinds={"parquet"},
    owners=["team:recsys"],
    code_version="1",
    description="Scores of every rebuild of every scale, one row each: the trend over time.",
)
def score_history(context: dg.AssetExecutionContext, store: StoreResource) -> dg.MaterializeResult:
    """Append this rebuild's scores, unless nothing has changed since the latest.

    Materialized alone, outside a rebuild, it looks at every scale.
    """
    folder = store.settings().store_dir / KEY
    scales = _scales(context, store)
    with plain_failures():
        added = [append_scores(folder, scale, store.dataset(scale, SCORES)) for scale in scales]
    history = read_history(folder)
    latest = history.tail(1).select("clicks", "carts", "orders", "total")
    figures = latest.row(0, named=True) if history.height else {}
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": history.height,
            "dagster/column_schema": table_schema(SCORE_HISTORY),
            "row_added": any(added),
            "scales": ", ".join(scales),
            "path": dg.MetadataValue.path(folder),
            **{name: value for name, value in figures.items() if value is not None},
        }
    )


def _scales(context: dg.AssetExecutionContext, store: StoreResource) -> list[str]:
    """The scale of the run; every scale that has scores where the run names none."""
    if "dagster/partition" in context.run.tags:
        return [scale_of(context)]
    return [scale for scale in SCALES if read_manifest(store.root(scale) / SCORES)]


@dg.asset_check(
    asset=score_history,
    name="schema",
    blocking=True,
    description=f"{SCORE_HISTORY.row} Columns, types, nulls and value ranges.",
)
def score_history_schema(store: StoreResource) -> dg.AssetCheckResult:
    """The contract of the history."""
    failures = table_failures(SCORE_HISTORY, read_history(store.settings().store_dir / KEY))
    return dg.AssetCheckResult(passed=not failures, description="; ".join(failures) or None)
