import datetime as dt
import gzip
from collections import defaultdict
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otto_pipeline.events.errors import LogError
from otto_pipeline_tests.events.shop import (
    COLUMNS,
    GOOD_ROWS,
    HOUR,
    T0,
    TYPES,
    Row,
    convert,
    csv_text,
    declare,
    many_rows,
    rejected,
    sessions,
)

# --- a slow reference ----------------------------------------------------------------------------


def is_bad_id(value: str) -> bool:
    return not value or any(character in value for character in ' ,"\n\r\t')


def is_bad(row: Row) -> bool:
    user, product, at, kind = row
    bad_time = not at.isdigit() or int(at) >= 4_102_444_800_000
    return is_bad_id(user) or is_bad_id(product) or bad_time or kind not in TYPES


def as_ids(values: list[str]) -> list[int | str]:
    whole = all(v.lstrip("-").isdigit() and str(int(v)) == v and len(v) < 19 for v in values)
    return [int(v) for v in values] if whole else list(values)


def reference(rows: list[Row], gap_ms: float | None) -> tuple[list[dict], list[int]]:
    """Sessions as they have to be written, and the numbers of the rows that are set aside."""
    bad = [n for n, row in enumerate(rows) if row[3] != "skip" and is_bad(row)]
    good = [row for n, row in enumerate(rows) if n not in bad and row[3] != "skip"]
    users = as_ids([row[0] for row in good]) if gap_ms is None else [row[0] for row in good]
    items = as_ids([row[1] for row in good])
    events = sorted(
        (int(at), n, user, item, TYPES[kind])
        for n, ((_, _, at, kind), user, item) in enumerate(zip(good, users, items, strict=True))
    )
    written: dict[object, list[dict]] = {}
    count: dict[object, int] = defaultdict(int)
    last: dict[object, int] = {}
    for at, _, user, item, kind in events:
        if gap_ms is not None and (user not in last or at - last[user] > gap_ms):
            count[user] += 1
        last[user] = at
        key = user if gap_ms is None else f"{user}.{count[user]}"
        written.setdefault(key, []).append({"aid": item, "ts": at, "type": kind})
    return [{"session": key, "events": found} for key, found in written.items()], bad


USERS = st.sampled_from(["1", "2", "3"]) | st.sampled_from(["1", "02", "anna", "", "a b"])
ITEMS = st.sampled_from(["5", "6", "-7"]) | st.sampled_from(["5", "x-1", "", "a,b", "8" * 30])
TIMES = st.sampled_from([str(T0 + hour * HOUR) for hour in (0, 1, 2, 10, 11)]) | st.sampled_from(
    [str(T0), "", "soon", "-5", "9" * 14]
)
KINDS = st.sampled_from(["view", "view", "cart", "buy"]) | st.sampled_from(["skip", "odd", ""])
ROWS = st.lists(st.tuples(USERS, ITEMS, TIMES, KINDS), min_size=1, max_size=14)


@settings(max_examples=20)
@given(rows=ROWS, cut=st.integers(0, 14), hours=st.sampled_from([None, 1, 8.5]))
def test_conversion_equals_a_slow_reference(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Row], cut: int, hours: float | None
) -> None:
    folder = declare(tmp_path_factory.mktemp("shop"), idle_gap_hours=hours)
    (folder / "a.csv").write_text(csv_text(rows[:cut]))
    (folder / "b.csv").write_text(csv_text(rows[cut:]))
    expected, bad = reference(rows, hours and hours * HOUR)
    if not expected:
        with pytest.raises(LogError, match=f"none of its {len(rows)} rows can be used"):
            convert(folder)
        return
    converted = convert(folder)
    assert sessions(converted) == expected
    places = [("a.csv", n + 2) if n < cut else ("b.csv", n - cut + 2) for n in bad]
    assert [(file, line) for file, line, _ in rejected(converted)] == places
    assert (converted.rows, converted.set_aside) == (len(rows), len(bad))
    assert converted.ignored == sum(row[3] == "skip" for row in rows)


# --- the same log in other clothes ---------------------------------------------------------------


