"""The split command against the official results and against a slow, obvious reference."""

import gzip
import json
import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import zstandard
from hypothesis import example, given, settings
from hypothesis import strategies as st

from otto_pipeline.events.errors import LogError
from otto_pipeline.events.official import FILES, official_split
from otto_pipeline.events.split import cut, labels_of
from otto_pipeline.schemas import EVENT_TYPE, TYPES

TRAIN, TEST_FULL, TEST, TEST_LABELS = FILES
DAY = 86_400_000
T = 1_661_000_000_000

Session = dict[str, Any]


# --- the reference: one session, one event at a time ---------------------------------------------


def reference_labels(future: list[Session]) -> dict[str, Any]:
    clicks = [event["aid"] for event in future if event["type"] == "clicks"]
    labels: dict[str, Any] = {"clicks": clicks[0]} if clicks and clicks[0] else {}
    for name in ("carts", "orders"):
        items = {event["aid"] for event in future if event["type"] == name}
        if items:
            labels[name] = sorted(items)
    return labels


def reference_cuts(lengths: list[int], seed: int) -> list[int]:
    draw = random.Random(seed)
    cuts = []
    for n in lengths:
        draw.getrandbits(32)  # type check of split_events' argument
        draw.getrandbits(32)  # type check of ground_truth's argument
        cuts.append(draw.randint(1, n - 1))
    return cuts


def reference_split(sessions: list[Session], days: float, seed: int) -> dict[str, list[Session]]:
    split = max(s["events"][-1]["ts"] for s in sessions) - days * DAY
    train, test = [], []
    for session in sessions:
        if session["events"][0]["ts"] > split:
            test.append(session)
        else:
            before = [event for event in session["events"] if event["ts"] < split]
            train.append({**session, "events": before})
    train = [s for s in train if len(s["events"]) >= 2]
    known = {event["aid"] for s in train for event in s["events"]}
    full = [{**s, "events": [e for e in s["events"] if e["aid"] in known]} for s in test]
    full = [s for s in full if len(s["events"]) >= 2]
    cuts = reference_cuts([len(s["events"]) for s in full], seed)
    return {
        TRAIN: train,
        TEST_FULL: full,
        TEST: [{**s, "events": s["events"][:c]} for s, c in zip(full, cuts, strict=True)],
        TEST_LABELS: [
            {"session": s["session"], "labels": reference_labels(s["events"][c:])}
            for s, c in zip(full, cuts, strict=True)
        ],
    }


def as_text(lines: list[Session]) -> str:
    return "".join(json.dumps(line) + "\n" for line in lines)


def split_of(
    log: str | bytes, *, days: float = 2, seed: int = 42, threads: int = 1
) -> dict[str, str]:
    """The texts of the four files that the command writes."""
    with tempfile.TemporaryDirectory() as folder:
        train_set = Path(folder) / "log.jsonl"
        train_set.write_bytes(log.encode() if isinstance(log, str) else log)
        official_split(train_set, Path(folder) / "out", days=days, seed=seed, threads=threads)
        assert sorted(p.name for p in (Path(folder) / "out").iterdir()) == sorted(FILES)
        return {name: (Path(folder) / "out" / name).read_text() for name in FILES}


def session(number: int | str, *events: tuple[int | str, int, str]) -> Session:
    named = [{"aid": aid, "ts": ts, "type": kind} for aid, ts, kind in events]
    return {"session": number, "events": named}


# --- official results ----------------------------------------------------------------------------


def cases(golden: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (golden / name).read_text().splitlines()]


