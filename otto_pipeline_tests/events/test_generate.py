import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import zstandard

from otto_pipeline.events import generate, split
from otto_pipeline.events.generate import (
    Request,
    Written,
    default_items,
    default_test_sessions,
    generate_log,
)
from otto_pipeline.events.generator.catalogue import make_catalogue
from otto_pipeline.events.generator.files import FORMATS
from otto_pipeline.events.generator.shop import DAY_MS, SHOP, START_MS, TEST, TRAIN
from otto_pipeline.events.generator.visits import draw_events
from otto_pipeline.events.generator.walk import NOTHING, draw_first, draw_intent, walk, walk_on
from otto_pipeline.events.otto import compare, comparison_text
from otto_pipeline.schemas import EVENT_TYPE, EVENTS

FILES = ("train.jsonl", "test.jsonl", "test_labels.jsonl")
SMALL = {"sessions": 3000, "test_sessions": 500, "items": 800}
DEMO = {"sessions": 16_000, "test_sessions": 2500, "items": 4000}
MIDDLE = 64_000
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


def test_number_of_threads_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate, "BLOCK_SESSIONS", 200)
    one, three = (generate_log(tmp_path / f"{n}", **SMALL, seed=1, threads=n) for n in (1, 3))
    for name in FILES:
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "3" / name).read_bytes()
    assert one.values() == three.values()


@pytest.mark.parametrize("file_format", FORMATS)
def test_every_format_holds_the_same_events(
    file_format: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generate, "BLOCK_SESSIONS", 700)
    generate_log(tmp_path / "lines", **SMALL, seed=1)
    generate_log(tmp_path / "log", **SMALL, seed=1, file_format=file_format)
    for name in ("train", "test"):
        expected = read_events(tmp_path / "lines" / f"{name}.jsonl")
        assert read_events(tmp_path / "log" / f"{name}.{file_format}").equals(expected)
    labels = (tmp_path / "lines/test_labels.jsonl").read_bytes()
    assert (tmp_path / "log/test_labels.jsonl").read_bytes() == labels


def read_events(path: Path) -> pl.DataFrame:
    """The events of a file of any format."""
    if path.suffix == ".parquet":
        return pl.read_parquet(path)
    content = path.read_bytes()
    if path.suffix == ".zst":
        reader = zstandard.ZstdDecompressor().stream_reader(content, read_across_frames=True)
        content = reader.read()
    lines = map(json.loads, content.splitlines())
    rows = [
        (line["session"], event["aid"], event["ts"], event["type"])
        for line in lines
        for event in line["events"]
    ]
    return pl.DataFrame(rows, schema=EVENTS.empty().schema, orient="row")


def test_a_block_depends_on_its_number_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generate, "BLOCK_SESSIONS", 500)
    request = Request(1200, 0, 300, 1, FORMATS["parquet"])
    catalogue = make_catalogue(300, request.rng("catalogue"))
    numbers = generate._blocks(1200)
    blocks = [generate._train_block(catalogue, request, block)[0] for block in numbers]
    alone = generate._train_block(catalogue, request, range(500, 1000))[0]
    assert [block["session"].n_unique() for block in blocks] == [500, 500, 200]
    assert blocks[1].equals(alone)
    begins = pl.concat(blocks).group_by("session", maintain_order=True).first()
    assert begins["session"].to_list() == list(range(1200))
    assert begins["ts"].is_sorted()


