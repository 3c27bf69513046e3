import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from otto_pipeline.events import generate
from otto_pipeline.events.generate import DAY_MS, START_MS, TEST, TRAIN, generate_log

FILES = ("train.jsonl", "test.jsonl", "test_labels.jsonl")
SMALL = {"sessions": 3000, "test_sessions": 500, "items": 800}
DEMO = {"sessions": 16_000, "test_sessions": 2500, "items": 4000}
TOP = 20

Log = tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]


def read(folder: Path) -> Log:
    train, test, labels = (
        [json.loads(line) for line in (folder / name).read_text().splitlines()] for name in FILES
    )
    return train, test, labels


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small")
    generate_log(folder, **SMALL, seed=1)
    return folder


@pytest.fixture(scope="module")
def small(folder: Path) -> Log:
    return read(folder)


@pytest.fixture(scope="module", params=[42, 7])
def demo(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Log:
    folder = tmp_path_factory.mktemp("demo")
    generate_log(folder, **DEMO, seed=request.param)
    return read(folder)


def items_of(sessions: list[dict[str, Any]]) -> set[int]:
    return {event["aid"] for session in sessions for event in session["events"]}


def history(session: dict[str, Any]) -> list[int]:
    newest_first = [event["aid"] for event in reversed(session["events"])]
    return list(dict.fromkeys(newest_first))[:TOP]


def labels_of(line: dict[str, Any], kind: str) -> list[int]:
    value = line["labels"].get(kind, [])
    return [value] if isinstance(value, int) else value


def history_recall(test: list[dict[str, Any]], labels: list[dict[str, Any]], kind: str) -> float:
    hits = wanted = 0
    for session, line in zip(test, labels, strict=True):
        future = labels_of(line, kind)
        hits += len(set(future) & set(history(session)))
        wanted += min(TOP, len(future))
    return hits / wanted


def test_same_arguments_give_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    generate_log(tmp_path, **SMALL, seed=1)
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def test_another_seed_gives_other_bytes(folder: Path, tmp_path: Path) -> None:
    generate_log(tmp_path, **SMALL, seed=2)
    for name in FILES:
        assert (tmp_path / name).read_bytes() != (folder / name).read_bytes()


def test_a_block_depends_on_its_number_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate, "BLOCK_SESSIONS", 500)
    catalogue = generate.make_catalogue(300, seed=1)
    blocks = list(generate._blocks(catalogue, TRAIN, 1200, 1))
    alone = generate.generate_sessions(
        catalogue, TRAIN, range(500, 1000), 1200, generate._rng(1, "day 0", 1)
    )
    assert [block["session"].n_unique() for block in blocks] == [500, 500, 200]
    assert blocks[1].drop("type").equals(alone.drop("type"))
    begins = pl.concat(blocks).group_by("session", maintain_order=True).first()
    assert begins["session"].to_list() == list(range(1200))
    assert begins["ts"].is_sorted()


def test_sessions_are_numbered_in_the_order_in_which_they_begin(small: Log) -> None:
    train, test, labels = small
    numbers = [session["session"] for session in train + test]
    assert numbers == list(range(len(numbers)))
    assert len(train) == SMALL["sessions"]
    assert 0.95 * SMALL["test_sessions"] < len(test) <= SMALL["test_sessions"]
    assert [line["session"] for line in labels] == [session["session"] for session in test]
    begins = [session["events"][0]["ts"] for session in train]
    assert begins == sorted(begins)


def test_events_ascend_inside_their_period(small: Log) -> None:
    for sessions, period in zip(small, (TRAIN, TEST), strict=False):
        for session in sessions:
            times = [event["ts"] for event in session["events"]]
            assert START_MS + period.start * DAY_MS <= times[0]
            assert times[-1] < START_MS + period.stop * DAY_MS
            assert all(earlier <= later for earlier, later in pairwise(times))


def test_train_sessions_have_2_to_500_events(demo: Log) -> None:
    lengths = [len(session["events"]) for session in demo[0]]
    assert (min(lengths), max(lengths)) == (2, 500)


