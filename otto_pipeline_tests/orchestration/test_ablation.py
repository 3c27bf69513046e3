"""Ablations of a finished rebuild: fitted by the pipeline's own stages, on changed columns."""

from pathlib import Path

import dagster as dg
import polars as pl
from click.testing import CliRunner, Result

from otto_pipeline.cli import main
from otto_pipeline.schemas import TYPES
from otto_pipeline_tests.orchestration.conftest import DEMO, Project

Demo = tuple[Project, dg.ExecuteInProcessResult]


def ablate(store: Path, *options: str) -> Result:
    environment = {"OTTO_STORE_DIR": str(store), **DEMO}
    return CliRunner(env=environment).invoke(main, ["ablate", "demo", *options])


def cells(result: Result, name: str) -> list[str]:
    line = next(line for line in result.stdout.splitlines() if line.startswith(f"{name} "))
    return line.removeprefix(name).split()


def test_with_everything_it_scores_as_the_pipeline_and_leaves_no_trace(
    demo: Demo, tmp_path: Path
) -> None:
    folder = demo[0].store / "demo"
    before = sorted(folder.glob("*"))
    picture = tmp_path / "ablation.png"
    result = ablate(
        demo[0].store,
        *("--without", "stacking", "--without", "source:history", "--picture", str(picture)),
    )
    assert result.exit_code == 0, result.output
    scores = pl.read_parquet(folder / "validation/scores/*.parquet").filter(system="pipeline")
    recall = dict(scores.select("type", "recall").iter_rows())
    whole = cells(result, "everything")
    assert whole == [f"{recall[name]:.4f}" for name in (*TYPES, "total")]
    for variant in ("stacking", "source:history"):
        assert set(cells(result, variant)[::4]) != {"+0.0000"}
    assert "2 of 3: without stacking" in result.stderr
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert sorted(folder.glob("*")) == before


def test_sample_of_the_sessions_is_judged_alone(demo: Demo) -> None:
    result = ablate(demo[0].store, "--without", "item", "--sessions", "30")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("30 sessions with labels. ")
    labels = pl.read_parquet(demo[0].store / "demo/validation/labels/*.parquet")
    assert labels["session"].n_unique() > 30


def test_unknown_name_and_missing_lane_are_refused(demo: Demo, tmp_path: Path) -> None:
    result = ablate(demo[0].store, "--without", "similarities")
    assert result.exit_code == 1
    assert "Error: similarities: is nothing that can be left out; choose from " in result.output
    assert "similarity-recent" in result.output
    result = ablate(tmp_path, "--without", "similarity")
    assert result.exit_code == 1
    assert "validation/labels: is not there or not complete" in result.output