@pytest.fixture
def expected(tmp_path: Path) -> bytes:
    folder = declare(tmp_path / "expected")
    (folder / "log.csv").write_text(csv_text(many_rows()))
    return convert(folder).train.read_bytes()


def test_parquet_with_typed_columns_gives_the_same_as_csv(tmp_path: Path, expected: bytes) -> None:
    frame = pl.DataFrame(many_rows(), COLUMNS, orient="row")
    typed = frame.with_columns(pl.col("user", "product", "at").cast(pl.Int64))
    folder = declare(tmp_path / "shop", files="log.parquet")
    typed.select("kind", pl.lit(1).alias("extra"), "at", "product", "user").write_parquet(
        folder / "log.parquet"
    )
    assert convert(folder).train.read_bytes() == expected


def test_many_files_of_several_kinds_give_the_same_as_one(tmp_path: Path, expected: bytes) -> None:
    rows = many_rows()
    folder = declare(tmp_path / "shop", files=["1.csv", "2.csv.gz", "3.parquet", "4.tsv", "?.csv"])
    (folder / "1.csv").write_text(csv_text(rows[:50]).replace("\n", "\r\n"))
    (folder / "2.csv.gz").write_bytes(gzip.compress(csv_text(rows[50:90]).encode()))
    pl.DataFrame(rows[90:91], COLUMNS, orient="row").write_parquet(folder / "3.parquet")
    (folder / "4.tsv").write_text(csv_text(rows[91:], separator="\t"))
    assert convert(folder).train.read_bytes() == expected


def test_columns_may_stand_in_another_order_and_with_others(
    tmp_path: Path, expected: bytes
) -> None:
    folder = declare(tmp_path / "shop")
    rows = [(kind, 'said "5"" TV"', at, product, user) for user, product, at, kind in many_rows()]
    header = ("kind", "title", " at ", "product", "user")
    (folder / "log.csv").write_text("\ufeff" + csv_text(rows, header, ";"))  # type: ignore[arg-type]
    assert convert(folder).train.read_bytes() == expected


