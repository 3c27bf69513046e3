import gzip
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import patch

import polars as pl
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from otto_pipeline.events import ingest, jsonl
from otto_pipeline.events.errors import LogError
from otto_pipeline.schemas import TYPES
from otto_pipeline.store.dataset import Dataset
from otto_pipeline_tests.building import (
    Artifacts,
    Event,
    build_log,
    build_until,
    decoded,
    log_line,
    set_aside,
    write_log,
)

SMALL_SHARD = 200
"""Bytes of about two short lines."""


def reasons(made: Artifacts) -> list[str]:
    return made["log/quarantine"].read()["reason"].to_list()


# --- dense ids and order


@pytest.mark.parametrize("largest", [12, 2**62])  # with few gaps between ids, and with many
def test_items_are_numbered_in_the_order_of_their_ids(tmp_path: Path, largest: int) -> None:
    lines = [
        log_line(9, [(10, 50, "clicks"), (-3, 60, "carts")]),
        log_line(4, [(largest, 40, "orders"), (10, 45, "clicks")]),
    ]
    made = build_log(tmp_path, lines)
    assert made["log/items"].read().rows() == [(0, -3, 60), (1, 10, 45), (2, largest, 40)]
    assert made["log/events"].read().rows() == [
        (0, 1, 50, "clicks"),
        (0, 0, 60, "carts"),
        (1, 2, 40, "orders"),
        (1, 1, 45, "clicks"),
    ]


def test_sessions_are_numbered_in_the_order_of_the_log_train_first(tmp_path: Path) -> None:
    made = build_log(
        tmp_path,
        {
            "test.jsonl": [log_line(1, [(7, 90, "clicks")])],
            "train.jsonl": [
                log_line(30, [(7, 50, "clicks"), (8, 60, "carts")]),
                log_line(20, [(8, 10, "clicks")]),
            ],
        },
    )
    assert made["log/sessions"].read().drop("hash").rows() == [
        (0, 30, 2, 50, 60, False, 0),
        (1, 20, 1, 10, 10, False, 1),
        (2, 1, 1, 90, 90, True, 0),
    ]


def test_ids_may_be_strings(tmp_path: Path) -> None:
    lines = [
        log_line("zoé", [("b", 1, "clicks"), ("B", 2, "carts"), ("10", 3, "clicks")]),
        log_line("a_1", [("9", 1, "clicks"), ("é", 2, "clicks")]),
    ]
    made = build_log(tmp_path, lines)
    assert made["log/items"].read()["item_id"].to_list() == ["10", "9", "B", "b", "é"]
    assert made["log/sessions"].read()["session_id"].to_list() == ["zoé", "a_1"]
    assert [item for _, item, _, _ in decoded(made)] == ["b", "B", "10", "9", "é"]


def test_unsorted_events_are_sorted_stably_and_their_sessions_counted(tmp_path: Path) -> None:
    lines = [
        log_line(1, [(5, 30, "clicks"), (3, 10, "clicks"), (4, 10, "carts"), (2, 10, "orders")]),
        log_line(2, [(9, 10, "clicks"), (8, 10, "carts")]),
        log_line(3, [(5, 20, "clicks"), (5, 10, "clicks")]),
    ]
    made = build_log(tmp_path, lines)
    assert made["log/parsed"].total("unsorted_sessions") == 2
    assert decoded(made) == [
        (1, 3, 10, "clicks"),
        (1, 4, 10, "carts"),
        (1, 2, 10, "orders"),
        (1, 5, 30, "clicks"),
        (2, 9, 10, "clicks"),
        (2, 8, 10, "carts"),
        (3, 5, 10, "clicks"),
        (3, 5, 20, "clicks"),
    ]
    assert made["log/sessions"].read().select("first_ts", "last_ts").row(0) == (10, 30)


# --- quarantine


