import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otto_pipeline.events.event_log import EventLog
from otto_pipeline.features.feature import PARTS, amount, share
from otto_pipeline.features.item import ITEM_FEATURES
from otto_pipeline.features.moment import Shapes
from otto_pipeline.features.table import (
    FEATURES,
    SUBMISSION_FEATURES,
    VALIDATION_FEATURES,
    add_labels,
    features,
    item_features,
)
from otto_pipeline.orchestration.checks import table_failures
from otto_pipeline.retrieval.embeddings import EMBEDDINGS
from otto_pipeline.retrieval.popularity import DAY_SECONDS, popularity
from otto_pipeline.retrieval.sources import SOURCE_LIMIT
from otto_pipeline.schemas import HOUR_PARTS, LABELS, TYPES, WEEKDAYS
from otto_pipeline_tests.building import dataset_of
from otto_pipeline_tests.logs import N_ITEMS, frame, log_of, random_events
from otto_pipeline_tests.retrieval.test_candidates import candidates_of, tables_of

NO_ITEMS = pl.DataFrame(
    schema={"aid": pl.Int32, **{feature.name: pl.Float64 for feature in ITEM_FEATURES}}
)


NO_VECTORS = tuple(np.zeros((N_ITEMS, one.dimensions), np.float32) for one in EMBEDDINGS)


def features_of(log: EventLog, sessions: list[int]) -> pl.DataFrame:
    return made_of(log, candidates_of(log, sessions))


def made_of(log: EventLog, candidates: pl.DataFrame) -> pl.DataFrame:
    counts = popularity(log)
    shapes = Shapes(*(counts[name].to_numpy() for name in Shapes._fields))
    return features(log, candidates, NO_ITEMS, shapes, tables_of(log), NO_VECTORS, 1)


def row_of(found: pl.DataFrame, session: int, aid: int) -> dict:
    return found.row(
        by_predicate=(pl.col("session") == session) & (pl.col("aid") == aid), named=True
    )


def in_parts(value: float) -> int:
    return round(math.sqrt(value) * PARTS)


def in_logs(value: float) -> int:
    return round(math.log1p(value) * 1000)


SHOPPER = frame(
    (0, 1, 0, "clicks"),
    (0, 2, 60, "clicks"),
    (0, 1, 180, "carts"),
    (0, 3, 3600, "clicks"),
)


def test_session_item_features_say_what_the_session_did_with_the_item() -> None:
    row = row_of(features_of(log_of(SHOPPER), [0]), 0, 1)
    assert (row["own_clicks"], row["own_carts"], row["own_orders"]) == (1, 1, 0)
    assert (row["own_last_place"], row["own_first_place"]) == (1, 3)
    assert row["own_minutes_ago"] == in_logs((3600 - 180) / 60)
    assert row["own_span"] == in_logs(3)
    assert row["own_last_type"] == 1
    assert row["own_minutes_since_clicks"] == in_logs(60)
    assert row["own_minutes_since_orders"] == -1
    assert row["own_share"] == in_parts(0.5)


def test_candidate_that_the_session_has_not_met_has_sentinels() -> None:
    row = row_of(features_of(log_of(SHOPPER), [0]), 0, 6)
    assert (row["own_clicks"], row["own_share"]) == (0, 0)
    assert (row["own_last_place"], row["own_minutes_ago"], row["own_last_type"]) == (-1, -1, -1)
    assert row["history_rank"] == SOURCE_LIMIT + 1
    assert row["popularity_rank"] == 1


def test_session_features_describe_the_visible_events() -> None:
    row = row_of(features_of(log_of(SHOPPER), [0]), 0, 2)
    assert (row["session_events"], row["session_items"], row["session_carts"]) == (4, 3, 1)
    assert row["session_minutes"] == in_logs(60)
    assert row["session_minutes_per_event"] == in_logs(20)
    assert row["session_last_gap"] == in_logs((3600 - 180) / 60)
    assert (row["session_last_type"], row["session_last_hour"]) == (0, 1)
    assert row["session_new_share"] == in_parts(0.75)


def test_session_of_one_event_has_no_gap() -> None:
    row = row_of(features_of(log_of(frame((0, 1, 0, "orders"))), [0]), 0, 1)
    assert (row["session_last_gap"], row["session_minutes_per_event"]) == (-1, -1)
    assert (row["session_minutes"], row["session_last_type"]) == (0, 2)


