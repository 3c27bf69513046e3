"""Where sources put labels, what each is worth, and where labels are lost."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otto_pipeline.evaluation.found_labels import FOUND_LABELS, places_of
from otto_pipeline.evaluation.funnel import STEPS, funnel_table
from otto_pipeline.evaluation.recall import IN_CANDIDATES, PIPELINE
from otto_pipeline.evaluation.source_report import ALL, rows_of, source_tables
from otto_pipeline.orchestration.checks import table_failures
from otto_pipeline.retrieval.sources import CANDIDATES, LIST_WEIGHTS, RANK_OFFSET, SOURCES
from otto_pipeline.schemas import LABELS, TYPES
from otto_pipeline.store.dataset import Dataset
from otto_pipeline_tests.pipeline import build_until

Ranks = dict[str, int | None]


def union_of(sessions: dict[int, dict[int, Ranks]]) -> pl.DataFrame:
    """`CANDIDATES` rows from each session's items and their ranks in sources."""
    rows = [
        {"session": session, "aid": aid, **{f"{name}_rank": rank for name, rank in ranks.items()}}
        for session, items in sessions.items()
        for aid, ranks in items.items()
    ]
    return pl.DataFrame(rows, schema=CANDIDATES.empty().schema)


def labels_of(*rows: tuple[int, str, int]) -> pl.DataFrame:
    frame = pl.DataFrame(rows, schema=LABELS.empty().schema, orient="row")
    return frame.with_columns(known=pl.lit(value=True), eligible=pl.lit(value=True))


def place(items: dict[int, Ranks], aid: int, without: str | None = None) -> int | None:
    """Place of an item in the list that needs no labels, with dictionaries."""
    score = {}
    for item, ranks in items.items():
        found = {name: rank for name, rank in ranks.items() if rank and name != without}
        if found:
            score[item] = float("history" in found)
            score[item] += sum(LIST_WEIGHTS[name] / (RANK_OFFSET + found[name]) for name in found)
    if aid not in score:
        return None
    return 1 + sum((-round(score[i], 12), i) < (-round(score[aid], 12), aid) for i in score)


@st.composite
def unions(draw: st.DrawFn) -> dict[int, dict[int, Ranks]]:
    ranks = st.fixed_dictionaries({name: st.none() | st.integers(1, 200) for name in SOURCES})
    items = st.dictionaries(st.integers(0, 7), ranks, max_size=8)
    return draw(st.dictionaries(st.integers(0, 3), items, max_size=4))


@given(sessions=unions())
@settings(max_examples=60)
def test_places_are_those_of_the_lists_with_and_without_each_source(
    sessions: dict[int, dict[int, Ranks]],
) -> None:
    sessions = dict(sorted(sessions.items()))
    labels = labels_of(*((s, name, aid) for s in range(4) for name in TYPES for aid in (0, 3, 7)))
    found = places_of(labels, union_of(sessions))
    assert not table_failures(FOUND_LABELS, found)
    assert found.select("session", "type", "aid").equals(labels.drop("known", "eligible"))
    for row in found.iter_rows(named=True):
        items = sessions.get(row["session"], {})
        assert row["place"] == place(items, row["aid"])
        for source in SOURCES:
            assert row[f"{source}_rank"] == items.get(row["aid"], {}).get(source)
            assert row[f"place_without_{source}"] == place(items, row["aid"], source)


def report_of(
    sessions: dict[int, dict[int, Ranks]], labels: pl.DataFrame, source: str, max_candidates: int
) -> dict[str, dict]:
    found = places_of(labels, union_of(sessions))
    found = pl.concat([found.head(1), found.tail(-1)])  # as of several chunks of sessions
    return {row["type"]: row for row in rows_of(found, source, max_candidates)}


def test_source_is_worth_what_is_lost_without_it() -> None:
    """Session 0 finds item 1 by history alone, item 2 by two sources, item 9 not at all."""
    sessions = {0: {1: {"history": 30}, 2: {"session_knn": 1, "popularity": 60}}}
    labels = labels_of((0, "carts", 1), (0, "carts", 2), (0, "carts", 9))
    history = report_of(sessions, labels, "history", 20)["carts"]
    assert [history[f"recall_{k}"] for k in (20, 50)] == [0, pytest.approx(1 / 3)]
    assert history["marginal"] == history["marginal_list"] == pytest.approx(1 / 3)
    assert history["unique_hits"] == 1
    knn = report_of(sessions, labels, "session_knn", 20)["carts"]
    assert knn["recall_20"] == pytest.approx(1 / 3)
    assert (knn["marginal"], knn["unique_hits"]) == (0, 0)
    everything = report_of(sessions, labels, ALL, 20)["carts"]
    assert everything["recall_20"] == pytest.approx(2 / 3)