def test_quarantine_names_file_and_line_across_files_shards_and_blank_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest, "SHARD_BYTES", SMALL_SHARD)
    good = [log_line(i, [(1, i, "clicks")]) for i in range(40)]
    train = [*good[:9], "oops", *good[9:15], "", "", '{"session": 1}', *good[15:20], "[]"]
    test = ["{}", *good[20:35], "", "null", *good[35:]]
    made = build_log(
        tmp_path, {"train.jsonl": train, "test.jsonl": test}, max_quarantined_share=0.2
    )
    assert len(made["log/parsed"].files) > 10
    expected = [("train.jsonl", 10), ("train.jsonl", 19), ("train.jsonl", 25)]
    assert set_aside(made) == [*expected, ("test.jsonl", 1), ("test.jsonl", 18)]
    shown = [reason.rsplit(": ", 1)[1] for reason in reasons(made)]
    assert shown == ["oops", "1}", "[]", "{}", "null"]
    assert made["log/sessions"].manifest.rows == 40
    figures = made["log/quarantine"].figures()
    assert (figures["lines"], figures["quarantined"]) == (len(train) + len(test), 5)
    assert figures["share"] == 5 / (len(train) + len(test))


@pytest.mark.parametrize("shard_bytes", [SMALL_SHARD, 2**28])
def test_line_that_repeats_a_session_id_is_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shard_bytes: int
) -> None:
    monkeypatch.setattr(ingest, "SHARD_BYTES", shard_bytes)
    train = [log_line(i, [(i, i, "clicks")]) for i in (1, 2, 2, 3, 4, 5, 6, 7, 8, 9, 1)]
    test = [log_line(i, [(50 + i, i, "carts")]) for i in (10, 3, 11, 12, 13, 10)]
    made = build_log(tmp_path, {"train.jsonl": train, "test.jsonl": test}, max_quarantined_share=1)
    assert set_aside(made) == [
        ("train.jsonl", 3),
        ("train.jsonl", 11),
        ("test.jsonl", 2),
        ("test.jsonl", 6),
    ]
    assert reasons(made) == [f"session {i} is on an earlier line" for i in (2, 1, 3, 10)]
    assert made["log/quarantine"].figures()["repeated_sessions"] == 4
    assert made["log/sessions"].read()["session_id"].to_list() == [*range(1, 10), 10, 11, 12, 13]
    assert decoded(made) == [
        *((i, i, i, "clicks") for i in range(1, 10)),
        *((i, 50 + i, i, "carts") for i in range(10, 14)),
    ]
    assert 53 not in made["log/items"].read()["item_id"]


def test_too_many_malformed_lines_are_refused_with_the_first_of_them(tmp_path: Path) -> None:
    good = [log_line(i, [(1, i, "clicks")]) for i in range(20)]
    lines = [*good[:3], "oops", *good[3:], *(["{}"] * 8), good[0]]
    with pytest.raises(LogError) as error:
        build_log(tmp_path, lines, max_quarantined_share=0.3)
    message = str(error.value)
    assert "10 of 30 lines of the log (33.33%) are malformed or repeat a session id" in message
    assert "30.00% that OTTO_MAX_QUARANTINED_SHARE allows. Mend the log or raise" in message
    assert "train.jsonl, line 4: JSON is malformed: invalid character (byte 0): oops" in message
    assert message.count("train.jsonl, line") == ingest.SHOWN_LINES
    made = build_log(tmp_path, lines, max_quarantined_share=0.34)
    assert made["log/sessions"].manifest.rows == 20


def test_share_on_the_limit_passes(tmp_path: Path) -> None:
    lines = [log_line(1, [(1, 1, "clicks")]), "", "", "oops"]
    made = build_log(tmp_path, lines, max_quarantined_share=0.25)
    assert set_aside(made) == [("train.jsonl", 4)]


def test_good_log_has_nothing_in_quarantine(tmp_path: Path) -> None:
    made = build_log(tmp_path, [log_line(1, [(1, 1, "clicks")])])
    assert made["log/quarantine"].read().shape == (0, 3)
    assert made["log/quarantine"].figures()["share"] == 0


