import json
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otto_pipeline.events.jsonl_writer import label_lines, session_lines
from otto_pipeline.schemas import EVENT_TYPE, TYPES

NUMBERS = st.integers(-(2**63), 2**63 - 1)
TEXTS = st.text(max_size=6)  # any character: quotes, control characters, other planes
IDS = {pl.Int64: NUMBERS, pl.String: TEXTS}
ID_TYPES = st.sampled_from(list(IDS))


def lines_of(written: bytes) -> list[str]:
    assert not written or written.endswith(b"\n")
    return written.decode("ascii").split("\n")[:-1]


@st.composite
def sessions(draw: st.DrawFn) -> tuple[list[dict[str, Any]], pl.DataFrame]:
    id_type, aid_type = draw(ID_TYPES), draw(ID_TYPES)
    event = st.builds(
        lambda aid, ts, kind: {"aid": aid, "ts": ts, "type": kind},
        IDS[aid_type],
        NUMBERS | st.integers(0, 2**42),
        st.sampled_from(TYPES),
    )
    names = draw(st.lists(IDS[id_type], max_size=4))  # an id may be on several lines
    wanted = [
        {"session": n, "events": draw(st.lists(event, min_size=1, max_size=4))} for n in names
    ]
    rows = [
        {"session": number, "session_id": s["session"]} | e
        for number, s in enumerate(wanted)
        for e in s["events"]
    ]
    schema = {
        "session": pl.Int64,
        "session_id": id_type,
        "aid": aid_type,
        "ts": pl.Int64,
        "type": EVENT_TYPE,
    }
    return wanted, pl.DataFrame(rows, schema=schema)


@st.composite
def labelled(draw: st.DrawFn) -> tuple[list[dict[str, Any]], pl.DataFrame, pl.DataFrame]:
    """What is to be written; sessions, some without a label; their labels."""
    id_type, aid_type = draw(ID_TYPES), draw(ID_TYPES)
    items = st.lists(IDS[aid_type], min_size=1, max_size=3)
    label = st.fixed_dictionaries({}, optional=dict.fromkeys(TYPES, items))
    wanted, rows = [], []
    names = draw(st.lists(IDS[id_type], max_size=4))
    for number, name in enumerate(names):
        labels = draw(label)
        if "clicks" in labels:
            labels["clicks"] = labels["clicks"][:1]
        rows += [(number, kind, aid) for kind in TYPES for aid in labels.get(kind, [])]
        values = {kind: labels[kind] for kind in TYPES if kind in labels}
        if "clicks" in values:
            values["clicks"] = values["clicks"][0]
        wanted.append({"session": name, "labels": values})
    frame = pl.DataFrame(
        {"session": range(len(names)), "session_id": names},
        schema={"session": pl.Int64, "session_id": id_type},
    )
    schema = {"session": pl.Int64, "type": EVENT_TYPE, "aid": aid_type}
    return wanted, frame, pl.DataFrame(rows, schema=schema, orient="row")


@given(sessions())
def test_session_lines_are_those_of_json_dumps(
    case: tuple[list[dict[str, Any]], pl.DataFrame],
) -> None:
    wanted, events = case
    assert lines_of(session_lines(events)) == [json.dumps(session) for session in wanted]


@pytest.mark.parametrize("sign", [1, -1])
def test_integers_of_every_length_are_written(sign: int) -> None:
    numbers = {sign * (10**n + d) for n in range(19) for d in (-1, 0, 1)} | {2**63 - 1, -(2**63)}
    for number in numbers:
        events = pl.DataFrame(
            {"session": [0], "session_id": [number], "aid": [number], "ts": [number]}
        ).with_columns(type=pl.lit("carts", EVENT_TYPE))
        event = {"aid": number, "ts": number, "type": "carts"}
        wanted = json.dumps({"session": number, "events": [event]})
        assert lines_of(session_lines(events)) == [wanted]


@given(labelled())
def test_label_lines_are_those_of_json_dumps_without_empty_keys(
    case: tuple[list[dict[str, Any]], pl.DataFrame, pl.DataFrame],
) -> None:
    wanted, sessions, labels = case
    assert lines_of(label_lines(sessions, labels)) == [json.dumps(line) for line in wanted]


def test_sessions_keep_the_order_of_appearance_and_their_events_theirs() -> None:
    events = pl.DataFrame(
        {
            "session": [7, 7, 3],
            "session_id": [1, 1, 1],
            "aid": [2, 1, 9],
            "ts": [50, 40, 60],
            "type": ["carts", "clicks", "orders"],
        },
        schema_overrides={"session": pl.Int32, "aid": pl.Int32, "type": EVENT_TYPE},
    )
    wanted = [
        '{"session": 1, "events": [{"aid": 2, "ts": 50, "type": "carts"}, '
        '{"aid": 1, "ts": 40, "type": "clicks"}]}',
        '{"session": 1, "events": [{"aid": 9, "ts": 60, "type": "orders"}]}',
    ]
    assert lines_of(session_lines(events)) == wanted
    as_text = events.with_columns(pl.col("aid").cast(pl.String))
    assert lines_of(session_lines(as_text))[1] == wanted[1].replace("9", '"9"')


@pytest.mark.parametrize("item", ['say "hi"', "back\\slash", "tab\t", "größe", "🛒", "\x7f"])
def test_string_ids_are_escaped(item: str) -> None:
    sessions = pl.DataFrame({"session": [0], "session_id": [item]})
    labels = pl.DataFrame({"session": [0, 0], "type": ["clicks", "carts"], "aid": [item, item]})
    wanted = {"session": item, "labels": {"clicks": item, "carts": [item]}}
    assert lines_of(label_lines(sessions, labels)) == [json.dumps(wanted)]
