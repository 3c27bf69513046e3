"""From the user's table of items to a submission without them."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otto_pipeline.evaluation.report import read_report
from otto_pipeline.events.eligibility import Eligibility, denied_at
from otto_pipeline.events.errors import LogError
from otto_pipeline.events.generate import generate_log
from otto_pipeline.schemas import PREDICTIONS, TYPES
from otto_pipeline.store.dataset import Dataset
from otto_pipeline.submission.submission import eligible_rows, faults
from otto_pipeline_tests.building import log_line, write_log
from otto_pipeline_tests.logs import N_ITEMS, log_of, random_events
from otto_pipeline_tests.pipeline import build_until

SMALL = {"boosting_rounds": 5}
DAY = 86_400_000
SUBMISSION = "submission/submission"


def submitted(made: dict[str, Dataset]) -> dict[str, list[str]]:
    lines = made[SUBMISSION].files[0].read_text().splitlines()[1:]
    return {key: items.split(" ") for key, items in (line.split(",") for line in lines)}


def recommended(made: dict[str, Dataset]) -> pl.Series:
    return pl.Series("item", [item for items in submitted(made).values() for item in items])


@given(
    events=random_events(),
    denied=st.sets(st.integers(0, N_ITEMS - 1)),
    exclude_ordered=st.booleans(),
    places=st.sets(st.tuples(st.integers(0, 5), st.sampled_from(TYPES), st.integers(0, 7))),
)
@settings(max_examples=60)
def test_no_prediction_is_denied_and_none_was_ordered_where_there_are_others(
    events: pl.DataFrame,
    denied: set[int],
    exclude_ordered: bool,
    places: set[tuple[int, str, int]],
) -> None:
    log = log_of(events)
    rows = [(s, kind, aid, 0.0, 1) for s, kind, aid in sorted(places) if s < log.n_sessions]
    predictions = pl.DataFrame(rows, schema=PREDICTIONS.empty().schema, orient="row")
    mask = np.zeros(N_ITEMS, np.bool_)
    mask[list(denied)] = True
    kept = eligible_rows(predictions, log, Eligibility(mask, exclude_ordered))
    orders = events.filter(pl.col("type") == "orders")
    ordered = set(orders.select("session", "aid").rows()) if exclude_ordered else set()
    allowed = [row for row in rows if row[2] not in denied]
    with_others = {row[:2] for row in allowed if (row[0], row[2]) not in ordered}
    expected = [
        row for row in allowed if (row[0], row[2]) not in ordered or row[:2] not in with_others
    ]
    assert kept.rows() == expected


def test_denied_and_sold_out_items_are_nowhere_and_lines_stay_full(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.mkdir()
    generate_log(log, sessions=1500, test_sessions=200, items=300, seed=5)
    store = tmp_path / "store"
    free = build_until(SUBMISSION, store, log, **SMALL)
    free_lines = submitted(free)
    most = recommended(free).value_counts(sort=True)[:, 0].to_list()
    table = tmp_path / "items.csv"
    rows = [f"{item},no," for item in most[:30]]
    rows += [f"{item},,2022-08-05" for item in most[30:40]]  # before the log's end
    rows += [f"{item},,2050-01-01" for item in most[40:50]]
    table.write_text("\n".join(["item_id,allowed,until", *rows, "987654321,no,"]))
    restricted = {"eligibility_file": table, "exclude_ordered": "true", **SMALL}
    made = build_until(SUBMISSION, store, log, **restricted)
    lines = submitted(made)
    assert not set(recommended(made)) & set(most[:40])
    assert set(recommended(made)) & set(most[40:50])
    assert {len(items) for items in lines.values()} == {20}
    assert made["submission/candidates"].figures()["ineligible_removed"] > 0
    assert made[SUBMISSION].figures()["ineligible_removed"] == 0
    for line in (log / "test.jsonl").read_text().splitlines():
        content = json.loads(line)
        ordered = {str(event["aid"]) for event in content["events"] if event["type"] == "orders"}
        for name in TYPES:
            assert not ordered & set(lines[f"{content['session']}_{name}"])
    report = build_until("validation/report", store, log, **restricted)["validation/report"]
    assert any("does not have: 1 (987654321)" in note for note in read_report(report)["notes"])
    funnel = build_until("validation/funnel", store, log, **restricted)["validation/funnel"].read()
    left = dict(funnel.filter(pl.col("type") == "total").select("step", "share").iter_rows())
    assert left["known item"] > left["eligible"] > left["in the union"] > left["in the top 20"]
    items = made["log/items"]
    denied = denied_at(made["log/eligibility"].read(), 1_900_000_000_000, items.manifest.rows)
    assert not faults(made[SUBMISSION], made["log/sessions"], items, denied)
    assert faults(made[SUBMISSION], made["log/sessions"], items, ~denied)["denied items"] > 0
    again = build_until(SUBMISSION, store, log, **SMALL)
    assert again[SUBMISSION].fingerprint == free[SUBMISSION].fingerprint
    assert submitted(again) == free_lines


def tiny_log(folder: Path) -> Path:
    """Items 1 and 2 of last week, item 3 of long ago."""
    lines = [log_line(0, [(3, 0, "clicks"), (3, 9, "carts")])]
    lines += [
        log_line(s, [(1, 40 * DAY + s, "clicks"), (2, 40 * DAY + 9 + s, "orders")])
        for s in range(1, 9)
    ]
    test = [log_line(90, [(1, 41 * DAY, "clicks"), (2, 41 * DAY + 5, "orders")])]
    return write_log(folder, {"train.jsonl": lines, "test.jsonl": test})


def test_session_whose_candidates_are_all_denied_gets_what_else_is_allowed(tmp_path: Path) -> None:
    table = tmp_path / "items.csv"
    table.write_text("item_id,allowed\n1,no\n2,no\n")
    log = tiny_log(tmp_path / "log")
    made = build_until(SUBMISSION, tmp_path / "store", log, eligibility_file=table, **SMALL)
    assert submitted(made) == {f"90_{name}": ["3"] for name in TYPES}


def test_table_that_allows_nothing_is_an_error(tmp_path: Path) -> None:
    table = tmp_path / "items.csv"
    table.write_text("item_id,allowed\n1,no\n2,no\n3,no\n")
    log = tiny_log(tmp_path / "log")
    with pytest.raises(LogError, match="nothing to recommend"):
        build_until(SUBMISSION, tmp_path / "store", log, eligibility_file=table, **SMALL)