def iso(ms: str) -> str:
    return dt.datetime.fromtimestamp(int(ms) / 1000, dt.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def iso_elsewhere(ms: str) -> str:
    east = dt.timezone(dt.timedelta(hours=2))
    return dt.datetime.fromtimestamp(int(ms) / 1000, east).isoformat()


@pytest.mark.parametrize(
    ("unit", "written"),
    [
        ("s", lambda ms: str(int(ms) // 1000)),
        ("s", lambda ms: f"{int(ms) / 1000:.3f}"),
        ("iso", iso),
        ("iso", iso_elsewhere),
        ("iso", lambda ms: iso(ms).removesuffix(" UTC").replace(" ", "T")),
    ],
)
def test_seconds_and_iso_strings_give_the_same_as_ms(
    tmp_path: Path, expected: bytes, unit: str, written: object
) -> None:
    folder = declare(tmp_path / "shop", time_unit=unit)
    rows = [(user, item, written(at), kind) for user, item, at, kind in many_rows()]  # type: ignore[operator]
    (folder / "log.csv").write_text(csv_text(rows))
    assert convert(folder).train.read_bytes() == expected


def test_parquet_times_are_iso(tmp_path: Path, expected: bytes) -> None:
    frame = pl.DataFrame(many_rows(), COLUMNS, orient="row")
    at = pl.from_epoch(pl.col("at").cast(pl.Int64), "ms").dt.cast_time_unit("us")
    folder = declare(tmp_path / "shop", files="log.parquet", time_unit="iso")
    frame.with_columns(at).write_parquet(folder / "log.parquet")
    assert convert(folder).train.read_bytes() == expected


# --- small rules ---------------------------------------------------------------------------------


def test_sessions_follow_in_the_order_of_their_first_events(tmp_path: Path) -> None:
    folder = declare(tmp_path)
    (folder / "log.csv").write_text(csv_text(GOOD_ROWS))
    converted = convert(folder)
    assert sessions(converted) == [
        {
            "session": 1,
            "events": [
                {"aid": 11, "ts": T0, "type": "clicks"},
                {"aid": 13, "ts": T0, "type": "orders"},
            ],
        },
        {
            "session": 2,
            "events": [
                {"aid": 12, "ts": T0 + 1, "type": "carts"},
                {"aid": 10, "ts": T0 + 5, "type": "clicks"},
            ],
        },
    ]
    assert converted.ignored == 1


def test_ids_with_a_leading_zero_stay_as_they_are_written(tmp_path: Path) -> None:
    folder = declare(tmp_path)
    (folder / "log.csv").write_text(csv_text([*GOOD_ROWS, ("01", "15", str(T0), "view")]))
    assert [session["session"] for session in sessions(convert(folder))] == ["1", "01", "2"]


def test_silence_of_exactly_the_idle_gap_begins_no_session(tmp_path: Path) -> None:
    folder = declare(tmp_path, idle_gap_hours=8)
    times = [T0, T0 + 8 * HOUR, T0 + 16 * HOUR + 1]
    (folder / "log.csv").write_text(csv_text([("7", "1", str(at), "view") for at in times]))
    found = sessions(convert(folder))
    assert [(s["session"], len(s["events"])) for s in found] == [("7.1", 2), ("7.2", 1)]


def test_lines_of_rows_set_aside_are_those_of_an_editor(tmp_path: Path) -> None:
    folder = declare(tmp_path)
    lines = [
        "user,note,product,at,kind",
        f"1,,5,{T0},view",
        "",
        '1,"a note of',
        f'two ""lines""",6,{T0},odd',  # the row that begins on line 4
        f"1,,5,{T0}",
        f"1,,5,{T0},view,more",
        f'1,5" wide,,{T0},view',
        f"1,,5,{T0},view",
        f'1,"no end,5,{T0},view',
        f'1,"note",5,{T0},view',
        f"1,,5,{T0},view",
        "1,,5,soon,view",
    ]
    (folder / "log.csv").write_bytes("\n".join(lines).encode() + b"\n1,,\xff,1,view\n")
    converted = convert(folder)
    found = rejected(converted)
    assert [line for _, line, _ in found] == [4, 6, 7, 8, 10, 11, 13, 14]
    reasons = [reason for _, _, reason in found]
    assert reasons[0] == "type 'odd' is not listed in types"
    assert reasons[3] == "item is empty"
    assert reasons[6] == "time 'soon' is not a number of milliseconds from 1970 on"
    assert "unterminated quote" in reasons[4] == reasons[5]  # both lines that the value takes
    assert "unicode" in reasons[7]
    assert (converted.rows, converted.set_aside) == (11, 8)
    assert len(sessions(converted)[0]["events"]) == 3


def test_lines_are_right_beyond_the_first_buffer_of_a_large_file(tmp_path: Path) -> None:
    rows: list[Row] = [("1", str(n), str(T0 + n), "view") for n in range(150_000)]
    for n in (0, 70_000, 149_999):
        rows[n] = ("1", "", str(T0), "view")
    folder = declare(tmp_path)
    text = csv_text(rows).splitlines()
    text[100_001] = "too,few"
    (folder / "log.csv").write_text("\n".join(text))
    assert [line for _, line, _ in rejected(convert(folder))] == [2, 70_002, 100_002, 150_001]


def test_quotation_mark_that_takes_rows_without_number_is_refused(tmp_path: Path) -> None:
    folder = declare(tmp_path)
    rows = csv_text([("1", str(n), str(T0), "view") for n in range(1000)])
    (folder / "log.csv").write_text(rows.replace(",7,", ',"7,'))
    with pytest.raises(LogError, match=r"log\.csv: line 9: a quotation mark without an end"):
        convert(folder)


def test_parquet_rows_are_counted_from_one(tmp_path: Path) -> None:
    folder = declare(tmp_path, files="log.parquet")
    rows = [*GOOD_ROWS, ("", "1", str(T0), "view")]
    pl.DataFrame(rows, COLUMNS, orient="row").write_parquet(folder / "log.parquet")
    assert rejected(convert(folder)) == [("log.parquet", 6, "session is empty")]