@st.composite
def random_files(draw: st.DrawFn) -> dict[str, list[str]]:
    """A train file and perhaps a test file with good, malformed, blank and repeated lines."""
    event = st.tuples(st.integers(0, 5), st.integers(0, 9), st.sampled_from(TYPES))
    good = st.builds(log_line, st.integers(0, 12), st.lists(event, min_size=1, max_size=4))
    bad = st.sampled_from(["oops", "{}", log_line(1, []), log_line("a", [(1, 1, "clicks")])])
    line = st.one_of(good, good, good, bad, st.sampled_from(["", " \r"]))
    files = {"train.jsonl": [draw(good), *draw(st.lists(line, max_size=14))]}
    if draw(st.booleans()):
        files["test.jsonl"] = draw(st.lists(line, min_size=1, max_size=8))
    return files


def slow_ingest(files: dict[str, list[str]]) -> tuple[list[Event], list[tuple[str, int]]]:
    """Events of the good lines, and the other lines that are not blank."""
    events: list[Event] = []
    others: list[tuple[str, int]] = []
    seen = set()
    for name, lines in files.items():
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            session = json.loads(line) if line.startswith("{") else {}
            key = session.get("session")
            if not session.get("events") or isinstance(key, str) or key in seen:
                others.append((name, number))
                continue
            seen.add(key)
            found = sorted(session["events"], key=lambda event: event["ts"])
            events += [(key, event["aid"], event["ts"], event["type"]) for event in found]
    return events, others


@given(
    files=random_files(),
    shard_bytes=st.sampled_from([SMALL_SHARD, 600, 2**28]),
    block_bytes=st.sampled_from([64, 2**24]),
)
@settings(max_examples=25)
def test_every_line_is_ingested_or_set_aside(
    files: dict[str, list[str]], shard_bytes: int, block_bytes: int
) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        patch.object(ingest, "SHARD_BYTES", shard_bytes),
        patch.object(jsonl, "BLOCK_BYTES", block_bytes),
    ):
        made = build_log(Path(folder), files, max_quarantined_share=1)
        events, others = slow_ingest(files)
        assert decoded(made) == events
        assert set_aside(made) == others
        n_sessions = len({session for session, *_ in events})
        assert made["log/sessions"].read()["session"].to_list() == list(range(n_sessions))
        blank = sum(not line.strip() for lines in files.values() for line in lines)
        lines = made["log/parsed"].total("lines")
        assert lines == sum(map(len, files.values()))
        assert made["log/sessions"].manifest.rows + len(others) + blank == lines


# --- shards and packings


def many_lines(sessions: int) -> list[str]:
    return [
        log_line(
            7 * i % 10_007,
            [((i * j) % 97, 1_000 * i - 300 * (j % 3), TYPES[j % 3]) for j in range(1, 3 + i % 5)],
        )
        for i in range(1, sessions)
    ]


def without_places(dataset: Dataset) -> pl.DataFrame:
    """Content of a dataset without what depends on where files and shards begin."""
    frame = dataset.read()
    return frame.drop("line") if "session_id" in frame.columns else frame


@pytest.mark.parametrize("shard_bytes", [100, 500, 1500])
def test_shards_leave_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shard_bytes: int
) -> None:
    lines = many_lines(26)
    files = {"train.jsonl": [*lines[:15], "oops", *lines[5:10]], "test.jsonl": lines[15:]}
    given = {"max_quarantined_share": 0.5}
    whole = build_log(tmp_path, files, **given)
    assert len(whole["log/events"].files) == 2
    monkeypatch.setattr(ingest, "SHARD_BYTES", shard_bytes)
    cut = build_until("log/events", tmp_path / "cut", tmp_path / "data", **given)
    assert len(cut["log/events"].files) > 3
    for path in ("log/quarantine", "log/sessions", "log/items", "log/events"):
        assert without_places(cut[path]).equals(without_places(whole[path])), path
    assert set_aside(whole) == [("train.jsonl", line) for line in range(16, 22)]


