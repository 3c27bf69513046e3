"""The score command against the official results and against a slow, obvious reference."""

import gzip
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otto_pipeline.evaluation.official import EvaluationError, official_score
from otto_pipeline.schemas import TYPES, WEIGHTS

Label = dict[str, Any]


def reference_score(labels: list[Label], csv: str, k: int) -> dict[str, float | None]:
    """One session at a time, as the rules say it."""
    by_session = {str(label["session"]): label["labels"] for label in labels}
    predictions = dict(line.split(",") for line in csv.splitlines()[1:])
    result: dict[str, float | None] = {}
    total = present = 0.0
    for name in TYPES:
        hits = possible = 0
        for session, wanted in by_session.items():
            items = wanted.get(name)
            if not items:
                continue
            items = {str(items)} if name == "clicks" else set(map(str, items))
            predicted = predictions.get(f"{session}_{name}", "").split(" ")[:k]
            hits += len(items & set(predicted))
            possible += min(k, len(items))
        result[name] = hits / possible if possible else None
        if possible:
            total += hits / possible * WEIGHTS[name]
            present += WEIGHTS[name]
    if None not in result.values():
        return {**result, "total": total}
    return {**result, "total": total / present if present else None}


def score_of(labels: list[Label], csv: str, k: int = 20) -> dict[str, float | None]:
    with tempfile.TemporaryDirectory() as folder:
        label_file, prediction_file = Path(folder) / "labels.jsonl", Path(folder) / "predicted.csv"
        label_file.write_text("".join(json.dumps(label) + "\n" for label in labels))
        prediction_file.write_text(csv)
        return official_score(label_file, prediction_file, k=k)


def label(session: int | str, **labels: Any) -> Label:
    return {"session": session, "labels": labels}


def test_scores_equal_the_official_ones_exactly(golden: Path) -> None:
    cases = [
        json.loads(line) for line in (golden / "evaluator_cases.jsonl").read_text().splitlines()
    ]
    assert len(cases) == 200
    for number, case in enumerate(cases):
        scores = score_of(case["labels"], case["predictions_csv"], case["k"])
        assert scores == case["scores"], f"case {number}"


INTEGERS = st.integers(0, 6)
STRINGS = st.sampled_from(["a", "b_c", "_", "0", "1_clicks", "é"])


@st.composite
def submissions(draw: Any, sessions: Any, items: Any) -> tuple[list[Label], str]:
    """Labels and predictions with repeated keys, repeated items, and keys that have no labels."""
    lists = st.lists(items, max_size=5)
    labels = draw(
        st.lists(
            st.builds(
                lambda session, labels: {"session": session, "labels": labels},
                sessions,
                st.fixed_dictionaries({}, optional={"clicks": items, "carts": lists}),
            ),
            max_size=12,
        )
    )
    for one in labels:
        if draw(st.booleans()):
            one["labels"]["orders"] = draw(lists)
    lines = draw(st.lists(st.tuples(sessions, st.sampled_from(TYPES), lists), max_size=30))
    rows = [f"{session}_{name},{' '.join(map(str, some))}" for session, name, some in lines]
    return labels, "\n".join(["session_type,labels", *rows, ""])


@given(submissions(INTEGERS, INTEGERS), st.integers(1, 4))
@settings(max_examples=80)
def test_random_submissions_equal_the_reference(
    submission: tuple[list[Label], str], k: int
) -> None:
    labels, csv = submission
    assert score_of(labels, csv, k) == reference_score(labels, csv, k)


@given(st.one_of(submissions(STRINGS, STRINGS), submissions(STRINGS, INTEGERS)))
@settings(max_examples=50)
def test_string_ids_equal_the_reference(submission: tuple[list[Label], str]) -> None:
    labels, csv = submission
    assert score_of(labels, csv, 3) == reference_score(labels, csv, 3)


