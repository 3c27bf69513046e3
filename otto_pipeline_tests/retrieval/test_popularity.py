from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings

from otto_pipeline.orchestration.checks import table_failures
from otto_pipeline.retrieval.popularity import (
    DAY_SECONDS,
    hour_part,
    popular_items,
    popularity,
    weekday,
)
from otto_pipeline.retrieval.sources import POPULAR_ITEMS, POPULAR_LISTS, POPULAR_OFFSET
from otto_pipeline.schemas import HOUR_PARTS, POPULARITY, TYPES, WEEKDAYS, WINDOWS
from otto_pipeline_tests.building import dataset_of
from otto_pipeline_tests.logs import N_ITEMS, frame, log_of, random_events


def orders_again(events: pl.DataFrame) -> int:
    orders = events.filter(pl.col("type") == "orders")
    return orders.height - orders["session"].n_unique()


@given(events=random_events())
@settings(max_examples=40)
def test_counts_equal_group_bys(events: pl.DataFrame) -> None:
    log = log_of(events)
    table = popularity(log)
    assert not table_failures(POPULARITY, table)
    rows = events.with_columns(second=pl.col("ts") // 1000)
    for aid, row in zip(range(N_ITEMS), table.iter_rows(named=True), strict=True):
        of_item = rows.filter(pl.col("aid") == aid)
        assert row["aid"] == aid
        assert row["events"] == of_item.height
        assert row["last_seen"] == (of_item["second"].max() if of_item.height else -1)
        for window, days in WINDOWS.items():
            lately = of_item.filter(pl.col("second") >= log.last_second - days * DAY_SECONDS)
            for name in TYPES:
                assert row[f"{name}_{window}"] == (lately["type"] == name).sum()
            assert row[f"sessions_{window}"] == lately["session"].n_unique()
        assert row["orders_again_21d"] == orders_again(lately)
        times = [datetime.fromtimestamp(second, UTC) for second in lately["second"]]
        hours = np.bincount([time.hour // 3 for time in times], minlength=HOUR_PARTS)
        weekdays = np.bincount([time.weekday() for time in times], minlength=WEEKDAYS)
        assert list(row["by_hour"]) == hours.tolist()
        assert list(row["by_weekday"]) == weekdays.tolist()


def test_hours_and_weekdays_are_those_of_the_clock() -> None:
    """Second 0 of the log is not a midnight: 2022-09-04 was a Sunday."""
    moment = int(datetime(2022, 9, 4, 23, 59, tzinfo=UTC).timestamp())
    assert (hour_part(moment), weekday(moment)) == (7, 6)
    assert (hour_part(moment + 60), weekday(moment + 60)) == (0, 0)
    events = frame((0, 1, moment, "clicks"), (0, 1, moment + 60, "clicks"))
    row = popularity(log_of(events, first_second=moment)).row(1, named=True)
    assert list(row["by_hour"]) == [1, 0, 0, 0, 0, 0, 0, 1]
    assert list(row["by_weekday"]) == [1, 0, 0, 0, 0, 0, 1]


def test_popular_items_are_the_best_of_the_lists_together(tmp_path: Path) -> None:
    n_items = 3 * POPULAR_ITEMS
    rng = np.random.default_rng(0)
    counts = {name: rng.integers(0, 20, n_items) for name in POPULAR_LISTS}
    denied = rng.random(n_items) < 0.2
    scores = dict.fromkeys(range(n_items), 0.0)
    for name, weight in POPULAR_LISTS.items():
        listed = [aid for aid in range(n_items) if counts[name][aid] and not denied[aid]]
        best_first = sorted(listed, key=lambda aid, of=counts[name]: (-of[aid], aid))
        for place, aid in enumerate(best_first):
            scores[aid] += weight / (POPULAR_OFFSET + place + 1)
    expected = sorted(scores, key=lambda aid: (-scores[aid], aid))[:POPULAR_ITEMS]
    table = pl.DataFrame({"aid": range(n_items), "events": 100, **counts}).cast(
        {"aid": pl.Int32, pl.Int64: pl.UInt32}
    )
    found = popular_items(dataset_of(tmp_path / "popularity", table), denied)
    assert found["aid"].to_list() == expected
    assert found["score"].to_list() == pytest.approx([scores[aid] for aid in expected])
