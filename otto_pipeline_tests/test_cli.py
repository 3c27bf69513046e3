import json
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from click.testing import CliRunner, Result

from otto_pipeline.cli import main
from otto_pipeline.events.generate import generate_log
from otto_pipeline.events.generator.files import FORMATS
from otto_pipeline.features.table import FEATURES
from otto_pipeline.settings import settings_table

LOG_KINDS = ("train", "test")
README = Path(__file__).resolve().parents[1] / "README.md"


def otto(*arguments: object, **environment: str) -> Result:
    return CliRunner(env=environment).invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    with dg.instance_for_test(temp_dir=str(tmp_path), set_dagster_home=True):
        yield {"DAGSTER_HOME": str(tmp_path)}


def test_split_and_score_fit_together(tmp_path: Path) -> None:
    generate_log(tmp_path, sessions=400, test_sessions=10, items=100, seed=1)
    out = tmp_path / "out"
    split = otto(
        "split", "--train-set", tmp_path / "train.jsonl", "--output-path", out, "--days", 7
    )
    assert split.exit_code == 0, split.output
    labels = out / "test_labels.jsonl"
    lines = ["session_type,labels"]
    for line in labels.read_text().splitlines():
        content = json.loads(line)
        for name, items in content["labels"].items():
            listed = [items] if name == "clicks" else items
            lines.append(f"{content['session']}_{name},{' '.join(map(str, listed))}")
    (tmp_path / "perfect.csv").write_text("\n".join(lines))
    score = otto("score", "--test-labels", labels, "--predictions", tmp_path / "perfect.csv")
    assert json.loads(score.output) == {"clicks": 1.0, "carts": 1.0, "orders": 1.0, "total": 1.0}


def test_generate_writes_a_log_and_compares_it_with_otto(tmp_path: Path) -> None:
    arguments = ("--sessions", 500, "--items", 90, "--seed", 3, "--format", "jsonl.zst")
    result = otto("generate", *arguments, "--out", tmp_path, OTTO_THREADS="2")
    assert result.exit_code == 0, result.output
    names = {"train.jsonl.zst", "test.jsonl.zst", "test_labels.jsonl"}
    assert {path.name for path in tmp_path.iterdir()} == names
    sessions = next(line for line in result.output.splitlines() if line.startswith("train "))
    assert sessions.split() == ["train", "sessions", "12,899,779", "500"]
    assert "statistics are further from OTTO's than 20%" in result.output


def test_generate_offers_every_format() -> None:
    result = otto("generate", "--sessions", 5, "--out", "log", "--format", "csv")
    assert result.exit_code == 2
    assert ", ".join(f"'{name}'" for name in FORMATS) in result.output


def test_error_is_one_sentence_without_a_trace(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text("nonsense\n")
    result = otto("split", "--train-set", tmp_path / "log.jsonl", "--output-path", tmp_path / "out")
    assert result.exit_code == 1
    assert result.output.startswith("Error: ")
    assert "Traceback" not in result.output


def test_scale_that_does_not_exist_is_refused_with_those_that_do() -> None:
    result = otto("prepare", "pct5")
    assert result.exit_code == 2
    assert "'demo', 'pct1', 'pct10', 'full'" in result.output


@pytest.mark.parametrize("folder", ["", "store", "/nowhere"])
def test_prepare_says_what_dagster_home_must_be(folder: str) -> None:
    result = otto("prepare", "demo", DAGSTER_HOME=folder)
    assert result.exit_code == 1
    assert f"DAGSTER_HOME={folder}: must be the folder of this project" in result.output


def test_prepare_names_a_matrix_that_there_is_not(home: dict[str, str]) -> None:
    result = otto("prepare", "demo", OTTO_MATRICES="time,tmie", **home)
    assert result.exit_code == 1
    assert "OTTO_MATRICES=time,tmie: there is no matrix tmie; choose from time," in result.output


def test_prepare_wants_a_log_for_every_scale_but_demo(home: dict[str, str], tmp_path: Path) -> None:
    assert otto("prepare", "demo", **home).exit_code == 0
    result = otto("prepare", "full", **home)
    assert result.exit_code == 1
    assert "OTTO_DATA_DIR is not set" in result.output


def test_ingest_builds_the_log_says_what_it_set_aside_and_reuses_it(tmp_path: Path) -> None:
    generate_log(tmp_path, sessions=2000, test_sessions=100, items=300, seed=1)
    with (tmp_path / "train.jsonl").open("a") as train:
        train.write("nonsense\n")
    places = {"OTTO_DATA_DIR": str(tmp_path), "OTTO_STORE_DIR": str(tmp_path / "store")}
    first, second = otto("ingest", "full", **places), otto("ingest", "full", **places)
    assert first.exit_code == 0, first.output
    assert "log/statistics: built" in first.output
    lines = sum(len((tmp_path / f"{kind}.jsonl").read_bytes().splitlines()) for kind in LOG_KINDS)
    folder = tmp_path / "store/full/log/quarantine"
    assert f"set aside: 1 of {lines:,} lines, {folder}" in first.output
    assert second.output.count("reused as it is") == first.output.count("built") == 8
    set_aside = pl.read_parquet(folder / "*.parquet").select("file", "line").rows()
    assert set_aside == [(str(tmp_path / "train.jsonl"), 2001)]


def test_ingest_without_a_log_says_what_to_set(tmp_path: Path) -> None:
    result = otto("ingest", "pct1", OTTO_STORE_DIR=str(tmp_path))
    assert result.exit_code == 1
    assert result.output.startswith("Error: OTTO_DATA_DIR is not set")


def test_report_of_a_scale_that_was_not_built_says_what_to_do(tmp_path: Path) -> None:
    result = otto("report", "demo", OTTO_STORE_DIR=str(tmp_path))
    assert result.exit_code == 1
    assert "materialize it first" in result.output


def test_unknown_setting_is_refused_by_every_command() -> None:
    result = otto("settings", OTTO_SED="1")
    assert result.exit_code == 1
    assert "did you mean OTTO_SEED" in result.output


def test_readme_lists_the_settings_as_they_are() -> None:
    assert settings_table() in README.read_text()


def test_features_lists_every_feature_with_its_meaning() -> None:
    lines = otto("features").output.splitlines()
    assert len(lines) == 2 + len(FEATURES)
    for line, feature in zip(lines[2:], FEATURES, strict=True):
        assert line.startswith(f"| `{feature.name}` |")
        assert feature.description in line