def test_blocks_do_not_change_the_score(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = [label(i % 90, clicks=i % 7, orders=[i % 11, 3]) for i in range(100)]
    rows = [f"{i % 80}_{name},{i % 13} {i % 5}" for i in range(300) for name in TYPES]
    csv = "\n".join(["session_type,labels", *rows])
    whole = score_of(labels, csv)
    monkeypatch.setattr("otto_pipeline.events.jsonl.BLOCK_BYTES", 512)
    assert score_of(labels, csv) == whole == reference_score(labels, csv, 20)


def test_header_is_skipped_whatever_it_says() -> None:
    scores = score_of([label(1, clicks=5)], "1_clicks,5\n1_clicks,6\n")
    assert scores["clicks"] == 0


def test_items_are_cut_before_repeats_are_dropped() -> None:
    labels = [label(1, clicks=7)]
    assert score_of(labels, "header\n1_clicks,5 5 7\n", k=2)["clicks"] == 0
    assert score_of(labels, "header\n1_clicks,5 5 7\n", k=3)["clicks"] == 1


def test_last_of_repeated_keys_counts() -> None:
    labels = [label(1, clicks=5), label(1, clicks=6)]
    assert score_of(labels, "header\n1_clicks,6\n1_clicks,5\n")["clicks"] == 0
    assert score_of(labels, "header\n1_clicks,5\n1_clicks,6\n")["clicks"] == 1
    assert score_of(labels, "header\n1_clicks,6\n1_clicks,\n")["clicks"] == 0


def test_type_without_labels_has_no_score_and_total_is_over_the_others() -> None:
    scores = score_of([label(1, clicks=5, orders=[2])], "header\n1_orders,2\n")
    assert scores == {"clicks": 0, "carts": None, "orders": 1, "total": 0.6 / (0.1 + 0.6)}


def test_label_files_without_labels_have_no_scores() -> None:
    nothing = {"clicks": None, "carts": None, "orders": None, "total": None}
    assert score_of([], "header\n1_clicks,5\n") == nothing
    assert score_of([label(1, clicks=0, carts=[])], "header\n1_clicks,0\n") == nothing
    assert score_of([label(1, clicks=5)], "") == {**nothing, "clicks": 0, "total": 0}


def test_line_ends_and_blank_lines_do_not_matter() -> None:
    labels = [label(1, clicks=5)]
    assert score_of(labels, "header\r\n1_clicks,4 5\r\n")["clicks"] == 1
    assert score_of(labels, "header\n\n1_clicks,4 5\n\n")["clicks"] == 1
    assert score_of(labels, "header\n1_clicks,4 5")["clicks"] == 1


def test_compressed_predictions_are_read(tmp_path: Path) -> None:
    (tmp_path / "labels.jsonl").write_text(json.dumps(label(1, clicks=5)))
    (tmp_path / "predicted.csv.gz").write_bytes(gzip.compress(b"header\n1_clicks,5\n"))
    scores = official_score(tmp_path / "labels.jsonl", tmp_path / "predicted.csv.gz")
    assert scores["clicks"] == 1


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("3_clicks", "no comma"),
        ("3_views,5", "'views'"),
        ("clicks,5", "''"),
        ("x_clicks,5", "session 'x' is not integer"),
        ("3_clicks,5 x", "item 'x' is not integer"),
        ("3_clicks,5  6", "item '' is not integer"),
        ("3_clicks,5,6", "item '5,6' is not integer"),
        ("3_clicks,5.0", "item '5.0' is not integer"),
    ],
)
def test_malformed_prediction_is_named(tmp_path: Path, line: str, reason: str) -> None:
    (tmp_path / "labels.jsonl").write_text(json.dumps(label(1, clicks=5)))
    predictions = tmp_path / "predicted.csv"
    predictions.write_text(f"session_type,labels\n1_clicks,5\n{line}\n")
    with pytest.raises(EvaluationError) as error:
        official_score(tmp_path / "labels.jsonl", predictions)
    message = str(error.value)
    assert message.startswith(f"{predictions}: line 3: ")
    assert reason in message
    assert message.endswith(line)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("oops", "malformed"),
        ('{"session": 2}', "labels"),
        ('{"session": "x", "labels": {}}', "session"),
        ('{"session": 2, "labels": {"clicks": "x"}}', "clicks"),
        ('{"session": 2, "labels": {"carts": 3}}', "array"),
        ('{"session": 2, "labels": {"views": [3]}}', "views"),
    ],
)
def test_malformed_label_is_named(tmp_path: Path, line: str, reason: str) -> None:
    labels = tmp_path / "labels.jsonl"
    labels.write_text(f"{json.dumps(label(1, clicks=5))}\n{line}\n")
    (tmp_path / "predicted.csv").write_text("session_type,labels\n")
    with pytest.raises(EvaluationError) as error:
        official_score(labels, tmp_path / "predicted.csv")
    message = str(error.value)
    assert message.startswith(f"{labels}: line 2: ")
    assert reason in message
    assert message.endswith(line)