def test_test_items_are_known_and_labels_are_of_known_items(small: Log) -> None:
    train, test, labels = small
    known = items_of(train)
    future = {aid for line in labels for kind in line["labels"] for aid in labels_of(line, kind)}
    assert min(known) > 0
    assert items_of(test) <= known
    assert future <= known


def test_sessions_are_cut_uniformly_and_labels_follow_the_official_rules() -> None:
    rows = [
        *[(0, 5, 0), (0, 5, 1), (0, 7, 0), (0, 5, 1), (0, 9, 1), (0, 9, 2)],
        *[(1, 3, 0), (1, 4, 2)],
    ]
    events = pl.DataFrame(rows, schema=["session", "aid", "type"], orient="row")
    events = events.with_columns(pl.col("type").cast(pl.UInt8).cat.to(generate.EVENT_TYPE))
    cuts = set()
    for seed in range(50):
        visible, future = generate._cut(events, np.random.default_rng(seed))
        assert pl.concat([visible, future]).sort("session", maintain_order=True).equals(events)
        cuts.add(visible.filter(pl.col("session") == 0).height)
        labels = generate._labels(future).rows()
        assert labels[1] == (1, None, [], [4])
        if visible.filter(pl.col("session") == 0).height == 2:
            assert labels[0] == (0, 7, [5, 9], [9])
    assert cuts == {1, 2, 3, 4, 5}


def test_a_log_that_breaks_off_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(generate, "_labels", fail)
    with pytest.raises(RuntimeError):
        generate_log(tmp_path, **SMALL, seed=1)
    assert list(tmp_path.iterdir()) == []


def test_a_tiny_log_can_be_made(tmp_path: Path) -> None:
    generate_log(tmp_path, sessions=3, test_sessions=0, items=5, seed=1)
    assert [len(lines) for lines in read(tmp_path)] == [3, 0, 0]


@pytest.mark.parametrize(("kind", "recall"), [("clicks", 0.32), ("carts", 0.31), ("orders", 0.60)])
def test_history_recalls_as_much_as_on_otto(demo: Log, kind: str, recall: float) -> None:
    assert history_recall(*demo[1:], kind) == pytest.approx(recall, rel=0.1)


@pytest.mark.parametrize(
    ("kind", "share", "items"),
    [("clicks", 0.975, 1), ("carts", 0.17, 2.22), ("orders", 0.08, 1.85)],
)
def test_as_many_test_sessions_have_labels_as_on_otto(
    demo: Log, kind: str, share: float, items: float
) -> None:
    present = [labels_of(line, kind) for line in demo[2] if kind in line["labels"]]
    assert len(present) / len(demo[2]) == pytest.approx(share, rel=0.25)
    assert np.mean([len(future) for future in present]) == pytest.approx(items, rel=0.25)


def test_train_has_the_statistics_of_otto(demo: Log) -> None:
    train = demo[0]
    events = pl.DataFrame([event for session in train for event in session["events"]])
    lengths = np.array([len(session["events"]) for session in train])
    per_item = events.group_by("aid").len()["len"].to_numpy()
    shares = [(events["type"] == kind).mean() for kind in ("clicks", "carts", "orders")]
    assert shares == pytest.approx([0.8985, 0.0780, 0.0235], rel=0.2)
    assert lengths.mean() == pytest.approx(16.8, rel=0.1)
    assert np.quantile(lengths, [0.5, 0.75, 0.9, 0.95]) == pytest.approx([6, 15, 39, 68], rel=0.2)
    relative = np.quantile(per_item, [0.5, 0.75, 0.9, 0.95]) / per_item.mean()
    assert relative == pytest.approx([0.17, 0.48, 1.57, 3.41], rel=0.55)
    first = sum(session["events"][0]["type"] == "clicks" for session in train) / len(train)
    assert first == pytest.approx(0.9957, abs=0.002)


def test_evenings_are_busier_than_nights(demo: Log) -> None:
    times = np.array([event["ts"] for session in demo[0] for event in session["events"]])
    local_hours = np.bincount((times - START_MS) % DAY_MS // (DAY_MS // 24), minlength=24)
    assert local_hours[19:22].min() > 5 * local_hours[2:5].max()
