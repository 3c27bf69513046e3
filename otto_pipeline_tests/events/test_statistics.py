from collections import Counter
from itertools import groupby
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otto_pipeline.events.otto import OTTO, shown
from otto_pipeline.events.statistics import (
    PICTURE,
    QUANTILES,
    LabelCounts,
    LogCounts,
    Values,
    spread,
    statistics_table,
    statistics_text,
)
from otto_pipeline.schemas import EVENTS, LABELS, STATISTICS, TYPES
from otto_pipeline.schemas.checks import pandera_schema
from otto_pipeline_tests.building import build_log, log_line
from otto_pipeline_tests.logs import N_ITEMS, frame, random_events

PNG = b"\x89PNG"
HOUR_MS = 3_600_000


def counted(*pieces: pl.DataFrame, n_items: int = N_ITEMS) -> LogCounts:
    counts = LogCounts(n_items)
    for piece in pieces:
        counts.add(piece)
    return counts


def slow_values(events: pl.DataFrame) -> Values:
    """The statistics of a log, by loops over its sessions."""
    rows = list(events.iter_rows())
    if not rows:
        return {}
    sessions = [[row[1:] for row in group] for _, group in groupby(rows, key=lambda row: row[0])]
    lengths = [len(session) for session in sessions]
    per_item = Counter(row[1] for row in rows)
    last_hour = max(ts for _, _, ts, _ in rows) // HOUR_MS
    begun = sum(session[0][1] // HOUR_MS > last_hour - 7 * 24 for session in sessions)
    values = {
        "sessions": len(sessions),
        "items": len(per_item),
        "events": len(rows),
        "events per item: mean": len(rows) / len(per_item),
        "distinct items of a session per event": sum(
            len({item for item, _, _ in session}) for session in sessions
        )
        / len(rows),
        "sessions begun in the last 7 days": begun / len(sessions),
    }
    for name, value in slow_spread(lengths).items():
        values[f"events per session: {name}"] = value
    for name, value in slow_spread(list(per_item.values())).items():
        relative = value / values["events per item: mean"]
        values[f"events per item, of their mean: {name}"] = relative
    del values["events per item, of their mean: mean"]
    for kind in TYPES:
        of_kind = [[event[2] for event in session].count(kind) for session in sessions]
        having = [n / size for n, size in zip(of_kind, lengths, strict=True) if n]
        values |= {
            f"share of events: {kind}": sum(of_kind) / len(rows),
            f"share of first events: {kind}": np.mean([s[0][2] == kind for s in sessions]),
            f"share of last events: {kind}": np.mean([s[-1][2] == kind for s in sessions]),
            f"share in sessions with any: {kind}": np.mean(having) if having else 0,
        }
    return values


def slow_spread(values: list[int]) -> Values:
    quantiles = np.quantile(values, QUANTILES, method="inverted_cdf")
    return {
        "mean": np.mean(values),
        "standard deviation": np.std(values),
        **{f"{q * 100:.0f} %": x for q, x in zip(QUANTILES, quantiles, strict=True)},
        "largest": max(values),
    }


@given(events=random_events())
@settings(max_examples=50)
def test_statistics_are_those_of_a_loop_over_sessions(events: pl.DataFrame) -> None:
    assert counted(events).values() == pytest.approx(slow_values(events))


@given(events=random_events(), cut=st.integers(0, 6))
@settings(max_examples=25)
def test_pieces_of_whole_sessions_add_up(events: pl.DataFrame, cut: int) -> None:
    before = pl.col("session") < cut
    in_pieces = counted(events.filter(before), events.filter(~before))
    assert in_pieces.values() == pytest.approx(counted(events).values())


@given(values=st.lists(st.integers(0, 30), min_size=1, max_size=60))
@settings(max_examples=50)
def test_spread_is_that_of_the_values(values: list[int]) -> None:
    assert spread(np.bincount(values)) == pytest.approx(slow_spread(values))


def test_part_without_sessions_has_no_statistics() -> None:
    assert counted(EVENTS.empty()).values() == {}
    assert statistics_table({"train": {}, "test": {}}).is_empty()


def test_item_that_only_the_other_part_has_is_not_counted() -> None:
    values = counted(frame((0, 1, 0, "clicks"), (0, 1, 5, "orders")), n_items=100).values()
    assert values["items"] == 1
    assert values["events per item: mean"] == 2


def test_labels_and_what_history_recalls_of_them() -> None:
    visible = frame(
        *[(0, 1, 0, "clicks"), (0, 2, 1, "carts")],
        *[(1, item, item, "clicks") for item in range(30)],
        *[(1, 0, 50, "clicks"), (2, 5, 0, "clicks")],
    )
    labels = pl.DataFrame(
        [
            *[(0, "clicks", 2), (0, "carts", 2), (0, "carts", 9), (0, "orders", 2)],
            *[(1, "clicks", 0), (1, "carts", 29), (1, "carts", 10)],
            *[(2, "clicks", 6)],
        ],
        schema=LABELS.empty().schema,
        orient="row",
    )
    together, apart = LabelCounts(), LabelCounts()
    together.add(visible, labels)
    for session in (0, 1, 2):
        mine = pl.col("session") == session
        apart.add(visible.filter(mine), labels.filter(mine))
    values = together.values()
    assert values == apart.values()
    # the latest 20 items of session 1 are 0 and 29 … 11: its label 10 is not among them
    assert values["recall@20 of history: clicks"] == 2 / 3
    assert values["recall@20 of history: carts"] == 2 / 4
    assert values["recall@20 of history: orders"] == 1
    assert values["recall@20 of history: total"] == pytest.approx(0.1 * 2 / 3 + 0.3 / 2 + 0.6)
    assert values["sessions with any: carts"] == 2 / 3
    assert values["labels of a session with any: carts"] == 2
    assert values["labels per click label: orders"] == 1 / 3


def test_no_labels_have_no_statistics() -> None:
    assert LabelCounts().values() == {}


def test_every_published_statistic_is_one_that_is_measured() -> None:
    measured = counted(frame((0, 1, 0, "clicks"))).values()
    for part in ("train", "test", "full test"):
        assert OTTO[part].keys() <= measured.keys()


def test_figures_read_well() -> None:
    assert [shown(x) for x in (1_234_567.0, 5.0, 0.12345, None)] == [
        *("1,234,567", "5", "0.1235", "–")
    ]


TINY = [
    log_line(f"s{n}", [(f"i{n % 3}", 1000 * n, "clicks"), (f"i{n % 5}", 1000 * n + 1, "carts")])
    for n in range(20)
]


def test_asset_of_a_tiny_log_of_string_ids_without_a_test_file(tmp_path: Path) -> None:
    made = build_log(tmp_path, TINY, until="log/statistics")["log/statistics"]
    table = made.read()
    pandera_schema(STATISTICS).validate(table)
    assert table["part"].unique().to_list() == ["train"]
    values = dict(table.select("name", "value").iter_rows())
    assert (values["sessions"], values["items"], values["events"]) == (20, 5, 40)
    assert "| train  | sessions" in statistics_text(table)
    picture = (made.folder / PICTURE).read_bytes()
    assert picture.startswith(PNG)
    assert len(picture) < 70_000  # 4/3 of it in base64


def test_asset_measures_the_sessions_to_predict_apart(tmp_path: Path) -> None:
    files = {"train.jsonl": TINY, "test.jsonl": [log_line("t", [("i1", 10**9, "clicks")])]}
    made = build_log(tmp_path, files, until="log/statistics")["log/statistics"]
    table = made.read()
    sessions = table.filter(pl.col("name") == "sessions")
    assert sessions.select("part", "value", "otto").rows() == [
        ("train", 20, 12_899_779),
        ("test", 1, 1_671_803),
    ]