def test_walk_that_pauses_draws_what_a_walk_without_a_pause_draws() -> None:
    catalogue = make_catalogue(500, np.random.default_rng(1))
    events = draw_events(TRAIN, range(300), 300, np.random.default_rng(2))
    whole = walk(catalogue, events, np.random.default_rng(3))
    rng = np.random.default_rng(3)
    intent, week = draw_intent(300, rng), (events.ts - START_MS) // (7 * DAY_MS)
    shop = (catalogue.topic, catalogue.topic_start, catalogue.weight, catalogue.mass, SHOP, rng)
    item, kind = np.empty(len(week), np.int64), np.empty(len(week), np.uint8)
    basket = np.empty(SHOP.basket, np.int64)
    for session, (first, end) in enumerate(pairwise(events.start)):
        draw_first(item, kind, first, week, catalogue.mass, len(catalogue.topic), SHOP, rng)
        state, pause = NOTHING, (first + 1 + end) // 2
        for begun, until in ((first + 1, pause), (pause, end)):
            state = walk_on(
                *(item, kind, basket, state, first, begun, until, week, events.opens),
                *(events.left, intent[session], *shop),
            )
    assert np.array_equal(item, whole[0])
    assert np.array_equal(kind, whole[1])
    assert len(np.unique(kind)) == 3


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
    events = events.with_columns(pl.col("type").cast(pl.UInt8).cat.to(EVENT_TYPE))
    cuts = set()
    for seed in range(50):
        visible, future = generate._cut(events, np.random.default_rng(seed))
        assert pl.concat([visible, future]).sort("session", maintain_order=True).equals(events)
        cuts.add(visible.filter(pl.col("session") == 0).height)
        labels = generate._label_lines(split.labels_of(future, "aid", zero=None)).splitlines()
        assert labels[1] == b'{"session": 1, "labels": {"orders": [4]}}'
        if visible.filter(pl.col("session") == 0).height == 2:
            written = {"clicks": 7, "carts": [5, 9], "orders": [9]}
            assert json.loads(labels[0]) == {"session": 0, "labels": written}
    assert cuts == {1, 2, 3, 4, 5}


def test_a_log_that_breaks_off_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(generate, "_label_lines", fail)
    with pytest.raises(RuntimeError):
        generate_log(tmp_path, **SMALL, seed=1)
    assert list(tmp_path.iterdir()) == []


def test_a_tiny_log_without_test_sessions_has_one_file(tmp_path: Path) -> None:
    generate_log(tmp_path, sessions=3, test_sessions=0, items=5, seed=1)
    assert [path.name for path in tmp_path.iterdir()] == ["train.jsonl"]
    assert len((tmp_path / "train.jsonl").read_text().splitlines()) == 3


def test_sizes_that_are_not_given_have_the_ratios_of_otto() -> None:
    assert default_items(12_899_779) == 1_855_603
    assert default_items(1) == 10
    assert default_test_sessions(12_899_779) == pytest.approx(1_671_803, rel=0.01)


@pytest.fixture(scope="module")
def middle(tmp_path_factory: pytest.TempPathFactory) -> Written:
    return generate_log(
        tmp_path_factory.mktemp("middle"),
        sessions=MIDDLE,
        test_sessions=default_test_sessions(MIDDLE),
        items=default_items(MIDDLE),
        seed=42,
        file_format="parquet",
        threads=2,
    )


def test_log_has_the_statistics_of_otto(middle: Written) -> None:
    comparison = compare(middle.values())
    assert comparison["allowed"].count() > 50
    # so small a log has some 80 test sessions that end with an order
    far = comparison.filter(~pl.col("near"))
    assert far.height <= 3
    assert far.filter(pl.col("deviation").abs() > 2 * pl.col("allowed")).rows() == []
    recalls = comparison.filter(pl.col("name").str.starts_with("recall"))
    assert recalls["near"].to_list() == [True] * 4


def test_what_is_too_far_from_otto_is_said(middle: Written) -> None:
    values = middle.values()
    values["labels"]["recall@20 of history: carts"] *= 1.3
    comparison = compare(values)
    lines = comparison_text(comparison).splitlines()
    far = [line for line in lines if line.endswith("too far")]
    assert any("recall@20 of history: carts" in line for line in far)
    assert lines[-1].startswith(f"{len(far)} of {comparison['allowed'].count()} ")


@pytest.mark.parametrize(("kind", "recall"), [("clicks", 0.32), ("carts", 0.31), ("orders", 0.60)])
def test_history_recalls_as_much_as_on_otto(demo: Log, kind: str, recall: float) -> None:
    assert history_recall(*demo[1:], kind) == pytest.approx(recall, rel=0.1)


def test_evenings_are_busier_than_nights(demo: Log) -> None:
    times = np.array([event["ts"] for session in demo[0] for event in session["events"]])
    local_hours = np.bincount((times - START_MS) % DAY_MS // (DAY_MS // 24), minlength=24)
    assert local_hours[19:22].min() > 5 * local_hours[2:5].max()
