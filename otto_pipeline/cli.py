"""The command `otto`: what is useful without Dagster, and what a run needs before and after."""

import json
from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path
from typing import Any

import click

from otto_pipeline.schemas import TYPES
from otto_pipeline.settings import (
    SCALES,
    Settings,
    SettingsError,
    load_settings,
    settings_table,
)

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
MAX_SIZE = 2**31 - 1
STORED = click.Path(exists=True, file_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)


def plain_errors(command: Callable[..., None]) -> Callable[..., None]:
    """Show what is wrong without a stack trace, and exit with 1."""

    @wraps(command)
    def shown(*args: Any, **kwargs: Any) -> None:
        from otto_pipeline.events.errors import LogError
        from otto_pipeline.store.errors import StoreError

        try:
            command(*args, **kwargs)
        except (LogError, StoreError, SettingsError, ValueError, OSError) as error:
            raise click.ClickException(str(error)) from error

    return shown


@click.group()
@click.version_option(package_name="otto-pipeline")
def main() -> None:
    """From a raw session log to ranked recommendations."""


@main.command()
@click.option("--train-set", type=FILE, required=True, help="Log in OTTO's JSONL.")
@click.option("--output-path", type=FOLDER, required=True, help="Folder for the four files.")
@click.option("--days", type=float, default=2, show_default=True, help="Days held out at its end.")
@click.option("--seed", type=int, default=42, show_default=True, help="Seed of the cuts.")
@plain_errors
def split(train_set: Path, output_path: Path, days: float, seed: int) -> None:
    """Split a log in time and truncate the later sessions, as OTTO's own script does."""
    from otto_pipeline.events.official import official_split

    counts = official_split(
        train_set, output_path, days=days, seed=seed, threads=load_settings().threads
    )
    for name, count in counts.items():
        click.echo(f"{name}: {count:,}", err=True)


@main.command()
@click.option("--test-labels", type=FILE, required=True, help="test_labels.jsonl of `otto split`.")
@click.option("--predictions", type=FILE, required=True, help="A submission, session_type,labels.")
@click.option("--k", type=int, default=20, show_default=True, help="Items of a prediction.")
@plain_errors
def score(test_labels: Path, predictions: Path, k: int) -> None:
    """Score a submission by recall@k, as OTTO's own script does: one JSON object."""
    from otto_pipeline.evaluation.official import official_score

    click.echo(json.dumps(official_score(test_labels, predictions, k=k)))


@main.command()
@click.option("--sessions", type=click.IntRange(1, MAX_SIZE), required=True, help="In train.")
@click.option("--items", type=click.IntRange(1, MAX_SIZE), help="Default: as many as OTTO's ratio.")
@click.option("--test-sessions", type=click.IntRange(0, MAX_SIZE), help="Default: 13 % of them.")
@click.option("--seed", type=click.IntRange(0, MAX_SIZE), default=42, show_default=True)
@click.option("--out", type=FOLDER, required=True, help="Folder for the files of the log.")
@click.option(
    "--format",
    "file_format",
    type=click.Choice(["jsonl", "jsonl.zst", "parquet"]),
    default="jsonl",
    show_default=True,
    help="Of train and test; test_labels is JSONL always.",
)
@plain_errors
def generate(
    sessions: int,
    items: int | None,
    test_sessions: int | None,
    seed: int,
    out: Path,
    file_format: str,
) -> None:
    """Generate a log of any size with OTTO's statistics, and print how near it is to them."""
    from otto_pipeline.events.generate import default_items, default_test_sessions, generate_log
    from otto_pipeline.events.otto import compare, comparison_text

    written = generate_log(
        out,
        sessions=sessions,
        test_sessions=default_test_sessions(sessions) if test_sessions is None else test_sessions,
        items=items or default_items(sessions),
        seed=seed,
        file_format=file_format,
        threads=load_settings().threads,
        log=partial(click.echo, err=True),
    )
    click.echo(comparison_text(compare(written.values())))


@main.command()
@click.argument("scale", type=click.Choice(SCALES))
@plain_errors
def prepare(scale: str) -> None:
    """Get ready for a run of SCALE: check the settings and the log, clear away dead runs."""
    from otto_pipeline.events.eligibility_file import read_eligibility
    from otto_pipeline.events.raw import log_files
    from otto_pipeline.orchestration.runs import dagster_instance, fail_dead_runs
    from otto_pipeline.retrieval.matrices import chosen

    settings = load_settings()
    chosen(settings.matrices)
    if settings.eligibility_file:
        read_eligibility(settings.eligibility_file)
    if scale != "demo":
        log_files(settings.data_dir)
    with dagster_instance() as instance:
        for run_id in fail_dead_runs(instance):
            click.echo(f"run {run_id} was marked as failed: its process is gone")


@main.command()
@click.argument("scale", type=click.Choice(SCALES))
@plain_errors
def ingest(scale: str) -> None:
    """Read the log alone: build the tables `log/…` of SCALE, or take them as they are."""
    from otto_pipeline.evaluation.summary import cost_table
    from otto_pipeline.events.raw import claim_store
    from otto_pipeline.orchestration.building import build_step
    from otto_pipeline.orchestration.log import LOG_ARTIFACTS
    from otto_pipeline.store.dataset import Dataset

    settings = load_settings()
    root = settings.store_dir / scale
    claim_store(scale, settings)
    for artifact in LOG_ARTIFACTS:
        built = build_step([artifact], scale, settings, partial(click.echo, err=True))
        how = "reused as it is" if built[artifact.path].reused else "built"
        click.echo(f"{artifact.path}: {how}", err=True)
    click.echo(cost_table(root, [artifact.path for artifact in LOG_ARTIFACTS]))
    quarantine = Dataset(root / "log/quarantine")
    lines = quarantine.figures()["lines"]
    click.echo(f"\nset aside: {quarantine.manifest.rows:,} of {lines:,} lines, {quarantine.folder}")
    click.echo(f"tables:    {root / 'log'}")