def test_cut_and_labels_equal_the_official_results(golden: Path) -> None:
    truncations = cases(golden, "truncation_cases.jsonl")
    assert len(truncations) == 400
    events = pl.concat(
        pl.DataFrame(
            case["events"], schema={"aid": pl.Int64, "ts": pl.Int64, "type": EVENT_TYPE}
        ).select(pl.lit(number, pl.Int64).alias("session"), "aid", "ts", "type")
        for number, case in enumerate(truncations)
    )
    cuts = pl.DataFrame({"session": range(400), "cut": [case["cut"] for case in truncations]})
    visible, future = cut(events, cuts)
    labels = labels_of(future, "aid", zero=0)
    for number, case in enumerate(truncations):
        mine = labels.filter(pl.col("session") == number)
        items = {name: mine.filter(pl.col("type") == name)["aid"].to_list() for name in TYPES}
        expected = {"clicks": [], "carts": [], "orders": []} | case["labels"]
        expected["clicks"] = [case["labels"]["clicks"]] if "clicks" in case["labels"] else []
        assert items == expected, f"case {number}"
        seen = visible.filter(pl.col("session") == number).drop("session")
        assert seen.to_dicts() == case["visible"], f"case {number}"


def test_files_equal_the_official_ones(golden: Path) -> None:
    splits = cases(golden, "split_cases.jsonl")
    assert len(splits) == 40
    for number, case in enumerate(splits):
        written = split_of(as_text(case["sessions"]), days=case["days"], seed=case["seed"])
        expected = {
            TRAIN: case["train"],
            TEST_FULL: case["test_full"],
            TEST: case["test"],
            TEST_LABELS: case["labels"],
        }
        assert written == {name: as_text(lines) for name, lines in expected.items()}, number


@pytest.mark.parametrize(
    ("name", "days"),
    [
        ("otto_official_20", 2),
        ("jd_hup_appliances", 7),
        ("retailrocket_5k_visitors", 28),
        ("rees46_oct01_head", 0.02),
    ],
)
def test_real_logs_equal_the_reference(
    real_logs: Path, tmp_path: Path, name: str, days: float
) -> None:
    log = real_logs / name / f"{name}.jsonl.gz"
    counts = official_split(log, tmp_path, days=days, seed=7)
    sessions = [json.loads(line) for line in gzip.decompress(log.read_bytes()).splitlines()]
    expected = reference_split(sessions, days, seed=7)
    for file, lines in expected.items():
        assert (tmp_path / file).read_text() == as_text(lines)
    assert counts["train_sessions"] == len(expected[TRAIN])
    assert counts["test_sessions"] == len(expected[TEST]) > 0
    assert counts["test_events"] == sum(len(s["events"]) for s in expected[TEST])
    assert counts["test_events_full"] == sum(len(s["events"]) for s in expected[TEST_FULL])


def test_cuts_equal_the_example_in_the_dataset_repository(real_logs: Path, tmp_path: Path) -> None:
    """The repository holds its script's output (src/out): of every session one event is left."""
    official_split(real_logs / "otto_official_20" / "otto_official_20.jsonl.gz", tmp_path)
    test = [json.loads(line) for line in (tmp_path / TEST).read_text().splitlines()]
    assert [len(s["events"]) for s in test] == [1] * 8


def test_cuts_of_sessions_as_long_as_in_that_example() -> None:
    lengths = [4, 2, 2, 3, 2, 2, 2, 2]
    known = session(99, *[(1, T - 3 * DAY, "clicks")] * 2)
    log = [session(i, *[(1, T, "clicks")] * n) for i, n in enumerate(lengths)]
    test = split_of(as_text([known, *log]))[TEST].splitlines()
    assert [len(json.loads(line)["events"]) for line in test] == [1] * 8


# --- random logs ---------------------------------------------------------------------------------

MOMENTS = [T - 3 * DAY, T - 2 * DAY - 1, T - 2 * DAY, T - 2 * DAY + 1, T - DAY, T]


def logs(session_ids: st.SearchStrategy[Any], aids: st.SearchStrategy[Any]) -> Any:
    """Logs full of ties, disorder, moments around the split two days before T, repeated ids."""
    event = st.builds(
        lambda aid, ts, kind: {"aid": aid, "ts": ts, "type": kind},
        aids,
        st.sampled_from(MOMENTS),
        st.sampled_from(TYPES),
    )
    events = st.lists(event, min_size=1, max_size=8)
    sessions = st.builds(lambda i, e: {"session": i, "events": e}, session_ids, events)
    return st.lists(sessions, min_size=1, max_size=30)


