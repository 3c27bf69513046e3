"""Scores and reports of logs where something is missing."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pytest

from otto_pipeline.evaluation.history import append_scores, read_history
from otto_pipeline.evaluation.recall import BY_HISTORY, BY_POPULARITY, IN_CANDIDATES, PIPELINE
from otto_pipeline.evaluation.report import read_report
from otto_pipeline.evaluation.summary import report_text
from otto_pipeline.metrics import hits_by_session, recalls, scores
from otto_pipeline.orchestration.assets import ARTIFACTS
from otto_pipeline.schemas import TYPES
from otto_pipeline.store.dataset import Dataset
from otto_pipeline_tests.pipeline import build_until

DAY = 86_400_000
SMALL = {"boosting_rounds": 5, "demo_sessions": 1500}


def write_log(folder: Path, sessions: list[list[tuple[int, int, str]]]) -> Path:
    """A log of sessions of (aid, ts, type)."""
    folder.mkdir()
    lines = [
        {"session": s, "events": [{"aid": a, "ts": t, "type": kind} for a, t, kind in events]}
        for s, events in enumerate(sessions)
    ]
    (folder / "train.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Dataset]:
    return build_until("validation/report", tmp_path_factory.mktemp("store"), None, "demo", **SMALL)


def recall_of(table: pl.DataFrame, system: str) -> dict[str, float]:
    return dict(table.filter(pl.col("system") == system).select("type", "recall").iter_rows())


def test_scores_are_the_metric_of_predictions_and_labels(made: dict[str, Dataset]) -> None:
    labels, predictions = made["validation/labels"].read(), made["validation/predictions"].read()
    expected = scores(recalls(hits_by_session(labels, predictions)))
    assert recall_of(made["validation/scores"].read(), PIPELINE) == pytest.approx(expected)


def test_history_baseline_is_the_latest_twenty_own_items(made: dict[str, Dataset]) -> None:
    visible = made["validation/events"].read()
    lists: dict[int, list[int]] = {}
    for session, aid in visible.select("session", "aid").iter_rows():
        own = lists.setdefault(session, [])
        if aid in own:
            own.remove(aid)
        own.append(aid)
    rows = [
        (session, kind, aid, rank)
        for session, own in lists.items()
        for rank, aid in enumerate(own[::-1][:20], 1)
        for kind in TYPES
    ]
    labels = made["validation/labels"].read()
    history = pl.DataFrame(rows, ["session", "type", "aid", "rank"], orient="row").cast(
        {"session": pl.Int32, "aid": pl.Int32, "type": labels.schema["type"]}
    )
    expected = scores(recalls(hits_by_session(labels, history)))
    assert recall_of(made["validation/scores"].read(), BY_HISTORY) == pytest.approx(expected)


def test_popularity_baseline_is_each_types_own_top(made: dict[str, Dataset]) -> None:
    popularity, labels = made["validation/popularity"].read(), made["validation/labels"].read()
    top = popularity.sort(["orders_week", "aid"], descending=[True, False]).head(20)["aid"]
    orders = labels.filter(pl.col("type") == "orders")
    hit = orders.filter(pl.col("aid").is_in(top.implode())).height
    found = recall_of(made["validation/scores"].read(), BY_POPULARITY)
    assert found["orders"] == pytest.approx(hit / orders.height)


def test_no_list_beats_the_candidates_that_it_is_chosen_from(made: dict[str, Dataset]) -> None:
    table = made["validation/scores"].read()
    ceiling, pipeline = recall_of(table, IN_CANDIDATES), recall_of(table, PIPELINE)
    assert all(pipeline[name] <= ceiling[name] for name in (*TYPES, "total"))


def test_report_says_what_orders_each_target_and_by_which_weights(
    made: dict[str, Dataset],
) -> None:
    report = read_report(made["validation/report"])
    table = made["validation/blend"].read().filter(pl.col("fold") == -1)
    for name, *weights in table.select("type", "list", *TYPES).iter_rows():
        ranker = report["rankers"][name]
        assert list(ranker["weights"].values()) == weights
        assert ranker["ordered_by"] == {0: "ranker", 1: "list"}.get(weights[0], "blend")


def test_log_without_orders_scores_them_null_and_says_so(tmp_path: Path) -> None:
    sessions = [
        [(s % 5, s * DAY // 4, "clicks"), (s % 3, s * DAY // 4 + 9, "carts")] for s in range(80)
    ]
    log = write_log(tmp_path / "log", sessions)
    made = build_until("validation/report", tmp_path / "store", log, **SMALL)
    report = read_report(made["validation/report"])
    assert report["scores"]["orders"] is None
    assert report["scores"]["total"] is not None
    assert any("no label of clicks, orders" in note for note in report["notes"])
    assert any("fewer than 10" in note for note in report["notes"])
    assert report["rankers"]["orders"]["ordered_by"] == "list"
    text = report_text(tmp_path / "store/full", [artifact.path for artifact in ARTIFACTS])
    assert "–" in text
    assert "submission: none" in text


def test_sessions_of_a_log_of_ten_are_cut_and_the_report_says_so_though_no_item_was_allowed_then(
    tmp_path: Path,
) -> None:
    days = [*range(7), 13, 13, 13]
    kinds = ("clicks", "clicks", "orders")
    log = write_log(
        tmp_path / "log",
        [
            [(1 + (s + i) % 3, d * DAY + s * 9 + i, kinds[i]) for i in range(3)]
            for s, d in enumerate(days)
        ],
    )
    allowed = tmp_path / "allowed.csv"
    allowed.write_text("item_id,from\n" + "".join(f"{item},1970-01-12\n" for item in (1, 2, 3)))
    made = build_until(
        "validation/report", tmp_path / "store", log, eligibility_file=allowed, **SMALL
    )
    report = read_report(made["validation/report"])
    assert made["half_a/features"].manifest.rows + made["half_b/features"].manifest.rows > 0
    assert report["cut_sessions"] == made["validation/cut_sessions"].manifest.rows == 7
    assert any("7 sessions before the validation window" in note for note in report["notes"])


def test_type_that_only_cut_sessions_have_labels_of_is_left_to_the_list(tmp_path: Path) -> None:
    sessions = [
        [
            (1 + (s + i) % 4, s * DAY // 4 + i, "orders" if i == 2 and s < 40 else "clicks")
            for i in range(4)
        ]
        for s in range(80)
    ]
    log = write_log(tmp_path / "log", sessions)
    made = build_until("validation/report", tmp_path / "store", log, **SMALL)
    report = read_report(made["validation/report"])
    assert report["scores"]["orders"] is None
    assert report["rankers"]["orders"]["positive_sessions"] >= 10
    assert any("orders: the ranker has no label" in note for note in report["notes"])
    assert report["rankers"]["orders"]["folds"] > 0
    assert report["rankers"]["orders"]["ordered_by"] == "list"


def test_log_without_validation_sessions_still_gives_a_submission(tmp_path: Path) -> None:
    log = write_log(tmp_path / "log", [[(1, 5, "clicks"), (2, 9, "orders")] for _ in range(4)])
    (log / "test.jsonl").write_text(
        '{"session": 77, "events": [{"aid": 1, "ts": 20, "type": "clicks"}]}\n'
        '{"session": 78, "events": [{"aid": 3, "ts": 21, "type": "clicks"}]}\n'
    )
    store = tmp_path / "store"
    made = build_until("validation/report", store, log, **SMALL)
    report = read_report(made["validation/report"])
    assert report["scores"] == {"clicks": None, "carts": None, "orders": None, "total": None}
    assert "nothing could be validated" in report["notes"][0]
    submission = build_until("submission/submission", store, log, **SMALL)["submission/submission"]
    lines = submission.files[0].read_text().splitlines()
    assert lines[1].split(",")[0] == "77_clicks"
    assert lines[1].split(",")[1].split(" ")[:2] == ["1", "2"]
    assert lines[4].split(",")[1].split(" ")[0] == "3"
    assert len(lines) == 7


def test_rankers_that_nothing_can_be_validated_by_are_not_explained(tmp_path: Path) -> None:
    early = [[(1 + s % 3, s, "clicks"), (2 + s % 3, s + 9, "orders")] for s in range(40)]
    log = write_log(tmp_path / "log", [*early, [(1, 30 * DAY, "clicks")]])
    made = build_until("validation/report", tmp_path / "store", log, **SMALL)
    report = read_report(made["validation/report"])
    assert report["cut_sessions"] > 10
    assert report["query_sessions"] == 0
    made = build_until("validation/explanation", tmp_path / "store", log, **SMALL)
    assert len(made["validation/rankers/orders"].files) == 1
    assert made["validation/explanation"].read().is_empty()


def test_history_has_one_row_for_each_rebuild_that_changed_something(
    made: dict[str, Dataset], tmp_path: Path
) -> None:
    assert append_scores(tmp_path, "demo", made["validation/scores"])
    assert not append_scores(tmp_path, "demo", made["validation/scores"])
    assert append_scores(tmp_path, "pct1", made["validation/scores"])
    history = read_history(tmp_path)
    assert history["scale"].to_list() == ["demo", "pct1"]
    assert "polars" in history["versions"][0]


def test_history_loses_no_row_of_rebuilds_that_end_together(
    made: dict[str, Dataset], tmp_path: Path
) -> None:
    scales = [f"scale {number}" for number in range(20)]
    with ThreadPoolExecutor(4) as pool:
        list(
            pool.map(
                lambda scale: append_scores(tmp_path, scale, made["validation/scores"]), scales
            )
        )
    assert sorted(read_history(tmp_path)["scale"]) == sorted(scales)
