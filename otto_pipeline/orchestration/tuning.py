"""Tuning of the rankers: a job of its own, on a scale that is rebuilt."""

from collections.abc import Callable, Sequence
from pathlib import Path

import dagster as dg

from otto_pipeline.orchestration.building import inputs_of
from otto_pipeline.orchestration.scales import SCALE_PARTITIONS
from otto_pipeline.orchestration.store_resource import StoreResource, plain_failures
from otto_pipeline.orchestration.validation import RANKER_ARTIFACTS
from otto_pipeline.ranking.tuning import tune, write_tuned
from otto_pipeline.schemas import TYPES
from otto_pipeline.settings import Settings

STUDIES = "tuning.db"
"""Where the studies of a scale lie, in its folder."""


def tune_rankers(
    scale: str,
    trials: int,
    targets: Sequence[str],
    out: Path,
    settings: Settings,
    log: Callable[[str], None],
) -> None:
    """Search parameters for each target, and write each target's best to the file at once."""
    root = settings.store_dir / scale
    for name in targets:
        path = f"validation/fold_rankers/{name}"
        artifact = next(artifact for artifact in RANKER_ARTIFACTS if artifact.path == path)
        inputs = inputs_of(artifact, root)
        best = tune(name, inputs, settings, trials, root / STUDIES, log)
        write_tuned(out, {name: best})
    log(f"the best parameters are in {out}: a run takes them with OTTO_RANKERS_FILE={out}")


@dg.op(
    config_schema={
        "trials": dg.Field(int, default_value=30, description="Trials of each target in all."),
        "out": dg.Field(str, default_value="rankers.toml", description="The file to write."),
    },
    description="Searches the parameters of each target's ranker, and writes the best to a file.",
)
def search_parameters(context: dg.OpExecutionContext, store: StoreResource) -> None:
    """Studies of all targets, on the partition's scale."""
    with plain_failures():
        tune_rankers(
            context.partition_key,
            context.op_config["trials"],
            TYPES,
            Path(context.op_config["out"]),
            store.settings(),
            context.log.info,
        )


@dg.job(
    name="tune",
    partitions_def=SCALE_PARTITIONS,
    description="Search parameters of the rankers on one scale, a small one for instance; it must "
    "be rebuilt. Goes on where an earlier run stopped.",
)
def tune_job() -> None:
    """One step."""
    search_parameters()
