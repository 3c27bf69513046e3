import json
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otto_pipeline.events.jsonl_writer import label_lines, session_lines
from otto_pipeline.schemas import EVENT_TYPE, TYPES

NUMBERS = st.integers(-(2**63), 2**63 - 1)
TEXTS = st.text(max_size=6)  # any character: quotes, control characters, other planes
IDS = {pl.Int64: NUMBERS, pl.String: TEXTS}
ID_TYPES = st.sampled_from(list(IDS))
# the first text drawn loads the table of characters
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def sessions(draw: st.DrawFn) -> tuple[list[dict[str, Any]], pl.DataFrame]:
    session_type, aid_type = draw(ID_TYPES), draw(ID_TYPES)
    event = st.builds(
        lambda aid, ts, kind: {"aid": aid, "ts": ts, "type": kind},
        IDS[aid_type],
        st.integers(0, 2**42),
        st.sampled_from(TYPES),
    )
    names = draw(st.lists(IDS[session_type], unique=True, max_size=4))
    wanted = [
        {"session": n, "events": draw(st.lists(event, min_size=1, max_size=4))} for n in names
    ]
    rows = [{"session": s["session"]} | e for s in wanted for e in s["events"]]
    schema = {"session": session_type, "aid": aid_type, "ts": pl.Int64, "type": EVENT_TYPE}
    return wanted, pl.DataFrame(rows, schema=schema)


@st.composite
def label_rows(draw: st.DrawFn) -> pl.DataFrame:
    session_type, aid_type = draw(ID_TYPES), draw(ID_TYPES)
    items = st.none() | st.lists(IDS[aid_type], max_size=3)
    row = st.fixed_dictionaries(
        {
            "session": IDS[session_type],
            "clicks": st.none() | IDS[aid_type],
            "carts": items,
            "orders": items,
        }
    )
    lists = pl.List(aid_type)
    schema = {"session": session_type, "clicks": aid_type, "carts": lists, "orders": lists}
    return pl.DataFrame(draw(st.lists(row, max_size=4)), schema=schema)


@unhurried
@given(sessions())
def test_session_lines_are_those_of_json_dumps(
    case: tuple[list[dict[str, Any]], pl.DataFrame],
) -> None:
    wanted, events = case
    assert session_lines(events).to_list() == [json.dumps(session) for session in wanted]


@unhurried
@given(label_rows())
def test_label_lines_are_those_of_json_dumps_without_empty_keys(labels: pl.DataFrame) -> None:
    wanted = [
        {
            "session": row["session"],
            "labels": {t: row[t] for t in TYPES if row[t] is not None and row[t] != []},
        }
        for row in labels.iter_rows(named=True)
    ]
    assert label_lines(labels).to_list() == [json.dumps(line) for line in wanted]


def test_sessions_keep_the_order_of_appearance_and_their_events_theirs() -> None:
    events = pl.DataFrame(
        {
            "session": [7, 7, 3],
            "aid": [2, 1, 9],
            "ts": [50, 40, 60],
            "type": ["carts", "clicks", "orders"],
        }
    )
    assert session_lines(events).to_list() == [
        '{"session": 7, "events": [{"aid": 2, "ts": 50, "type": "carts"}, '
        '{"aid": 1, "ts": 40, "type": "clicks"}]}',
        '{"session": 3, "events": [{"aid": 9, "ts": 60, "type": "orders"}]}',
    ]


@pytest.mark.parametrize("item", ['say "hi"', "back\\slash", "tab\t", "größe", "🛒", "\x7f"])
def test_string_ids_are_escaped(item: str) -> None:
    labels = pl.DataFrame({"session": [item], "clicks": [item], "carts": [[item]], "orders": [[]]})
    wanted = {"session": item, "labels": {"clicks": item, "carts": [item]}}
    assert label_lines(labels).to_list() == [json.dumps(wanted)]