@main.command()
@click.argument("scale", type=click.Choice(SCALES))
@plain_errors
def report(scale: str) -> None:
    """Print scores, cost of each step and places of the results of SCALE's latest rebuild."""
    from otto_pipeline.evaluation.summary import report_text
    from otto_pipeline.orchestration.assets import ARTIFACTS

    root = load_settings().store_dir / scale
    click.echo(report_text(root, [artifact.path for artifact in ARTIFACTS]))


@main.command()
@click.option("--session", required=True, help="Original id of a session that is predicted.")
@click.option("--item", required=True, help="Original id of an item.")
@click.option("--scale", type=click.Choice(SCALES), default="full", show_default=True)
@click.option(
    "--lane",
    "name",
    type=click.Choice(["validation", "submission"]),
    help="Default: submission where the log has sessions to predict, else validation.",
)
@plain_errors
def why(session: str, item: str, scale: str, name: str | None) -> None:
    """Say why an item is recommended to a session where it is, or what lost it."""
    from otto_pipeline.evaluation.why import why as explained
    from otto_pipeline.orchestration.lane import why_inputs
    from otto_pipeline.store.dataset import Dataset, read_manifest

    settings = load_settings()
    root = settings.store_dir / scale
    submitted = read_manifest(root / "submission/sessions") is not None
    lane = name or ("submission" if submitted else "validation")
    inputs = {key: Dataset(root / path) for key, path in why_inputs(lane).items()}
    click.echo(f"Lane {lane} of {scale}. {explained(inputs, session, item, settings)}")


@main.command()
@click.argument("first", metavar="A", type=STORED)
@click.argument("second", metavar="B", type=STORED)
@click.option("--seed", type=int, default=42, show_default=True, help="Seed of the intervals.")
@plain_errors
def compare(first: Path, second: Path, seed: int) -> None:
    """Compare two finished runs, A and B: folders of a store or of one of its scales."""
    from otto_pipeline.evaluation.comparison import comparison_text, run_folder

    click.echo(comparison_text(run_folder(first), run_folder(second), seed))


@main.command()
@click.argument("scale", type=click.Choice(SCALES))
@click.option("--without", "names", multiple=True, metavar="NAME", help="Default: each in turn.")
@click.option("--sessions", type=click.IntRange(1), help="Sample of the sessions with labels.")
@click.option("--picture", type=click.Path(dir_okay=False, path_type=Path), help="A PNG to write.")
@plain_errors
def ablate(scale: str, names: tuple[str, ...], sessions: int | None, picture: Path | None) -> None:
    """Fit the rankers of SCALE without a family of features, a source, the stacking.

    SCALE's validation lane is finished and stays as it is. Prints what each brings: recall@20 with
    everything, out-of-fold, less that without it.
    """
    from otto_pipeline.evaluation.ablation import EVERYTHING, ablation_text, differences
    from otto_pipeline.evaluation.plots import ablation_plot
    from otto_pipeline.orchestration.ablation import ablate as hits_without

    settings = load_settings()
    if picture and not picture.parent.is_dir():
        raise click.BadParameter(f"there is no folder {picture.parent}", param_hint="--picture")
    hits = hits_without(scale, names, sessions, settings, partial(click.echo, err=True))
    found = differences(hits, settings.seed)
    click.echo(ablation_text(found, hits[EVERYTHING]["session"].n_unique()))
    if picture:
        picture.write_bytes(ablation_plot(found))


@main.command()
@click.argument("scale", type=click.Choice(SCALES))
@click.option("--trials", default=30, help="Trials of each target in all. Default 30.")
@click.option("--target", "targets", multiple=True, type=click.Choice(TYPES), help="Default all.")
@click.option("--out", default="rankers.toml", type=click.Path(path_type=Path), show_default=True)
@plain_errors
def tune(scale: str, trials: int, targets: tuple[str, ...], out: Path) -> None:
    """Search better parameters of the rankers on SCALE, which is rebuilt, and write them to a file.

    Goes on where an earlier call stopped.
    """
    from otto_pipeline.orchestration.tuning import tune_rankers

    tune_rankers(scale, trials, targets or TYPES, out, load_settings(), click.echo)


@main.command()
def features() -> None:
    """Print every feature of the rankers as a Markdown table: name, type, meaning."""
    from otto_pipeline.features.table import features_table

    click.echo(features_table())


@main.command("settings")
@click.option("--markdown", is_flag=True, help="As the table of the README, with the defaults.")
@plain_errors
def show_settings(markdown: bool) -> None:
    """Print every setting: its name, its value here, its meaning."""
    if markdown:
        click.echo(settings_table())
        return
    values = load_settings()
    for name, field in Settings.model_fields.items():
        click.echo(f"OTTO_{name.upper()}={getattr(values, name)}\n    {field.description}")


@main.command()
@click.argument("data", type=click.Path(path_type=Path, resolve_path=True))
@click.option("--json", "for_machines", is_flag=True, help="One JSON object instead of lines.")
@plain_errors
def validate(data: Path, for_machines: bool) -> None:
    """Look at a log before anything is built from it: what is wrong, what to do, what it costs.

    Exits with 1 where a rebuild would fail or be worthless (FAIL), else with 0.
    """
    from otto_pipeline.events.log_validation import as_json, as_text, validate_log

    validation = validate_log(data, load_settings())
    click.echo(json.dumps(as_json(validation)) if for_machines else as_text(validation))
    if validation.verdict == "FAIL":
        raise click.exceptions.Exit(1)


if __name__ == "__main__":
    main()
