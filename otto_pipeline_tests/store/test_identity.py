from pathlib import Path

import pytest

from otto_pipeline.events.raw import claim_store
from otto_pipeline.settings import Settings
from otto_pipeline.store.errors import StoreError
from otto_pipeline.store.identity import claim
from otto_pipeline_tests.building import log_line, write_log

LINES = [log_line(1, [(5, 10, "clicks"), (6, 11, "carts")])]
OTHER_LINES = [log_line(2, [(5, 10, "clicks")])]


def settings_of(tmp_path: Path, log: str = "log", seed: int = 42) -> Settings:
    return Settings(store_dir=tmp_path / "store", data_dir=tmp_path / log, seed=seed)


def test_store_stays_with_its_seed(tmp_path: Path) -> None:
    write_log(tmp_path / "log", {"train.jsonl": LINES})
    claim_store("full", settings_of(tmp_path))
    claim_store("full", settings_of(tmp_path))
    with pytest.raises(StoreError, match=r"artifacts of seed 42, not of seed 43; set OTTO_STORE_D"):
        claim_store("full", settings_of(tmp_path, seed=43))
    with pytest.raises(StoreError, match="seed 42"):
        claim_store("demo", settings_of(tmp_path, seed=43))


def test_other_log_is_refused(tmp_path: Path) -> None:
    write_log(tmp_path / "log", {"train.jsonl": LINES})
    write_log(tmp_path / "other", {"train.jsonl": OTHER_LINES})
    claim_store("full", settings_of(tmp_path))
    for _ in range(2):
        with pytest.raises(StoreError, match="OTTO_STORE_DIR") as error:
            claim_store("pct1", settings_of(tmp_path, "other"))
        assert str(tmp_path / "log") in str(error.value)
        assert str(tmp_path / "other") in str(error.value)
    claim_store("full", settings_of(tmp_path))


def test_new_content_at_the_same_place_is_accepted(tmp_path: Path) -> None:
    write_log(tmp_path / "log", {"train.jsonl": LINES})
    claim_store("full", settings_of(tmp_path))
    write_log(tmp_path / "log", {"train.jsonl": OTHER_LINES, "test.jsonl": LINES})
    before = (settings_of(tmp_path).store_dir / "store.json").read_text()
    claim_store("full", settings_of(tmp_path))
    assert (settings_of(tmp_path).store_dir / "store.json").read_text() != before


def test_log_that_moved_is_accepted_and_its_new_place_remembered(tmp_path: Path) -> None:
    write_log(tmp_path / "log", {"train.jsonl": LINES})
    claim_store("full", settings_of(tmp_path))
    (tmp_path / "log").rename(tmp_path / "moved")
    claim_store("full", settings_of(tmp_path, "moved"))
    write_log(tmp_path / "moved", {"train.jsonl": OTHER_LINES})
    claim_store("full", settings_of(tmp_path, "moved"))
    write_log(tmp_path / "log", {"train.jsonl": LINES})
    with pytest.raises(StoreError, match="moved"):
        claim_store("full", settings_of(tmp_path))


def test_generated_log_lies_in_the_store_of_any_log(tmp_path: Path) -> None:
    write_log(tmp_path / "log", {"train.jsonl": LINES})
    claim_store("full", settings_of(tmp_path))
    before = (settings_of(tmp_path).store_dir / "store.json").read_text()
    claim_store("demo", settings_of(tmp_path, "not there"))
    assert (settings_of(tmp_path).store_dir / "store.json").read_text() == before


def test_values_without_content_are_the_same_only_if_equal(tmp_path: Path) -> None:
    claim(tmp_path, "seed", "1")
    claim(tmp_path, "log", "/a", "same")
    with pytest.raises(StoreError):
        claim(tmp_path, "seed", "2")
    claim(tmp_path, "log", "/b", "same")
