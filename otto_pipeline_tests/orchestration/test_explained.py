"""What a finished rebuild says of itself: why an item is where it is, segments, importance, drift,
and how it differs from another run.
"""

import shutil
from pathlib import Path

import dagster as dg
import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner, Result

from otto_pipeline.cli import main
from otto_pipeline.evaluation.comparison import compare_runs
from otto_pipeline.features.table import FEATURES
from otto_pipeline.orchestration.checks import check_drift
from otto_pipeline.ranking.scoring import ranker_features
from otto_pipeline.schemas import TYPES
from otto_pipeline.store.dataset import Dataset
from otto_pipeline_tests.building import dataset_of
from otto_pipeline_tests.orchestration.conftest import Project

Demo = tuple[Project, dg.ExecuteInProcessResult]
LANES = ("validation", "submission")
COMPARED = ("validation/labels", "validation/predictions", "validation/event_log")
COMPARED_LOG = ("log/sessions", "log/items")


def otto(*arguments: object, store: Path) -> Result:
    environment = {"OTTO_STORE_DIR": str(store)}
    return CliRunner(env=environment).invoke(main, [str(argument) for argument in arguments])


def why(project: Project, session: object, item: object, *options: str) -> Result:
    places = ("--session", session, "--item", item, "--scale", "demo")
    return otto("why", *places, *options, store=project.store)


def table(project: Project, path: str) -> pl.DataFrame:
    return pl.read_parquet(project.store / "demo" / path / "*.parquet")


def with_original_ids(project: Project, rows: pl.DataFrame) -> pl.DataFrame:
    sessions = table(project, "log/sessions").select("session", "session_id")
    items = table(project, "log/items").select("aid", "item_id")
    return rows.join(sessions, on="session").join(items, on="aid").sort("session", "aid")


@pytest.mark.parametrize("lane", LANES)
def test_why_gives_the_places_of_the_predictions(demo: Demo, lane: str) -> None:
    project = demo[0]
    predicted = with_original_ids(project, table(project, f"{lane}/predictions"))
    for rank in (1, 7, 20):
        row = predicted.filter(pl.col("rank") == rank).row(rank, named=True)
        result = why(project, row["session_id"], row["item_id"], "--lane", lane)
        assert result.exit_code == 0, result.output
        assert f"Lane {lane} of demo. Item {row['item_id']}" in result.output
        assert f"\n{row['type']}: place {rank}, recommended. Score " in result.output


def test_why_shows_the_sources_with_rank_and_score_and_what_moved_the_item(demo: Demo) -> None:
    project = demo[0]
    row = with_original_ids(project, table(project, "submission/candidates")).row(0, named=True)
    result = why(project, row["session_id"], row["item_id"])
    assert "Lane submission" in result.output
    lines = [line.split() for line in result.output.splitlines()]
    for source in ("history", "session_knn", "popularity"):
        shown = [line for line in lines if line[:1] == [source]]
        if row[f"{source}_rank"] is None:
            assert shown == []
        else:
            assert shown == [[source, str(row[f"{source}_rank"]), f"{row[f'{source}_score']:.4g}"]]
    meanings = [f.description for f in FEATURES if f.description in result.output]
    assert meanings


def test_why_names_the_step_that_lost_an_item(demo: Demo) -> None:
    project = demo[0]
    candidates = with_original_ids(project, table(project, "submission/candidates"))
    session = candidates["session_id"][0]
    mine = candidates.filter(session_id=session)["item_id"]
    popular = candidates.filter(pl.col("popularity_rank").is_not_null())["item_id"].unique().sort()
    cut = popular.filter(~popular.is_in(mine.implode()))[0]
    result = why(project, session, cut)
    assert result.exit_code == 1
    assert f"item {cut} is no candidate: the pre-ranker put it at place 1" in result.output
    others = table(project, "log/items")["item_id"]
    outputs = (
        why(project, session, item).output for item in others.filter(~others.is_in(mine.implode()))
    )
    assert next(text for text in outputs if "no source proposed it" in text)


@pytest.mark.parametrize(
    ("session", "item", "message"),
    [
        ("nobody", 1, "the log has no session nobody"),
        ("test", "nothing", "the log has no item nothing"),
        (0, 1, "session 0 is none of the sessions that the lane predicts"),
    ],
)
def test_why_says_what_is_wrong_with_its_ids(
    demo: Demo, session: object, item: object, message: str
) -> None:
    project = demo[0]
    if session == "test":
        session = table(project, "log/sessions").filter("is_test")["session_id"][0]
    result = why(project, session, item)
    assert result.exit_code == 1
    assert result.output == f"Error: {message}\n"


