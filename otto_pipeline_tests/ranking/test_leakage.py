"""Nothing looks past a session's own cut."""

import json
from pathlib import Path

from otto_pipeline.events.generate import generate_log
from otto_pipeline.features.table import FEATURE_NAMES
from otto_pipeline.store.dataset import Dataset
from otto_pipeline_tests.pipeline import build_until

SETTINGS = {"max_candidates": 30}


def other_future(log: Path, made: dict[str, Dataset]) -> str:
    """The log with other known items, all ordered, after each query session's cut."""
    visible = dict(made["validation/events"].read().group_by("session").len().iter_rows())
    queries = set(made["validation/sessions"].read().filter("query")["session"])
    known = made["validation/known_items"].read().join(made["log/items"].read(), on="aid")
    items = known["item_id"].to_list()
    lines = []
    for session, line in enumerate(log.read_text().splitlines()):
        content = json.loads(line)
        if session in queries:
            events = [event for event in content["events"] if event["aid"] in set(items)]
            for place, event in enumerate(events[visible[session] :]):
                event["aid"] = items[(session * 31 + place * 7) % len(items)]
                event["type"] = "orders"
        lines.append(json.dumps(content))
    return "\n".join(lines) + "\n"


def test_changing_events_after_the_cut_changes_no_candidate_and_no_feature(tmp_path: Path) -> None:
    log = tmp_path / "one" / "train.jsonl"
    log.parent.mkdir()
    generate_log(log.parent, sessions=1200, test_sessions=10, items=80, seed=3)
    (log.parent / "test.jsonl").unlink()
    one = build_until("validation/features", tmp_path / "store_one", log.parent, **SETTINGS)
    changed = tmp_path / "two"
    changed.mkdir()
    (changed / "train.jsonl").write_text(other_future(log, one))
    two = build_until("validation/features", tmp_path / "store_two", changed, **SETTINGS)
    labels_one, labels_two = (made["validation/labels"].read() for made in (one, two))
    assert not labels_one.equals(labels_two)
    assert labels_one["session"].n_unique() > 50
    for path in ("validation/events", "validation/candidates"):
        assert one[path].read().equals(two[path].read())
    columns = ["session", "aid", *FEATURE_NAMES]
    assert (
        one["validation/features"].read(*columns).equals(two["validation/features"].read(*columns))
    )
