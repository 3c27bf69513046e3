"""Which training sessions are cut, where, and what the lane of a half sees."""

import json
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otto_pipeline.events.halves import (
    ENOUGH_SESSIONS,
    FEW_SESSIONS,
    HALVES,
    choose,
    half_of,
    lacking_sessions,
    possible_cuts,
)
from otto_pipeline.events.hashing import hash_ids
from otto_pipeline.events.split import DAY_MS, cut, ended_before, labels_of
from otto_pipeline.schemas import TYPES
from otto_pipeline.store.dataset import Dataset
from otto_pipeline_tests.building import build_log, log_line
from otto_pipeline_tests.logs import frame, random_events

ENOUGH = dict.fromkeys(TYPES, FEW_SESSIONS)
PAIR = ((1, 98), (2, 99))


def hashes(n: int) -> pl.DataFrame:
    """Sessions 0 … n−1 with their hashes."""
    ids = pl.Series("session", range(n), dtype=pl.Int32)
    return pl.DataFrame({"session": ids, "hash": hash_ids(ids)})


def test_nothing_is_lacking_where_every_target_has_few_sessions() -> None:
    assert lacking_sessions(ENOUGH) == dict.fromkeys(TYPES, 0)


def test_all_targets_are_filled_up_where_one_has_fewer() -> None:
    labelled = {"clicks": 500, "carts": 150, "orders": FEW_SESSIONS - 1}
    assert lacking_sessions(labelled) == {
        "clicks": 0,
        "carts": ENOUGH_SESSIONS - 150,
        "orders": ENOUGH_SESSIONS - FEW_SESSIONS + 1,
    }


def test_target_without_labels_lacks_all() -> None:
    assert lacking_sessions({"clicks": 500, "carts": 500})["orders"] == ENOUGH_SESSIONS


def test_halves_are_about_equal_and_depend_on_the_seed() -> None:
    one, same, other = (half_of(hashes(4000)["hash"], seed) for seed in (1, 1, 2))
    assert one.equals(same)
    assert 1800 < (one == "a").sum() < 2200
    assert 1800 < (one == other).sum() < 2200


def test_session_that_ends_on_the_split_moment_is_not_cut() -> None:
    events = frame(
        *((session, aid, second + session, "clicks") for session in (0, 1) for aid, second in PAIR)
    )
    assert ended_before(events, 100_000)["session"].unique().to_list() == [0]


def test_session_is_cut_for_orders_right_before_one_and_never_before_its_first_event() -> None:
    events = frame(
        (0, 1, 0, "orders"), (0, 2, 1, "clicks"), (0, 3, 2, "orders"), (0, 4, 3, "clicks")
    )
    found = possible_cuts(events, hashes(1), seed=5).filter(pl.col("type") == "orders")
    assert found.select("session", "cut").rows() == [(0, 2)]


def test_order_that_is_cut_before_is_drawn_by_session() -> None:
    events = frame(*((s, i, i, "orders") for s in range(300) for i in range(4)))
    found = possible_cuts(events, hashes(300), seed=5).filter(pl.col("type") == "orders")
    counts = dict(found.group_by("cut").len().iter_rows())
    assert set(counts) == {1, 2, 3}
    assert min(counts.values()) > 70


@given(events=random_events(), seed=st.integers(0, 99))
def test_each_possible_cut_leaves_something_to_see_and_a_label_of_its_target(
    events: pl.DataFrame, seed: int
) -> None:
    events = events.filter(pl.len().over("session") >= 2)
    for session, kind, place in possible_cuts(events, hashes(6), seed).iter_rows():
        one = hashes(6).filter(session=session).select("session", cut=place)
        visible, future = cut(events, one)
        assert visible.height >= 1
        assert kind in labels_of(future, "aid", zero=None)["type"]


@given(
    possible=st.lists(st.tuples(st.integers(0, 30), st.sampled_from(TYPES)), unique=True),
    lacking=st.fixed_dictionaries({name: st.integers(0, 9) for name in TYPES}),
)
def test_each_session_is_cut_once_and_each_target_gets_what_it_lacks_if_it_can(
    possible: list[tuple[int, str]], lacking: dict[str, int]
) -> None:
    table = pl.DataFrame(
        [(session, kind, 1) for session, kind in possible],
        {"session": pl.Int32, "type": pl.Enum(TYPES), "cut": pl.Int64},
        orient="row",
    ).join(hashes(31), on="session", maintain_order="left")
    chosen = choose(table, lacking, seed=7)
    assert chosen["session"].is_unique().all()
    left = table
    for name in reversed(TYPES):
        taken = chosen.filter(pl.col("type") == name)
        left = left.join(taken, on="session", how="anti")
        spare = left.filter(pl.col("type") == name).height
        assert taken.height == lacking[name] or (taken.height < lacking[name] and spare == 0)