def test_source_that_fills_the_shortlist_with_others_does_harm() -> None:
    others: dict[int, Ranks] = {item: {"popularity": item + 1} for item in range(5)}
    sessions = {0: {**others, 9: {"session_knn": 200}}}
    harm = report_of(sessions, labels_of((0, "orders", 9)), "session_knn", 6)
    assert harm["orders"]["marginal_list"] == 1
    weak = {0: {item: {"session_knn": item + 1} for item in range(5)} | {9: {"popularity": 1}}}
    harm = report_of(weak, labels_of((0, "orders", 9)), "session_knn", 5)
    assert harm["orders"]["marginal_list"] == -1
    assert harm["total"]["marginal_list"] == -1
    assert harm["clicks"]["marginal_list"] is None


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Dataset]:
    store = tmp_path_factory.mktemp("store")
    small = {"boosting_rounds": 5, "demo_sessions": 1500}
    return {
        path: dataset
        for wanted in ("validation/scores", "validation/source_report", "validation/funnel")
        for path, dataset in build_until(wanted, store, None, "demo", **small).items()
    }


def share(funnel: pl.DataFrame, step: str) -> dict[str, float]:
    return dict(funnel.filter(pl.col("step") == step).select("type", "share").iter_rows())


def test_funnel_ends_with_the_scores_and_narrows_at_each_step(made: dict[str, Dataset]) -> None:
    funnel, scores = made["validation/funnel"].read(), made["validation/scores"].read()
    for step, system in (("in the top 20", PIPELINE), ("in the shortlist", IN_CANDIDATES)):
        of_system = scores.filter(pl.col("system") == system)
        expected = dict(of_system.select("type", "recall").iter_rows())
        assert share(funnel, step) == pytest.approx(expected)
    for name in (*TYPES, "total"):
        left = funnel.filter(pl.col("type") == name)
        assert left["step"].to_list() == list(STEPS)
        assert left["share"].is_sorted(descending=True)
        assert left["labels"].is_sorted(descending=True)
    assert "in the union" in funnel_table(funnel)


def test_labels_are_those_of_the_sessions_and_ranks_those_of_the_candidates(
    made: dict[str, Dataset],
) -> None:
    found = made["validation/found_labels"].read()
    labels = made["validation/labels"].read()
    assert found.select(labels.columns).equals(labels.sort("session", "type", "aid"))
    candidates = (
        made["validation/candidates"]
        .read()
        .with_columns(at=pl.col("list_score").rank("ordinal", descending=True).over("session"))
    )
    both = found.join(candidates, on=["session", "aid"], suffix="_in_shortlist")
    assert both.height > 100
    for source in SOURCES:
        assert both[f"{source}_rank"].equals(both[f"{source}_rank_in_shortlist"], null_equal=True)
    assert np.mean((both["place"] == both["at"]).to_numpy()) > 0.99


def test_report_tells_the_cost_of_what_stands_behind_a_source(made: dict[str, Dataset]) -> None:
    report = made["validation/source_report"]
    costs = report.figures()["cost"]
    assert costs["history"]["size MB"] is None
    assert set(costs) == set(SOURCES)
    proposing = [cost["proposes in s"] for cost in costs.values()]
    assert sum(proposing) == pytest.approx(
        made["validation/candidates"].manifest.seconds, abs=0.05 * len(SOURCES)
    )
    assert costs["session_knn"]["size MB"] > 0
    assert costs["time"]["peak MB"] > 0
    text = source_tables(report)
    assert "| history" in text
    assert "**orders**" in text


def test_log_without_query_sessions_has_an_empty_report(tmp_path: Path) -> None:
    log = tmp_path / "train.jsonl"
    log.write_text('{"session": 1, "events": [{"aid": 1, "ts": 5, "type": "clicks"}]}\n')
    for path in ("validation/source_report", "validation/funnel"):
        made = build_until(path, tmp_path / "store", log)
        assert made["validation/found_labels"].manifest.rows == 0
        rows = made[path].read()
        assert rows["labels"].sum() == 0
        assert set(rows.to_series(3 if path.endswith("funnel") else 2)) == {None}
