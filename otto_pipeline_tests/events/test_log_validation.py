import gzip
import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
import yaml
from click.testing import CliRunner, Result

from otto_pipeline.cli import main
from otto_pipeline.events.declaration_proposal import propose
from otto_pipeline.events.log_profile import profile_log
from otto_pipeline.events.log_windows import part_at_gaps, propose_gap, windows_of
from otto_pipeline.events.rebuild_plan import plan_rebuild
from otto_pipeline.events.shop_declaration import Declaration
from otto_pipeline.schemas import TYPES
from otto_pipeline.settings import load_settings
from otto_pipeline_tests.building import log_line, write_log
from otto_pipeline_tests.pipeline import build_until

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
T0 = 1_660_000_000_000
N_SESSIONS = 280
KINDS = ("clicks", "carts", "clicks", "orders")
Events = list[tuple[int, int, str]]
REAL_LOGS = {
    "otto_official_20": 2,
    "jd_hup_appliances": 7,
    "retailrocket_5k_visitors": 28,
    "rees46_oct01_head": 0.02,
}


def validate(data: Path, store: Path, *options: str, **environment: str) -> Result:
    runner = CliRunner(env={"OTTO_STORE_DIR": str(store), "OTTO_MEMORY_GB": "1", **environment})
    return runner.invoke(main, ["validate", str(data), *options], catch_exceptions=False)


def findings(data: Path, store: Path, **environment: str) -> dict[str, dict[str, str]]:
    result = validate(data, store, "--json", **environment)
    found = json.loads(result.output)
    assert result.exit_code == (found["verdict"] == "FAIL")
    return {finding["check"]: finding for finding in found["findings"]}


# --- a good log, and what can be wrong with one --------------------------------------------------


def session(number: int) -> Events:
    """Four events, ten minutes apart, over 40 items; one session every tenth of a day."""
    first = T0 + number * DAY // 10
    return [
        ((number * 7 + n * n) % 40, first + n * 10 * MINUTE, kind) for n, kind in enumerate(KINDS)
    ]


def good() -> dict[int | str, Events]:
    return {number: session(number) for number in range(N_SESSIONS)}


def lines(log: dict[int | str, Events]) -> list[str]:
    return [log_line(name, events) for name, events in log.items()]


def retimed(change: Callable[[int], int]) -> list[str]:
    return lines(
        {name: [(a, change(ts), k) for a, ts, k in events] for name, events in good().items()}
    )


def with_session(events: Events) -> list[str]:
    return lines({**good(), 999: events})