# --- built from a log ----------------------------------------------------------------------------

DAYS = 10


def shop() -> list[str]:
    """A session an hour for ten days: three clicks, in every other one of them an order last."""
    lines = []
    for session in range(24 * DAYS):
        start = session * DAY_MS // 24
        last = "orders" if session % 2 else "clicks"
        events = [(session % 7 + i, start + i * 1000, "clicks") for i in range(3)]
        lines.append(log_line(session, [*events, (session % 5, start + 9000, last)]))
    return lines


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Dataset]:
    folder = tmp_path_factory.mktemp("shop")
    built: dict[str, Dataset] = {}
    for path in (f"half_{half}/{name}" for half in HALVES for name in ("sessions", "labels")):
        built |= build_log(folder, shop(), until=path, validation_days=2)
    return built


def sessions_of(events: pl.DataFrame) -> set[int]:
    return set(events["session"])


def test_cut_sessions_end_before_the_split_moment(made: dict[str, Dataset]) -> None:
    chosen = made["validation/cut_sessions"].read()
    last = made["log/events"].read().group_by("session").agg(pl.col("ts").max())
    moment = made["validation/known_items"].figures()["split_moment"]
    ends = chosen.join(last, on="session")["ts"]
    assert len(ends) > 50
    assert (ends < moment).all()
    assert not sessions_of(chosen) & sessions_of(made["validation/labels"].read())


def test_artifact_says_how_many_are_cut_and_for_what(made: dict[str, Dataset]) -> None:
    dataset = made["validation/cut_sessions"]
    chosen, figures = dataset.read(), dataset.figures()
    validated = made["validation/labels"].read().filter(pl.col("type") == "orders")
    assert figures["cut_sessions"] == chosen.height
    assert figures["lacking_orders"] == ENOUGH_SESSIONS - validated["session"].n_unique()
    for name in TYPES:
        assert figures[f"cut_for_{name}"] == (chosen["type"] == name).sum()


@pytest.mark.parametrize("half", HALVES)
def test_half_sees_the_other_half_whole_and_beginnings_of_its_own(
    made: dict[str, Dataset], half: str
) -> None:
    events, seen = made["log/events"].read(), made[f"half_{half}/events"].read()
    sessions = made["log/sessions"].read("session", "hash")
    cuts = made["validation/cut_sessions"].read().filter(pl.col("half") == half)
    others = sessions.filter(half_of(sessions["hash"], 42) != half)
    moment = made["validation/known_items"].figures()["split_moment"]
    early = events.filter(pl.col("ts") < moment)
    whole = early.join(others, on="session", how="semi").filter(pl.len().over("session") > 1)
    begun = cut(events, cuts.select("session", "cut"))[0]
    assert cuts.height > 20
    assert seen.equals(pl.concat([whole, begun]).sort("session", maintain_order=True))
    queries = made[f"half_{half}/sessions"].read().filter("query")
    assert sessions_of(queries) == sessions_of(cuts) == sessions_of(begun)


@pytest.mark.parametrize("half", HALVES)
def test_labels_are_what_comes_after_the_cut(made: dict[str, Dataset], half: str) -> None:
    events, labels = made["log/events"].read(), made[f"half_{half}/labels"].read()
    cuts = made["validation/cut_sessions"].read().filter(pl.col("half") == half)
    zero = made["log/items"].read().filter(pl.col("item_id") == 0)["aid"].item()
    future = cut(events, cuts.select("session", "cut"))[1]
    assert labels.equals(labels_of(future, "aid", zero))
    wanted = cuts.filter(pl.col("type") == "orders")
    assert sessions_of(wanted) <= sessions_of(labels.filter(pl.col("type") == "orders"))


def test_nothing_is_cut_and_halves_are_empty_where_labels_suffice(tmp_path: Path) -> None:
    lines = []
    for session in range(400):
        kinds = ("clicks", "clicks", "clicks", "carts", "orders")
        first = session * 60_000 + (5 * DAY_MS if session >= 100 else 0)
        events = [(session % 9, first + i, kind) for i, kind in enumerate(kinds)]
        lines.append(json.dumps({"session": session, "events": _as_dicts(events)}))
    built = build_log(tmp_path, lines, until="half_a/features", validation_days=1)
    assert built["validation/cut_sessions"].manifest.rows == 0
    of_half = [data for path, data in built.items() if path.startswith("half_a/")]
    assert len(of_half) > 10
    assert [data.files for data in of_half] == [[]] * len(of_half)


def _as_dicts(events: list[tuple[int, int, str]]) -> list[dict[str, object]]:
    return [{"aid": aid, "ts": ts, "type": kind} for aid, ts, kind in events]