def packed(content: bytes) -> dict[str, bytes]:
    half = content.index(b"\n", len(content) // 2) + 1
    compressor = zstandard.ZstdCompressor()
    return {
        "train.jsonl": content,
        "train.jsonl.gz": gzip.compress(content[:half]) + gzip.compress(content[half:]),
        "train.jsonl.zst": compressor.compress(content[:half])
        + compressor.compress(content[half:]),
        "train_sessions.jsonl": content,
    }


def test_packing_and_name_leave_no_trace(tmp_path: Path) -> None:
    content = "\n".join([*many_lines(60), "oops"]).encode()
    hashes = []
    for name, data in packed(content).items():
        made = build_log(tmp_path / name, {name: data}, max_quarantined_share=0.5)
        assert set_aside(made) == [(name, 60)]
        paths = ("log/parsed", "log/sessions", "log/items", "log/events")
        hashes.append([made[path].layout for path in paths])
    assert hashes == [hashes[0]] * 4


def test_one_file_may_be_the_log(tmp_path: Path) -> None:
    write_log(tmp_path, {"october.jsonl": many_lines(5)})
    made = build_until("log/events", tmp_path / "store", tmp_path / "october.jsonl")
    assert made["log/sessions"].read()["is_test"].to_list() == [False] * 4


# --- logs that cannot be used


def test_unset_data_dir_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LogError, match="OTTO_DATA_DIR is not set: set it to a folder with train"):
        build_until("log/events", tmp_path / "store", None)


def test_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LogError, match=r"OTTO_DATA_DIR=.*/nowhere: there is no such folder"):
        build_until("log/events", tmp_path / "store", tmp_path / "nowhere")


GOOD = [log_line(1, [(1, 1, "clicks")])]


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({"train.jsonl": b""}, "train.jsonl: is empty"),
        ({"train.jsonl": GOOD, "test.jsonl": b""}, "test.jsonl: is empty"),
        ({"train.jsonl.gz": gzip.compress(b"")}, "train.jsonl.gz: none of its first 0 lines"),
        ({"train.jsonl": ["oops"]}, "train.jsonl: none of its first 1 lines is a session"),
        ({}, "holds none of train.jsonl, train.jsonl.gz"),
        ({"readme.txt": ["hello"]}, "holds none of train.jsonl, train.jsonl.gz"),
        ({"test.jsonl": GOOD}, "it holds test.jsonl: name one of them"),
        ({"october.jsonl": GOOD}, "it holds october.jsonl: name one of them"),
        (
            {"train.jsonl": GOOD, "train.jsonl.gz": gzip.compress(b"")},
            "holds train.jsonl, train.jsonl.gz; keep one of them",
        ),
        (
            {"train.jsonl": GOOD, "train_sessions.jsonl": GOOD},
            "holds train.jsonl, train_sessions.jsonl; keep one of them",
        ),
        (
            {"train.jsonl": GOOD, "test.jsonl": GOOD, "test_sessions.jsonl.zst": GOOD},
            "holds test.jsonl, test_sessions.jsonl.zst; keep one of them",
        ),
        ({"train.jsonl.gz": gzip.compress(b"{}\n" * 99)[:-9]}, "train.jsonl.gz: is cut off"),
    ],
)
def test_log_that_cannot_be_used_is_refused_by_name(
    tmp_path: Path, files: dict[str, Sequence[str] | bytes], complaint: str
) -> None:
    with pytest.raises(LogError) as error:
        build_log(tmp_path, files)
    assert complaint in str(error.value)
    assert str(tmp_path / "data") in str(error.value)


def test_file_with_another_ending_is_refused(tmp_path: Path) -> None:
    write_log(tmp_path, {"log.txt": GOOD})
    with pytest.raises(LogError, match=r"log\.txt: is not a log: its name must end in \.jsonl, "):
        build_until("log/events", tmp_path / "store", tmp_path / "log.txt")


def test_log_is_read_anew_when_its_content_changes_only(tmp_path: Path) -> None:
    first = build_log(tmp_path, GOOD)["log/events"]
    time = first.files[0].stat().st_mtime_ns
    write_log(tmp_path / "data", {"train.jsonl": GOOD})  # a new time, the same content
    assert (
        build_until("log/events", tmp_path / "store", tmp_path / "data")["log/events"]
        .files[0]
        .stat()
        .st_mtime_ns
        == time
    )
    changed = build_log(tmp_path, [log_line(1, [(2, 1, "clicks")])])
    assert decoded(changed) == [(1, 2, 1, "clicks")]