def of_users() -> list[str]:
    """Thirty users who come every other day, for ten events a visit."""
    return lines(
        {
            user: [
                ((user + day * 3 + n) % 40, T0 + day * DAY + user * HOUR // 2 + n * MINUTE, kind)
                for day in range(0, 28, 2)
                for n, kind in enumerate(KINDS * 2)
            ]
            for user in range(30)
        }
    )


BROKEN: dict[str, tuple[list[str], str, str, str, str]] = {
    "no JSON": (["session,aid,ts"], "format", "FAIL", "none of its first 1 lines", "It begins"),
    "microseconds": (retimed(lambda ts: ts * 1000), "format", "FAIL", "ts", "milliseconds"),
    "seconds": (retimed(lambda ts: ts // 1000), "times", "FAIL", "1970-01-20", "by 1000"),
    "one time": (retimed(lambda ts: T0), "times", "FAIL", "same time", "its own time"),
    "times of zero": (with_session([(1, 0, "clicks")]), "times", "WARN", "1970", "real time"),
    "a wrong clock": (
        with_session([(1, T0 + 9999 * DAY, "clicks")]), "clocks", "FAIL", "1 events", "remove them"
    ),
    "bad lines": (
        [*lines(good()), '{"session": 5}'], "bad lines", "FAIL", "train.jsonl, line 281", "mend"
    ),
    "ids of two kinds": (
        [*lines(good()), *lines({"x": session(1)})], "bad lines", "FAIL", "'x' is not integer", ""
    ),
    "repeated ids": (lines(good()) * 2, "session ids", "FAIL", "280 lines", "join the lines"),
    "only clicks": (
        [line.replace("carts", "clicks").replace("orders", "clicks") for line in lines(good())],
        "types", "WARN", "no carts and no orders", "mapping",
    ),
    "mapping swapped": (
        [line.replace("clicks", "orders") for line in lines(good())], "types", "WARN", "", "mapping"
    ),
    "hardly an item": (
        lines({name: [(a % 9, ts, k) for a, ts, k in ev] for name, ev in good().items()}),
        "item ids", "WARN", "9 distinct", "items' column",
    ),
    "an item an event": (
        lines({n: [(n * 9 + i, *rest) for i, (_, *rest) in enumerate(e)] for n, e in good().items()}),  # type: ignore[operator, misc]  # noqa: E501
        "item ids", "WARN", "1,120 distinct", "items' column",
    ),
    "events twice": (
        lines({name: [e for e in events for _ in "12"] for name, events in good().items()}),
        "repeated events", "WARN", "50.00%", "one of each",
    ),
    "no order": (
        lines({name: events[::-1] for name, events in good().items()}),
        "order", "WARN", "280 sessions", "sorted",
    ),
    "a bot": (
        with_session([(n % 40, T0 + n * MINUTE, "clicks") for n in range(5000)]),
        "bots", "WARN", "999 (5,000)", "crawlers",
    ),
    "sessions of one event": (
        lines({name: events[:1] for name, events in good().items()}),
        "one-event sessions", "WARN", "100.0%", "changes within a visit",
    ),
    "users": (of_users(), "idle gap", "WARN", "began before", "`idle_gap_hours: "),
    "a short log": (
        retimed(lambda ts: T0 + (ts - T0) // 28), "validation window", "WARN", "0 to test on",
        "OTTO_VALIDATION_DAYS=0.25",
    ),
    "few sessions": (lines(good())[::14], "enough to train", "WARN", "10 of a type", "longer log"),
}  # fmt: skip


def test_good_log_passes_everything(tmp_path: Path) -> None:
    folder = write_log(tmp_path / "log", {"train.jsonl": lines(good())})
    found = findings(folder, tmp_path / "store")
    assert {check: f["message"] for check, f in found.items() if f["status"] != "PASS"} == {}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_wrong_is_named_with_its_remedy(tmp_path: Path, name: str) -> None:
    content, check, status, message, remedy = BROKEN[name]
    found = findings(write_log(tmp_path / "log", {"train.jsonl": content}), tmp_path / "store")
    assert found[check]["status"] == status
    assert message in found[check]["message"]
    assert remedy in found[check]["remedy"] + found[check]["message"]


@pytest.mark.parametrize(
    ("files", "check", "said"),
    [
        ({}, "format", "holds none of train.jsonl"),
        ({"train.jsonl": b""}, "format", "is empty"),
        ({"train.jsonl": b"x", "train.jsonl.gz": b"x"}, "format", "keep one of them"),
        ({"train.jsonl": b"x", "log.yaml": b"x: y"}, "mapping", "keep one of them"),
        (
            {
                "train.jsonl": "\n".join(lines(good())).encode(),
                "test.jsonl.gz": gzip.compress("\n".join(lines(good())).encode())[:-400],
            },
            "files",
            "is cut off or damaged",
        ),
        ({"log.yaml": b"session: a"}, "mapping", "the key `files` is missing"),
    ],
)
def test_file_that_cannot_be_used_is_named(
    tmp_path: Path, files: dict[str, bytes], check: str, said: str
) -> None:
    found = findings(write_log(tmp_path / "log", files), tmp_path / "store")
    assert found[check]["status"] == "FAIL"
    assert said in found[check]["message"]


def test_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    found = findings(tmp_path / "nowhere", tmp_path)
    assert "there is no such folder or file" in found["format"]["message"]


def test_test_sessions_of_unknown_items_and_known_ids_are_named(tmp_path: Path) -> None:
    unknown = {number: [(number + 500, T0, "clicks")] for number in range(N_SESSIONS, 400)}
    files = {"train.jsonl": lines(good()), "test.jsonl": lines({0: session(0), **unknown})}
    found = findings(write_log(tmp_path / "log", files), tmp_path / "store")
    assert found["test file"]["status"] == "WARN"
    assert "1 lines" in found["session ids"]["message"]


# --- real logs -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", REAL_LOGS)
def test_real_log_is_fit_for_a_rebuild(real_logs: Path, tmp_path: Path, name: str) -> None:
    found = findings(real_logs / name, tmp_path)
    assert [check for check, f in found.items() if f["status"] == "FAIL"] == []
    assert f"{name}.jsonl.gz" in found["name"]["remedy"]
    has_many = found["one-event sessions"]["status"] == "WARN"
    assert has_many == (name == "retailrocket_5k_visitors")


@pytest.mark.parametrize("name", REAL_LOGS)
def test_window_leaves_what_the_pipeline_finds(real_logs: Path, tmp_path: Path, name: str) -> None:
    path, days = real_logs / name / f"{name}.jsonl.gz", REAL_LOGS[name]
    window = windows_of(profile_log({"train": path}, seed=42), days, seed=42).configured
    made = build_until("validation/labels", tmp_path, path, validation_days=days)
    labels = made["validation/labels"].read()
    of_type = {kind: labels.filter(pl.col("type") == kind) for kind in TYPES}
    assert window.labels == {kind: rows.height for kind, rows in of_type.items()}
    assert window.labelled == {kind: rows["session"].n_unique() for kind, rows in of_type.items()}


# --- gaps, plan, text ----------------------------------------------------------------------------


def test_gap_lies_where_silences_are_rare() -> None:
    silences = [0, *([MINUTE] * 30 + [HOUR] * 3 + [20 * HOUR]) * 5]
    sample = pl.DataFrame({"ts": silences}).with_columns(pl.col("ts").cum_sum(), session=pl.lit(1))
    assert propose_gap(sample) in {2, 4, 8}
    assert part_at_gaps(sample, 8)["session"].n_unique() == 6


def test_plan_grows_with_events_and_shrinks_with_threads() -> None:
    one, four = (
        plan_rebuild(10_000_000, load_settings({"OTTO_THREADS": threads})) for threads in "14"
    )
    assert [step.scale for step in one.steps] == ["pct1", "pct10", "full"]
    assert one.steps[0].seconds < one.steps[1].seconds < one.steps[2].seconds
    assert one.steps[2].seconds > 3 * four.steps[2].seconds
    assert not plan_rebuild(10**10, load_settings({"OTTO_MEMORY_GB": "1"})).fits(
        plan_rebuild(10**10, load_settings({})).steps[2]
    )


def test_text_shows_findings_remedies_and_plan(tmp_path: Path) -> None:
    folder = write_log(tmp_path / "log", {"train.jsonl": lines(good()) * 2})
    result = validate(folder, tmp_path / "store")
    assert result.exit_code == 1
    assert "FAIL  session ids: 280 lines (50.00%) repeat" in result.output
    assert "      → only the first line of an id is used" in result.output
    assert "  full   " in result.output
    assert result.output.endswith("verdict: FAIL\n")


def test_sample_of_a_large_log_tells_about_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = {n: [(a, ts // 10 * 10, k) for a, ts, k in session(n % 280)] for n in range(5600)}
    folder = write_log(tmp_path, {"train.jsonl": lines(many)})
    files = {"train": folder / "train.jsonl"}
    whole = windows_of(profile_log(files, 1), 7, 1).configured  # type: ignore[arg-type]
    monkeypatch.setattr("otto_pipeline.events.log_profile.SAMPLE_EVENTS", 5_000)
    sampled = profile_log(files, 1)  # type: ignore[arg-type]
    assert sampled.sample["session"].n_unique() < 2000
    estimated = windows_of(sampled, 7, 1).configured
    assert estimated.sessions == pytest.approx(whole.sessions, rel=0.2)
    assert estimated.labels["clicks"] == pytest.approx(whole.labels["clicks"], rel=0.2)


# --- logs of other shops -------------------------------------------------------------------------

SHOPS = {
    "retailrocket": (
        "timestamp,visitorid,event,itemid,transactionid",
        lambda n, ts: f"{ts},{n % 50},{('view', 'addtocart', 'transaction')[n % 3]},{n % 40},",
        {"session": "visitorid", "time_unit": "ms", "idle_gap_hours": 8},
    ),
    "rees46": (
        "event_time,event_type,product_id,price,user_id,user_session",
        lambda n, ts: (
            f"2019-10-{1 + n // 50:02d} 00:{n % 50:02d}:00 UTC,"
            f"{('view', 'cart', 'purchase', 'remove_from_cart')[n % 4]},{n % 40},9.5,1,s-{n // 3}"
        ),
        {"session": "user_session", "time_unit": "iso", "idle_gap_hours": None},
    ),
    "taobao": (
        "user_id;item_id;category_id;behavior;ts",
        lambda n, ts: f"{n % 50};{n % 40};7;{('pv', 'cart', 'buy', 'fav')[n % 4]};{ts // 1000}",
        {"session": "user_id", "time_unit": "s", "idle_gap_hours": 8},
    ),
    "unnamed": (
        "a,when it was,what",
        lambda n, ts: f"{n},{ts},{('click', 'order')[n % 2]}",
        {"time": "when it was", "type": "what", "session": "FILL_IN", "item": "FILL_IN"},
    ),
}


@pytest.mark.parametrize("name", SHOPS)
def test_tables_without_a_declaration_get_a_proposal(tmp_path: Path, name: str) -> None:
    header, row, expected = SHOPS[name]
    rows = [row(n, T0 + n * HOUR) for n in range(600)]
    folder = write_log(tmp_path / "shop", {"log.csv": [header, *rows]})
    found = findings(folder, tmp_path / "store")["mapping"]
    assert found["status"] == "FAIL"
    proposal = propose([folder / "log.csv"])
    assert proposal in found["remedy"]
    declaration = Declaration(**yaml.load(proposal, yaml.BaseLoader))
    assert declaration.model_dump(include=set(expected)) == expected
    if "FILL_IN" in expected.values():
        return
    (folder / "log.yaml").write_text(proposal)
    found = findings(folder, tmp_path / "store")
    assert [check for check, f in found.items() if f["status"] == "FAIL"] == []
    assert list((tmp_path / "store").iterdir()) == []  # what was converted is gone


@pytest.mark.parametrize(
    ("change", "check", "said"),
    [
        (("itemid\n", "produktid\n"), "mapping", "has no such column: 'produktid'"),
        (("time_unit: ms", "time_unit: s"), "mapping", "is not a number of seconds"),
        (("view:", "vue:"), "bad lines", "log.csv, line 2: type 'view' is not listed in types"),
    ],
)
def test_declaration_that_does_not_fit_is_named(
    tmp_path: Path, change: tuple[str, str], check: str, said: str
) -> None:
    header, row, _ = SHOPS["retailrocket"]
    declaration = (
        "files: log.csv\nsession: visitorid\nitem: itemid\ntime: timestamp\ntime_unit: ms\n"
        "type: event\ntypes: {view: clicks, addtocart: carts, transaction: orders}\n"
    )
    rows = [row(n, T0 + n * HOUR) for n in range(600)]
    files = {"log.csv": [header, *rows], "log.yaml": declaration.replace(*change).encode()}
    found = findings(write_log(tmp_path / "shop", files), tmp_path / "store")
    assert found[check]["status"] == "FAIL"
    assert said in found[check]["message"]
