import gzip
from pathlib import Path

import pytest

from otto_pipeline.events.errors import LogError
from otto_pipeline.events.raw import log_files, log_hashes
from otto_pipeline_tests.events.shop import (
    GOOD_ROWS,
    T0,
    Row,
    convert,
    csv_text,
    declare,
    many_rows,
    shop,
    some_settings,
)
from otto_pipeline_tests.pipeline import build_until

# --- declarations that cannot be used ------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sesion": "user"}, r"unknown key 'sesion'; did you mean 'session'\?; the keys are files"),
        ({"item": None}, "the key `item` is missing"),
        ({"time_unit": "us"}, "time_unit: 'us': Input should be 's', 'ms' or 'iso'"),
        ({"types": {"view": "click"}}, r"types: view: 'click': .*; did you mean 'clicks'\?"),
        ({"types": {}}, "types: .* at least 1"),
        ({"types": "view"}, "types: 'view': .*dict"),
        ({"idle_gap_hours": 0}, "idle_gap_hours: '0': .*greater than 0"),
        ({"idle_gap_hours": "eight"}, "idle_gap_hours: 'eight': .*number"),
        ({"session": ""}, "session: '': .*at least 1 character"),
        ({"files": []}, "files: .*at least 1"),
        ({"files": "*.tsv"}, r"nothing fits '\*.tsv'; the folder holds log.csv"),
        ({"files": "log.yaml"}, "files: log.yaml is none of .csv"),
        ({"files": "/etc/*.csv"}, "has to be relative to the folder"),
        (
            {"item": "produkt"},
            r"log.csv: has no such column: 'produkt', which log.yaml gives as `item`; did you mean "
            r"'product'\?; its columns are user, product, at, kind",
        ),
    ],
)
def test_declaration_that_cannot_be_used_is_refused(
    tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    (tmp_path / "log.csv").write_text(csv_text(GOOD_ROWS))
    declare(tmp_path, **changes)
    with pytest.raises(LogError, match=said):
        convert(tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("session: [", "is not YAML"),
        ("- session", "has to hold keys and values"),
        ("", "has to hold keys and values"),
        ("session: a\nsession: b\n", "'session' is given twice"),
    ],
)
def test_text_that_is_no_declaration_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "log.yaml").write_text(text)
    with pytest.raises(LogError, match=said):
        convert(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("log.csv", b"", "is empty"),
        ("log.csv", b"user,product,at,kind,user\n", "has the column twice: 'user'"),
        ("log.csv.gz", b"no gzip", "is damaged"),
        ("log.parquet", b"no parquet", "is not Parquet or is damaged"),
    ],
)
def test_file_that_cannot_be_read_is_refused(
    tmp_path: Path, name: str, content: bytes, said: str
) -> None:
    folder = declare(tmp_path, files=name)
    (folder / name).write_bytes(content)
    with pytest.raises(LogError, match=said):
        convert(folder)


def test_gzip_file_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    folder = declare(tmp_path, files="log.csv.gz")
    whole = gzip.compress(csv_text(many_rows(20_000)).encode())
    (folder / "log.csv.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(LogError, match="cannot be converted"):
        convert(folder)


# --- as the first stage of the pipeline ----------------------------------------------------------


def test_shop_log_goes_through_to_its_events(tmp_path: Path) -> None:
    rows = [*many_rows(), ("5", "", str(T0), "view")]
    made = build_until(
        "log/events", tmp_path / "store", shop(tmp_path / "shop", rows), max_quarantined_share=0.01
    )
    quarantine = made["log/quarantine"]
    assert quarantine.read().rows() == [(str(tmp_path / "shop/log.csv"), 302, "item is empty")]
    assert quarantine.figures()["lines"] == 301
    assert quarantine.figures()["share"] == pytest.approx(1 / 301)
    assert made["log/raw"].figures()["ignored_rows"] == 50
    assert made["log/sessions"].manifest.rows == 17
    assert made["log/items"].manifest.rows == 23
    assert made["log/events"].manifest.rows == 250


def test_share_of_rows_set_aside_is_limited(tmp_path: Path) -> None:
    rows = [*many_rows(), ("5", "", str(T0), "view")]
    with pytest.raises(LogError, match=r"1 of 301 lines .*\n.*log.csv, line 302: item is empty"):
        build_until("log/events", tmp_path / "store", shop(tmp_path / "shop", rows))


def test_smaller_scale_takes_some_of_the_sessions(tmp_path: Path) -> None:
    rows: list[Row] = [(f"u{n % 200}", str(n % 9), str(T0 + n), "view") for n in range(600)]
    folder = shop(tmp_path / "shop", rows, idle_gap_hours=1)
    ids = {
        scale: set(
            build_until("log/sessions", tmp_path / scale, folder, scale)["log/sessions"]
            .read("session_id")["session_id"]
            .to_list()
        )
        for scale in ("pct10", "full")
    }
    assert 0 < len(ids["pct10"]) < len(ids["full"]) == 200
    assert ids["pct10"] < ids["full"]


def test_change_of_declaration_or_file_is_a_change_of_the_log(tmp_path: Path) -> None:
    folder = shop(tmp_path / "shop", GOOD_ROWS)
    asked = some_settings(tmp_path / "store", data_dir=folder)
    before = log_hashes(asked)
    assert list(before) == ["log.yaml", "log.csv"]
    shop(folder, [*GOOD_ROWS, GOOD_ROWS[0]])
    with_row = log_hashes(asked)
    declare(folder, idle_gap_hours=2)
    with_gap = log_hashes(asked)
    assert before["log.csv"] != with_row["log.csv"] == with_gap["log.csv"]
    assert before["log.yaml"] == with_row["log.yaml"] != with_gap["log.yaml"]


@pytest.mark.parametrize("name", ["train.jsonl", "test.jsonl.gz"])
def test_folder_with_a_declaration_and_ottos_files_is_ambiguous(tmp_path: Path, name: str) -> None:
    folder = shop(tmp_path, GOOD_ROWS)
    (folder / name).write_text("{}")
    with pytest.raises(LogError, match=rf"holds log\.yaml and {name}; keep one of them"):
        log_files(folder)


@pytest.mark.parametrize("place", [".", "log.csv"])
def test_tables_without_a_declaration_lead_to_the_proposal(tmp_path: Path, place: str) -> None:
    (tmp_path / "log.csv").write_text(csv_text(GOOD_ROWS))
    with pytest.raises(LogError, match=r"otto validate .* proposes one"):
        log_files(tmp_path / place)