def test_segments_divide_the_labels_and_all_of_them_have_the_score(demo: Demo) -> None:
    segments, scores = (table(demo[0], f"validation/{name}") for name in ("segments", "scores"))
    of_sessions = segments.filter(pl.col("by") != "item")  # 20 labels of a session count in each
    sums = of_sessions.group_by("by", "type").agg(pl.col("labels").sum())
    whole = scores.filter(pl.col("system") == "pipeline")
    for by, name, labels in sums.rows():
        expected = whole.filter(pl.col("type") == name)["labels"][0]
        assert labels == expected, (by, name)
    found = segments.filter(pl.col("by") == "all").select("type", "recall", "low", "high")
    assert found.rows() == whole.select("type", "recall", "low", "high").rows()


def test_explanation_covers_every_feature_of_every_ranker(demo: Demo) -> None:
    explanation = table(demo[0], "validation/explanation")
    for name in explanation["type"].unique():
        of_type = explanation.filter(pl.col("type") == name)
        assert sorted(of_type["feature"]) == sorted(ranker_features(name))
        assert of_type["gain"].sum() == pytest.approx(1)
        assert of_type["shap"].max() > 0


def drawn_features(path: Path, rows: int = 2000, shifted: str | None = None) -> Dataset:
    rng = np.random.default_rng(0)
    columns = {feature.name: rng.random(rows) for feature in FEATURES}
    if shifted:
        columns[shifted] = columns[shifted] + 0.5
    keys = {"session": np.arange(rows), "aid": np.arange(rows)}
    return dataset_of(path, pl.DataFrame(keys | columns))


def test_drift_warns_with_the_name_of_the_feature_that_drifts(tmp_path: Path) -> None:
    learnt = drawn_features(tmp_path / "learnt")
    assert check_drift(learnt, learnt, seed=0).passed
    assert check_drift(drawn_features(tmp_path / "empty", rows=0), learnt, seed=0).passed
    shifted = drawn_features(tmp_path / "shifted", shifted="item_trend")
    found = check_drift(learnt, shifted, seed=0)
    assert not found.passed
    assert found.severity == dg.AssetCheckSeverity.WARN
    assert found.description is not None
    assert found.description.startswith("item_trend ")
    assert ", " not in found.description


@pytest.fixture
def other_run(demo: Demo, tmp_path: Path) -> Path:
    """A copy of what a comparison reads of the demo."""
    for path in (*COMPARED, *COMPARED_LOG):
        shutil.copytree(demo[0].store / "demo" / path, tmp_path / "demo" / path)
    return tmp_path / "demo"


def test_run_does_not_differ_from_itself(demo: Demo, other_run: Path) -> None:
    result = otto("compare", demo[0].store, other_run.parent, store=demo[0].store)
    assert result.exit_code == 0, result.output
    for name in (*TYPES, "total"):
        line = next(line for line in result.output.splitlines() if line.startswith(f"{name} "))
        assert line.split()[3:] == ["+0.0000", "+0.0000", "…", "+0.0000"]
    assert "B wins most: none" in result.output
    assert "B loses most: none" in result.output


def test_comparison_finds_the_session_that_lost_its_hit_and_leaves_out_other_labels(
    demo: Demo, other_run: Path
) -> None:
    labels, predictions = (
        pl.read_parquet(other_run / f"validation/{name}/*.parquet")
        for name in ("labels", "predictions")
    )
    keys = ["session", "type", "aid"]
    hits = labels.join(predictions, on=keys, maintain_order="left")
    loser = hits.filter(pl.col("type") == "clicks")["session"][0]
    changed = labels.filter(pl.col("session") != loser)["session"][0]
    rewrite(other_run / "validation/predictions", pl.col("session") != loser)
    rewrite(other_run / "validation/labels", pl.col("session") != changed)
    by_session, left_out = compare_runs(demo[0].store / "demo", other_run)
    assert left_out == 1
    ids = dict(table(demo[0], "log/sessions").select("session", "session_id").iter_rows())
    lost = by_session.filter(pl.col("hits") != pl.col("other_hits"))
    assert lost["session"].unique().to_list() == [ids[loser]]
    assert (lost["other_hits"] == 0).all()
    assert ids[changed] not in by_session["session"]
    result = otto("compare", demo[0].store / "demo", other_run, store=demo[0].store)
    losers = result.output.split("B loses most")[1].splitlines()[2:]
    assert losers[0].split()[0] == str(ids[loser])


def test_comparison_says_what_is_no_run(demo: Demo, tmp_path: Path) -> None:
    result = otto("compare", demo[0].store, tmp_path, store=demo[0].store)
    assert result.exit_code == 1
    assert result.output.startswith(f"Error: {tmp_path}: holds no finished run")


def rewrite(folder: Path, keep: pl.Expr) -> None:
    for file in folder.glob("*.parquet"):
        pl.read_parquet(file).filter(keep).write_parquet(file)