INTEGERS = st.integers(0, 4)
STRINGS = st.sampled_from(["0", "a", "B_1", "é", "\u2028", "back\\slash", "😀"])


@given(logs(INTEGERS, INTEGERS), st.integers(0, 9))
@settings(max_examples=50)
def test_random_logs_equal_the_reference(log: list[Session], seed: int) -> None:
    expected = reference_split(log, 2, seed)
    written = split_of(as_text(log), days=2, seed=seed)
    assert written == {name: as_text(lines) for name, lines in expected.items()}


@given(st.one_of(logs(STRINGS, STRINGS), logs(INTEGERS, STRINGS), logs(STRINGS, INTEGERS)))
@settings(max_examples=40)
@example([session("a", ("0", T - 3 * DAY, "clicks"), ("0", T - 3 * DAY, "clicks"))])
def test_string_ids_equal_the_reference(log: list[Session]) -> None:
    expected = reference_split(log, 2, seed=42)
    written = split_of(as_text(log), days=2)
    assert written == {name: as_text(lines) for name, lines in expected.items()}


@pytest.mark.parametrize("threads", [1, 3])
def test_many_blocks_equal_the_reference(monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    monkeypatch.setattr("otto_pipeline.events.jsonl.BLOCK_BYTES", 4096)
    draw = random.Random(1)
    log = [
        session(
            draw.randrange(300),
            *(
                (draw.randrange(40), T - draw.randrange(5 * DAY), draw.choice(TYPES))
                for _ in range(draw.randrange(1, 9))
            ),
        )
        for _ in range(1000)
    ]
    expected = reference_split(log, 2, seed=42)
    assert len(expected[TEST]) > 100
    written = split_of(as_text(log), threads=threads)
    assert written == {name: as_text(lines) for name, lines in expected.items()}


# --- single rules --------------------------------------------------------------------------------

KNOWN = session(0, (1, T - 3 * DAY, "clicks"), (2, T - 3 * DAY, "clicks"))


def test_session_starting_on_the_split_moment_is_lost() -> None:
    on_the_moment = session(1, (1, T - 2 * DAY, "clicks"), (2, T, "clicks"))
    last = session(2, (1, T, "clicks"), (2, T, "clicks"))
    written = split_of(as_text([KNOWN, on_the_moment, last]))
    assert written[TRAIN] == as_text([KNOWN])
    assert written[TEST_FULL] == as_text([last])


def test_moment_follows_the_last_listed_event_and_not_the_latest() -> None:
    unsorted = session(1, (1, T + 9 * DAY, "clicks"), (2, T, "clicks"))
    written = split_of(as_text([KNOWN, unsorted]))
    assert written[TRAIN] == as_text([KNOWN])
    assert written[TEST_FULL] == as_text([unsorted])


def test_next_click_on_item_0_is_no_label_and_its_line_stays() -> None:
    known = session(0, (0, T - 3 * DAY, "clicks"), (2, T - 3 * DAY, "clicks"))
    query = session(7, (2, T, "clicks"), (0, T, "clicks"))
    written = split_of(as_text([known, query]))
    assert written[TEST_LABELS] == '{"session": 7, "labels": {}}\n'


def test_adjacent_lines_of_one_session_id_stay_two_sessions() -> None:
    twin = session(1, (1, T, "clicks"), (2, T, "clicks"))
    written = split_of(as_text([KNOWN, KNOWN, twin, twin]))
    assert written[TRAIN] == as_text([KNOWN, KNOWN])
    assert written[TEST_FULL] == as_text([twin, twin])
    assert written[TEST_LABELS] == '{"session": 1, "labels": {"clicks": 2}}\n' * 2


@pytest.mark.parametrize("days", [1.5, 0, 30])
def test_days_may_be_a_fraction_none_or_longer_than_the_log(days: float) -> None:
    log = [KNOWN, session(1, (1, T - DAY, "clicks"), (2, T, "clicks"))]
    expected = reference_split(log, days, seed=42)
    assert split_of(as_text(log), days=days) == {n: as_text(s) for n, s in expected.items()}


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace(" ", ""),
        lambda text: text.rstrip("\n"),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\n", "\n\n"),
    ],
    ids=["compact", "no last line break", "carriage returns", "blank lines"],
)
def test_layout_of_the_log_does_not_matter(change: Callable[[str], str]) -> None:
    log = as_text([KNOWN, session(1, (1, T, "clicks"), (2, T, "carts"))])
    assert split_of(change(log)) == split_of(log)


