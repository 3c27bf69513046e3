import json
from pathlib import Path

import pytest

from otto_pipeline.evaluation.official import official_score
from otto_pipeline.events.generate import generate_log
from otto_pipeline.settings import Settings
from otto_pipeline.store.dataset import Dataset
from otto_pipeline.submission.submission import SubmissionError, write_submission
from otto_pipeline_tests.pipeline import build_until

SMALL = {"boosting_rounds": 5}


def test_string_ids_come_back_as_they_went_in(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.mkdir()
    for name, sessions in (("train", ["s_a", "s_b", "s_c"]), ("test", ["t_1"])):
        lines = [
            {
                "session": session,
                "events": [
                    {"aid": aid, "ts": 1000 * place, "type": "clicks"}
                    for place, aid in enumerate(("red-shoe", "äpfel", "sku/9"))
                ],
            }
            for session in sessions
        ]
        (log / f"{name}.jsonl").write_text("\n".join(map(json.dumps, lines)))
    made = build_until("submission/submission", tmp_path / "store", log, **SMALL)
    lines = made["submission/submission"].files[0].read_text().splitlines()
    assert [line.split(",")[0] for line in lines[1:]] == ["t_1_clicks", "t_1_carts", "t_1_orders"]
    assert sorted(lines[1].split(",")[1].split(" ")) == ["red-shoe", "sku/9", "äpfel"]


def test_log_split_outside_gives_a_submission_that_anybody_can_score(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.mkdir()
    generate_log(log, sessions=1500, test_sessions=300, items=300, seed=5)
    made = build_until("submission/submission", tmp_path / "store", log, **SMALL)
    csv = made["submission/submission"].files[0]
    hits = {"clicks": 0.0, "carts": 0.0, "orders": 0.0}
    out_of = dict.fromkeys(hits, 0)
    lists = {}
    for line in csv.read_text().splitlines()[1:]:
        key, items = line.split(",")
        lists[key] = [int(item) for item in items.split(" ")]
    for line in (log / "test_labels.jsonl").read_text().splitlines():
        content = json.loads(line)
        for name, wanted in content["labels"].items():
            labels = {wanted} if name == "clicks" else set(wanted)
            hits[name] += len(labels & set(lists[f"{content['session']}_{name}"]))
            out_of[name] += min(20, len(labels))
    by_hand = {name: hits[name] / out_of[name] for name in hits}
    found = official_score(log / "test_labels.jsonl", csv)
    assert {name: found[name] for name in hits} == by_hand
    assert by_hand["clicks"] > 0.3


def test_session_without_predictions_is_an_error_not_a_shorter_file(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.mkdir()
    generate_log(log, sessions=300, test_sessions=40, items=100, seed=5)
    made = build_until("submission/submission", tmp_path / "store", log, **SMALL)
    predictions = made["submission/predictions"]
    first = predictions.read_shard(0)
    short = tmp_path / "short"
    short.mkdir()
    first.filter(first["session"] != first["session"][0]).write_parquet(
        short / "part-00000.parquet"
    )
    (short / "manifest.json").write_text((predictions.folder / "manifest.json").read_text())
    inputs = {
        "predictions": Dataset(short),
        "sessions": made["log/sessions"],
        "items": made["log/items"],
        "eligibility": made["log/eligibility"],
        "event_log": made["submission/event_log"],
    }
    with pytest.raises(SubmissionError, match="instead of three each"):
        write_submission(inputs, 0, Settings(), tmp_path / "submission.csv")
