import importlib
from pathlib import Path

import pytest

from otto_pipeline.settings import Settings, SettingsError, extra, load_settings, settings_table


def written(folder: Path, text: str | bytes) -> str:
    path = folder / "otto.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def test_defaults_hold_where_nothing_is_set() -> None:
    settings = load_settings({"PATH": "/bin", "HOME": "/root"})
    assert settings == Settings()
    assert (settings.seed, settings.validation_days, settings.data_dir) == (42, 7.0, None)
    assert settings.threads >= 1
    assert settings.memory_gb > 0.5


def test_environment_is_read_in_the_type_of_the_setting() -> None:
    settings = load_settings({"OTTO_SEED": "7", "OTTO_VALIDATION_DAYS": "0.5"})
    assert (settings.seed, settings.validation_days) == (7, 0.5)


def test_unknown_name_is_refused_with_the_closest_match() -> None:
    with pytest.raises(SettingsError, match=r"OTTO_SEDE .* is not a setting; .* OTTO_SEED\?"):
        load_settings({"OTTO_SEDE": "1"})


def test_unknown_name_like_no_other_is_refused_without_a_guess() -> None:
    with pytest.raises(SettingsError, match=r"OTTO_XYZZY .* is not a setting$"):
        load_settings({"OTTO_XYZZY": "1"})


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("SEED", "many", "valid integer"),
        ("SEED", "-1", "greater than or equal to 0"),
        ("SEED", str(2**31), "less than"),
        ("VALIDATION_DAYS", "0", "greater than 0"),
        ("VALIDATION_DAYS", "nan", "finite|greater than 0"),
        ("VALIDATION_DAYS", "inf", "finite"),
        ("MEMORY_GB", "inf", "finite"),
        ("MEMORY_GB", "0.1", "greater than 0.5"),
        ("THREADS", "0", "greater than or equal to 1"),
        ("MAX_QUARANTINED_SHARE", "1.5", "less than or equal to 1"),
        ("DEVICE", "tpu", "'cpu' or 'cuda'"),
        ("COMPUTE", "tcp://scheduler:8786", "this machine only so far"),
        ("DATA_DIR", "gs://bucket/log", "addresses are not supported yet"),
        ("STORE_DIR", "gs://bucket/store", "addresses are not supported yet"),
        ("DATA_DIR", "", "is empty"),
        ("STORE_DIR", "", "is empty"),
    ],
)
def test_bad_value_is_named_with_what_is_wrong(name: str, value: str, reason: str) -> None:
    with pytest.raises(SettingsError, match=f"(?s)^OTTO_{name}={value}: .*({reason})"):
        load_settings({f"OTTO_{name}": value})


def test_every_problem_is_told_at_once() -> None:
    with pytest.raises(SettingsError) as error:
        load_settings({"OTTO_SEDE": "1", "OTTO_THREADS": "0"})
    assert len(str(error.value).splitlines()) == 2


def test_file_is_read_and_overridden_by_the_environment(tmp_path: Path) -> None:
    path = written(tmp_path, "seed = 1\nthreads = 3\n")
    settings = load_settings({"OTTO_SETTINGS_FILE": path, "OTTO_SEED": "2"})
    assert (settings.seed, settings.threads) == (2, 3)


def test_unknown_name_in_the_file_is_refused_and_the_file_named(tmp_path: Path) -> None:
    path = written(tmp_path, "stor_dir = 'x'\n")
    with pytest.raises(SettingsError, match="OTTO_STORE_DIR") as error:
        load_settings({"OTTO_SETTINGS_FILE": path})
    assert path in str(error.value)


@pytest.mark.parametrize("text", ["seed = \n", b"seed = 1 # \xff\n"])
def test_file_that_is_not_toml_is_refused(tmp_path: Path, text: str | bytes) -> None:
    path = written(tmp_path, text)
    with pytest.raises(SettingsError, match="is not TOML") as error:
        load_settings({"OTTO_SETTINGS_FILE": path})
    assert str(error.value).startswith(f"OTTO_SETTINGS_FILE={path}: ")


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"OTTO_SETTINGS_FILE=.*no\.toml: cannot be read"):
        load_settings({"OTTO_SETTINGS_FILE": str(tmp_path / "no.toml")})


def test_paths_are_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/someone")
    settings = load_settings({"OTTO_DATA_DIR": "logs", "OTTO_STORE_DIR": "~/store"})
    assert settings.data_dir == tmp_path / "logs"
    assert settings.store_dir == Path("/home/someone/store")
    assert load_settings({}).store_dir == tmp_path / "store"


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().seed = 1  # type: ignore[misc]


def test_table_has_a_described_line_for_every_setting() -> None:
    lines = settings_table().splitlines()[2:]
    assert len(lines) == len(Settings.model_fields)
    for line, (name, field) in zip(lines, Settings.model_fields.items(), strict=True):
        assert line.startswith(f"| `OTTO_{name.upper()}` | {field.description} |")


def test_library_of_an_extra_that_is_not_there_says_how_to_install_it() -> None:
    with (
        pytest.raises(SettingsError, match=r"otto tune needs none_such.*otto-pipeline\[tuning\]"),
        extra("tuning", "otto tune"),
    ):
        importlib.import_module("none_such")
