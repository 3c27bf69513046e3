import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otto_pipeline.events.hashing import hash_ids
from otto_pipeline.events.split import (
    DAY_MS,
    cut,
    hashed_cuts,
    keep_known,
    labels_of,
    split_moment,
    train_part,
)
from otto_pipeline.events.split import (
    test_part as part_to_test,
)
from otto_pipeline_tests.logs import frame, random_events

MOMENT = 100_000


def test_split_moment_lies_whole_or_broken_days_before_the_last_event() -> None:
    assert split_moment(10 * DAY_MS, 7) == 3 * DAY_MS
    assert split_moment(10 * DAY_MS, 0.5) == 9.5 * DAY_MS


def test_session_starting_on_the_split_moment_is_dropped() -> None:
    events = frame((0, 1, 100, "clicks"), (0, 2, 101, "clicks"))
    assert train_part(events, MOMENT).height == 0
    assert part_to_test(events, MOMENT).height == 0


def test_session_across_the_split_moment_loses_its_tail() -> None:
    events = frame(*((0, aid, second, "clicks") for aid, second in ((1, 98), (2, 99), (3, 100))))
    assert train_part(events, MOMENT)["aid"].to_list() == [1, 2]


def test_train_session_needs_two_events_before_the_split_moment() -> None:
    assert train_part(frame((0, 1, 99, "clicks"), (0, 2, 100, "clicks")), MOMENT).height == 0


def test_query_session_needs_two_events_of_known_items() -> None:
    events = frame(
        (0, 1, 200, "clicks"), (0, 5, 201, "clicks"), (1, 1, 200, "clicks"), (1, 2, 200, "clicks")
    )
    kept = keep_known(part_to_test(events, MOMENT), pl.col("aid") < 5)
    assert kept["session"].to_list() == [1, 1]


def test_next_click_on_item_zero_is_no_label_and_hides_the_one_after() -> None:
    future = frame((0, 0, 1, "clicks"), (0, 3, 2, "clicks"), (0, 0, 3, "carts"))
    found = labels_of(future, "aid", zero=0)
    assert found.select("type", "aid").rows() == [("carts", 0)]
    assert labels_of(future, "aid", zero=None).height == 2


@given(events=random_events(), moment=st.integers(0, 20 * 86_400_000), seed=st.integers(0, 99))
@settings(max_examples=80)
def test_split_equals_the_rules_in_plain_python(
    events: pl.DataFrame, moment: int, seed: int
) -> None:
    by_session = {
        session: rows.select("aid", "ts", "type").rows()
        for (session,), rows in events.group_by("session", maintain_order=True)
    }
    train = {
        session: [row for row in rows if row[1] < moment]
        for session, rows in by_session.items()
        if rows[0][1] <= moment
    }
    train = {session: rows for session, rows in train.items() if len(rows) >= 2}
    assert _as_lists(train_part(events, moment)) == train
    known = sorted({row[0] for rows in train.values() for row in rows})
    queries = keep_known(part_to_test(events, moment), pl.col("aid").is_in(known))
    expected = {
        session: [row for row in rows if row[0] in known]
        for session, rows in by_session.items()
        if rows[0][1] > moment
    }
    expected = {session: rows for session, rows in expected.items() if len(rows) >= 2}
    assert _as_lists(queries) == expected

    sessions = pl.DataFrame({"session": list(by_session)}, schema={"session": pl.Int32})
    sessions = sessions.with_columns(hash=hash_ids(sessions["session"]))
    cuts = hashed_cuts(queries, sessions, seed)
    visible, future = cut(queries, cuts)
    for session, place in cuts.rows():
        rows = expected[session]
        assert 1 <= place < len(rows)
        assert _as_lists(visible)[session] == rows[:place]
        assert _as_lists(future)[session] == rows[place:]
        clicks = [row[0] for row in rows[place:] if row[2] == "clicks"][:1]
        labels = {("clicks", aid) for aid in clicks} | {
            (row[2], row[0]) for row in rows[place:] if row[2] != "clicks"
        }
        found = labels_of(future, "aid", zero=None).filter(pl.col("session") == session)
        assert set(found.select("type", "aid").rows()) == labels
        assert found.height == len(labels)


def _as_lists(events: pl.DataFrame) -> dict[int, list[tuple]]:
    return {
        session: rows.select("aid", "ts", "type").rows()
        for (session,), rows in events.group_by("session", maintain_order=True)
    }


@pytest.mark.parametrize("seed", [1, 2])
def test_hashed_cut_does_not_depend_on_the_order_of_sessions(seed: int) -> None:
    rows = [(s, aid, aid, "clicks") for s in range(50) for aid in range(8)]
    sessions = pl.DataFrame({"session": np.arange(50, dtype=np.int32)})
    sessions = sessions.with_columns(hash=hash_ids(sessions["session"]))
    forward = hashed_cuts(frame(*rows), sessions, seed).sort("session")
    backward = hashed_cuts(frame(*reversed(rows)), sessions.reverse(), seed).sort("session")
    assert forward.equals(backward)
    assert set(forward["cut"]) == set(range(1, 8))


def test_another_seed_cuts_elsewhere() -> None:
    rows = [(s, aid, aid, "clicks") for s in range(50) for aid in range(8)]
    sessions = pl.DataFrame({"session": np.arange(50, dtype=np.int32)})
    sessions = sessions.with_columns(hash=hash_ids(sessions["session"]))
    one, two = (hashed_cuts(frame(*rows), sessions, seed) for seed in (1, 2))
    assert not one.equals(two)