def test_compressed_logs_are_read(tmp_path: Path) -> None:
    log = as_text([KNOWN, session(1, (1, T, "clicks"), (2, T, "carts"))])
    (tmp_path / "log.jsonl.gz").write_bytes(gzip.compress(log.encode()))
    (tmp_path / "log.jsonl.zst").write_bytes(zstandard.compress(log.encode()))
    for suffix in ("gz", "zst"):
        official_split(tmp_path / f"log.jsonl.{suffix}", tmp_path / suffix)
        assert {n: (tmp_path / suffix / n).read_text() for n in FILES} == split_of(log)


# --- what cannot be split ------------------------------------------------------------------------

GOOD = json.dumps(KNOWN)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"session": 5, "events": [', "truncated"),
        ('{"session": 5, "events": []}', "length"),
        (GOOD.replace('"clicks"', '"views"'), "'views'"),
        (GOOD.replace('"session": 0', '"session": "x"'), "'x'"),
        (GOOD.replace('"session": 0', '"session": 0, "user": 3'), "written back"),
        (GOOD.replace('"aid": 1', '"aid": 1, "price": 3'), "written back"),
        (GOOD.replace('"aid": 1', '"aid": 1.0'), "1.0"),
        ('{"events": [{"aid": 1, "ts": 5, "type": "clicks"}], "session": 5}', "written back"),
        (
            GOOD.replace(f'"ts": {T - 3 * DAY}, "type": "clicks"', '"type": "clicks", "ts": 5'),
            "keys",
        ),
    ],
)
def test_line_that_cannot_be_used_is_named(tmp_path: Path, line: str, reason: str) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text(f"{GOOD}\n{GOOD}\n{line}\n{GOOD}\n")
    with pytest.raises(LogError) as error:
        official_split(log, tmp_path / "out")
    message = str(error.value)
    assert message.startswith(f"{log}: line 3: ")
    assert reason in message
    assert line[:60] in message
    assert list((tmp_path / "out").iterdir()) == []


def test_line_number_counts_the_blocks_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("otto_pipeline.events.jsonl.BLOCK_BYTES", 1024)
    log = tmp_path / "log.jsonl"
    log.write_text(f"{GOOD}\n" * 500 + "oops\n")
    with pytest.raises(LogError, match="line 501: "):
        official_split(log, tmp_path / "out")


def test_line_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_bytes(f'{GOOD}\n{{"session": "'.encode() + b'\xff", "events": []}\n')
    with pytest.raises(LogError, match="line 2: "):
        official_split(log, tmp_path / "out")


@pytest.mark.parametrize("content", ["", "\n\n", "session,aid\n1,2\n"])
def test_file_without_sessions_is_named(tmp_path: Path, content: str) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text(content)
    with pytest.raises(LogError, match=r"log\.jsonl.* is a session like"):
        official_split(log, tmp_path / "out")


def test_earlier_files_stay_when_a_log_is_refused(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text(f"{GOOD}\n")
    official_split(log, tmp_path / "out")
    before = {name: (tmp_path / "out" / name).read_bytes() for name in FILES}
    log.write_text(f"{GOOD}\noops\n")
    with pytest.raises(LogError):
        official_split(log, tmp_path / "out")
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()} == before


def test_log_is_never_overwritten(tmp_path: Path) -> None:
    log = tmp_path / TRAIN
    log.write_text(f"{GOOD}\n")
    with pytest.raises(LogError, match="would be overwritten"):
        official_split(log, tmp_path)
    assert log.read_text() == f"{GOOD}\n"
