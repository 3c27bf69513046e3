"""The user's table of items: how it is read, what is wrong with it, who is denied when."""

import datetime as dt
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from otto_pipeline.events.eligibility import ELIGIBILITY, denied_at
from otto_pipeline.events.eligibility_file import read_eligibility
from otto_pipeline.events.errors import LogError
from otto_pipeline.store.dataset import Dataset
from otto_pipeline_tests.building import build_log, log_line

MORNING = 1_661_731_200_000
"""2022-08-29 00:00 UTC, ms."""
HOUR = 3_600_000


def csv(folder: Path, *lines: str, name: str = "items.csv") -> Path:
    path = folder / name
    path.write_text("\n".join(lines) + "\n")
    return path


def test_days_and_moments_are_utc_and_empty_means_no_limit(tmp_path: Path) -> None:
    path = csv(
        tmp_path,
        "item_id,allowed,from,until",
        "1,no,,",
        "2,YES,2022-08-29,2022-08-29 18:00",
        "3,,2022-08-29T01:00:00Z,",
    )
    assert read_eligibility(path).rows() == [
        ("1", False, None, None),
        ("2", True, MORNING, MORNING + 18 * HOUR),
        ("3", True, MORNING + HOUR, None),
    ]


def test_parquet_may_hold_truths_dates_and_moments(tmp_path: Path) -> None:
    berlin = pl.Series([dt.datetime(2022, 8, 29, 2)], dtype=pl.Datetime("us")).dt
    frame = pl.DataFrame(
        {
            "item_id": [7],
            "allowed": [True],
            "from": [dt.date(2022, 8, 28)],
            "until": berlin.replace_time_zone("Europe/Berlin"),
        }
    )
    frame.write_parquet(tmp_path / "items.parquet")
    found = read_eligibility(tmp_path / "items.parquet").rows()
    assert found == [("7", True, MORNING - 24 * HOUR, MORNING)]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["item,allowed", "1,no"], "has the columns item, allowed; it needs item_id and at least"),
        (["item_id", "1"], "at least one of allowed, from, until"),
        (["item_id,alowed,until", "1,no,"], "columns item_id, alowed, until"),
        (["item_id,allowed", "1,no", "2,maybe"], "line 3: allowed is 'maybe'; write yes or no"),
        (["item_id,until", "1,29.08.2022"], "line 2: until is '29.08.2022'; write a day or moment"),
        (["item_id,from", "1,2022-02-31"], "line 2: from is '2022-02-31'"),
        (["item_id,allowed", "5,no", "6,no", "5,yes"], "line 4: item 5 is also in line 2; keep"),
        (["item_id,allowed", "5,no", ",no"], "line 3: has no item_id"),
        (
            ["item_id,from,until", "5,2022-08-30,2022-08-29"],
            "line 2: from 2022-08-30 is not before until 2022-08-29",
        ),
        (["item_id,allowed", "5,no,7"], "is not a table"),
    ],
)
def test_faulty_file_is_refused_with_line_value_and_remedy(
    tmp_path: Path, lines: list[str], message: str
) -> None:
    path = csv(tmp_path, *lines)
    with pytest.raises(LogError, match="OTTO_ELIGIBILITY_FILE") as caught:
        read_eligibility(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_file_that_is_missing_empty_or_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").touch()
    for name, message in (
        ("none.csv", "cannot be read"),
        ("items.xlsx", "must end in .csv or .parquet"),
        ("empty.csv", "is not a table"),
    ):
        with pytest.raises(LogError, match=message):
            read_eligibility(tmp_path / name)


def test_item_is_allowed_from_its_first_moment_until_before_its_last() -> None:
    rows = pl.DataFrame(
        [(0, False, None, None), (1, True, 10, 20), (2, True, None, 15), (3, True, 15, None)],
        schema=ELIGIBILITY.empty().schema,
        orient="row",
    )
    denied = {moment: np.flatnonzero(denied_at(rows, moment, 5)).tolist() for moment in range(25)}
    assert denied[9] == [0, 1, 3]
    assert denied[10] == [0, 3]
    assert denied[14] == [0, 3]
    assert denied[15] == [0, 2]
    assert denied[19] == [0, 2]
    assert denied[20] == [0, 1, 2]


LINES = [log_line(1, [(11, MORNING, "clicks"), (22, MORNING + 5, "clicks")])]


def eligibility(tmp_path: Path, **settings: object) -> Dataset:
    return build_log(tmp_path, LINES, until="log/eligibility", **settings)["log/eligibility"]


def test_items_that_the_log_does_not_have_are_counted_and_named(tmp_path: Path) -> None:
    path = csv(tmp_path, "item_id,allowed", "22,no", "99,no", "98,yes")
    made = eligibility(tmp_path, eligibility_file=path)
    assert made.read().rows() == [(1, False, None, None)]
    assert made.figures() == {"unknown_items": 2, "examples": ["98", "99"]}


def test_only_the_files_content_is_part_of_the_fingerprint(tmp_path: Path) -> None:
    without = eligibility(tmp_path).fingerprint
    path = csv(tmp_path, "item_id,allowed", "22,no")
    first = eligibility(tmp_path, eligibility_file=path).fingerprint
    moved = csv(tmp_path, "item_id,allowed", "22,no", name="moved.csv")
    assert eligibility(tmp_path, eligibility_file=moved).fingerprint == first
    csv(tmp_path, "item_id,allowed", "11,no", name="moved.csv")
    assert eligibility(tmp_path, eligibility_file=moved).fingerprint not in (without, first)
    assert eligibility(tmp_path).fingerprint == without


def test_file_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(LogError, match="there is no such file"):
        eligibility(tmp_path, eligibility_file=tmp_path / "none.csv")