def daily(days: int) -> pl.DataFrame:
    """Each day at noon an own session clicks, carts and orders item 1, orders it again, and looks
    at item 2.
    """
    visit = ((1, "clicks"), (1, "carts"), (1, "orders"), (1, "orders"), (2, "clicks"))
    return frame(
        *(
            (day, aid, day * DAY_SECONDS + DAY_SECONDS // 2 + minute * 60, kind)
            for day in range(days)
            for minute, (aid, kind) in enumerate(visit)
        )
    )


@pytest.mark.parametrize("weeks", [3, 4])
def test_rates_do_not_depend_on_the_length_of_the_log(weeks: int, tmp_path: Path) -> None:
    log = log_of(daily(7 * weeks))
    stored = dataset_of(tmp_path / "popularity", popularity(log))
    row = item_features(stored, log).row(1, named=True)
    assert [row[f"item_{name}_rate"] for name in TYPES] == pytest.approx(
        [in_logs(7), in_logs(7), in_logs(14)], abs=30
    )
    assert [row[f"item_{name}_week"] for name in TYPES] == [in_logs(7), in_logs(7), in_logs(14)]
    assert row["item_trend"] == pytest.approx(in_logs(1), abs=30)
    assert row["item_day_trend"] == in_logs(1)
    assert row["item_orders_per_click"] == in_logs(2)
    assert row["item_events_per_session"] == in_logs(4)
    assert row["item_reorder_share"] == in_parts(0.5)
    assert row["item_hours_unseen"] == in_logs(1 / 60)


def test_age_of_an_item_ends_with_the_longest_window(tmp_path: Path) -> None:
    log = log_of(frame((0, 1, 0, "clicks"), (1, 2, 30 * DAY_SECONDS, "clicks")))
    found = item_features(dataset_of(tmp_path / "popularity", popularity(log)), log)
    assert found["item_hours_unseen"].to_list()[1:4] == [in_logs(21 * 24), 0, None]


def test_item_at_its_hour_and_weekday_stands_out() -> None:
    noon = DAY_SECONDS // 2
    sessions = [(day, 6, 7 * day * DAY_SECONDS + noon, "clicks") for day in range(3)]
    query = (3, 2, 14 * DAY_SECONDS + noon + 60, "clicks")
    found = features_of(log_of(frame(*sessions, query)), [3])
    other = features_of(
        log_of(frame(*sessions, (*query[:2], query[2] + DAY_SECONDS // 2, "carts"))), [3]
    )
    assert row_of(found, 3, 6)["moment_hour"] == in_logs(4 / (3 / HOUR_PARTS + 1))
    assert row_of(found, 3, 6)["moment_weekday"] == in_logs(4 / (3 / WEEKDAYS + 1))
    assert row_of(other, 3, 6)["moment_hour"] == in_logs(1 / (3 / HOUR_PARTS + 1))
    assert row_of(other, 3, 6)["moment_weekday"] == in_logs(1 / (3 / WEEKDAYS + 1))


@given(events=random_events())
@settings(max_examples=30)
def test_every_candidate_has_one_row_without_holes_in_its_order(events: pl.DataFrame) -> None:
    log = log_of(events)
    sessions = events["session"].unique().sort().to_list()
    found = candidates_of(log, sessions, max_candidates=6)
    table = made_of(log, found)
    assert table.select("session", "aid").equals(found.select("session", "aid"))
    assert not table_failures(SUBMISSION_FEATURES, table)
    assert table.null_count().sum_horizontal().item() == 0
    assert not table.select(pl.col(pl.Float32).is_nan().any()).sum_horizontal().item()


def test_count_beyond_its_type_stays_at_the_largest() -> None:
    rows = [(0, 1, second, "clicks") for second in range(40_000)]
    row = row_of(features_of(log_of(frame(*rows)), [0]), 0, 1)
    assert row["session_events"] == 2**15 - 1
    assert row["own_clicks"] == 2**7 - 1


def test_labels_mark_the_candidates_that_they_name() -> None:
    table = features_of(log_of(SHOPPER), [0])
    labels = pl.DataFrame(
        [(0, "clicks", 2), (0, "orders", 2), (0, "orders", 7)],
        schema=LABELS.empty().schema,
        orient="row",
    )
    labelled = add_labels(table, labels.lazy())
    assert not table_failures(VALIDATION_FEATURES, labelled)
    row = row_of(labelled, 0, 2)
    assert [row[f"label_{name}"] for name in TYPES] == [1, 0, 1]
    assert labelled.select(pl.col("^label_.*$").sum()).row(0) == (1, 0, 1)


def test_features_are_named_once_and_described() -> None:
    names = [feature.name for feature in FEATURES]
    assert len(set(names)) == len(names)
    assert all(feature.description.endswith(".") for feature in FEATURES)


@given(values=st.lists(st.floats(0, 1e9), min_size=2))
def test_two_bytes_keep_the_order_and_the_size(values: list[float]) -> None:
    frame = pl.DataFrame({"v": sorted(values)})
    family = (share("part", "Of one.", pl.col("v") / 1e9), amount("log", "Of all.", pl.col("v")))
    made = frame.select(f.of_rows() for f in family).select(f.filled() for f in family)
    assert made["part"].is_sorted()
    assert made["log"].is_sorted()
    assert made["part"].to_numpy() / PARTS == pytest.approx(
        np.sqrt(frame["v"].to_numpy() / 1e9), abs=2e-5
    )
    assert np.expm1(made["log"].to_numpy() / 1000) == pytest.approx(
        frame["v"].to_numpy(), rel=1e-3, abs=1e-3
    )


def test_value_that_is_missing_or_negative_has_its_place() -> None:
    frame = pl.DataFrame({"v": [None, -5.0, 0.0]})
    feature = amount("log", "Of all.", pl.col("v"))
    made = frame.select(feature.of_rows()).select(feature.filled())
    assert made["log"].to_list() == [-1, 0, 0]


def test_row_fits_its_budget() -> None:
    """DESIGN.md: within about 100 columns and 190 bytes a row."""
    assert len(FEATURES) <= 105
    sizes = [
        pl.Series([0], dtype=column.dtype).estimated_size()
        for column in SUBMISSION_FEATURES.columns
    ]
    assert sum(sizes) <= 190
