import tomllib
from pathlib import Path

import optuna
import pytest

from otto_pipeline.orchestration.validation import RANKER_ARTIFACTS
from otto_pipeline.ranking.margins import load_ranker
from otto_pipeline.ranking.ranker import fold_rankers_stage
from otto_pipeline.ranking.recipe import tuned_parameters
from otto_pipeline.ranking.tuning import DEPTHS, SPACE, tune, write_tuned
from otto_pipeline.settings import Settings, SettingsError
from otto_pipeline.store.dataset import Dataset
from otto_pipeline.store.stage import Inputs
from otto_pipeline_tests.ranking.conftest import SMALL

SETTINGS = Settings(**SMALL)


def inputs_of(made: dict[str, Dataset]) -> Inputs:
    path = "validation/fold_rankers/clicks"
    artifact = next(artifact for artifact in RANKER_ARTIFACTS if artifact.path == path)
    return {name: made[path] for name, path in artifact.inputs.items()}


def test_study_goes_on_where_it_stopped(made: dict[str, Dataset], tmp_path: Path) -> None:
    inputs, storage, said = inputs_of(made), tmp_path / "tuning.db", []
    tune("clicks", inputs, SETTINGS, 2, storage, said.append)
    best = tune("clicks", inputs, SETTINGS, 3, storage, said.append)
    assert sum("clicks: trial" in line for line in said) == 3
    assert "clicks: 2 trials are done, 1 to do" in said
    (study,) = optuna.get_all_study_summaries(f"sqlite:///{storage}")
    assert study.n_trials == 3
    assert set(best) == {*SPACE, "max_depth"}
    assert DEPTHS[0] <= best["max_depth"] <= DEPTHS[1]
    assert tune("clicks", inputs, SETTINGS, 3, storage, said.append) == best


def test_what_is_written_is_what_rankers_read(tmp_path: Path) -> None:
    path = tmp_path / "rankers.toml"
    write_tuned(path, {"clicks": {"eta": 0.05, "max_depth": 4}})
    write_tuned(path, {"carts": {"lambda": 3.5}})
    write_tuned(path, {"clicks": {"eta": 0.1}})
    assert tomllib.loads(path.read_text()) == {"clicks": {"eta": 0.1}, "carts": {"lambda": 3.5}}
    settings = Settings(rankers_file=path)
    assert tuned_parameters("clicks", settings) == {"eta": 0.1}
    assert tuned_parameters("orders", settings) == {}


def test_file_rebuilds_the_rankers_of_its_targets_alone(
    made: dict[str, Dataset], tmp_path: Path
) -> None:
    path = tmp_path / "rankers.toml"
    write_tuned(path, {"clicks": {"max_depth": 2}})
    with_file = Settings(rankers_file=path, **SMALL)
    for name, same in (("clicks", False), ("carts", True)):
        stage = fold_rankers_stage(name)
        prints = [stage.fingerprint("x", inputs_of(made), one) for one in (SETTINGS, with_file)]
        assert (prints[0] == prints[1]) == same


def test_rankers_take_the_parameters_of_the_file(made: dict[str, Dataset], tmp_path: Path) -> None:
    path, model = tmp_path / "rankers.toml", tmp_path / "model.ubj"
    write_tuned(path, {"clicks": {"max_depth": 1}})
    settings = Settings(rankers_file=path, **SMALL)
    fold_rankers_stage("clicks").write(inputs_of(made), 0, settings, model)
    trees = load_ranker(model, settings).get_dump()
    assert {len(tree.splitlines()) for tree in trees} == {3}  # a root and two leaves


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[click]\neta = 1", r"has a table \[click\]; there may be clicks, carts, orders"),
        ('[clicks]\neta = "much"', r"clicks.eta = 'much' is not a number"),
        ("[clicks\n", "is not TOML"),
    ],
)
def test_file_that_cannot_be_used_says_why(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "rankers.toml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=message):
        tuned_parameters("clicks", Settings(rankers_file=path))


def test_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        tuned_parameters("clicks", Settings(rankers_file=tmp_path / "none.toml"))
