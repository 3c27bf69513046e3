import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from numba import njit
from numpy.typing import NDArray

from otto_pipeline.events.eligibility import Eligibility
from otto_pipeline.events.event_log import EventLog
from otto_pipeline.orchestration.checks import table_failures
from otto_pipeline.retrieval.candidates import candidates
from otto_pipeline.retrieval.covisitation import neighbours
from otto_pipeline.retrieval.embeddings import EMBEDDINGS
from otto_pipeline.retrieval.matrices import MATRICES
from otto_pipeline.retrieval.neighbours import NeighbourTable, neighbour_table
from otto_pipeline.retrieval.session_knn import LATEST, Postings, postings
from otto_pipeline.retrieval.sources import (
    CANDIDATES,
    HOP_SOURCES,
    HOP_TABLE,
    LIST_WEIGHTS,
    NEIGHBOUR_SOURCES,
    RANK_OFFSET,
    SOURCES,
)
from otto_pipeline.retrieval.union import (
    BESIDE_TABLES,
    UNRANKED,
    Sources,
    Workspace,
    clear_union,
    fill_union,
    make_workspace,
    sources_of,
)
from otto_pipeline.schemas import COVISITATION
from otto_pipeline_tests.logs import N_ITEMS, frame, log_of, random_events

POPULAR = pl.DataFrame(
    {"aid": [6, 2], "score": [5.0, 4.0]}, schema={"aid": pl.Int32, "score": pl.Float64}
)
NOTHING_POPULAR = POPULAR.clear()


def tables_of(log: EventLog) -> tuple[NeighbourTable, ...]:
    nobody = np.zeros(log.n_sessions, np.bool_)
    found: dict[str, list[pl.DataFrame]] = {}
    for name, rows in neighbours(log, nobody, MATRICES, 0, N_ITEMS, 1):
        found.setdefault(name, []).append(rows)
    of_matrices = [
        neighbour_table(pl.concat([COVISITATION.empty(), *found.get(matrix.name, [])]), N_ITEMS)
        for matrix in MATRICES
    ]
    return (*of_matrices, *of_matrices[: len(EMBEDDINGS)])  # any neighbours do for an embedding


def postings_of(log: EventLog) -> Postings:
    return postings(log.session_start, log.aid, log.n_items)


def items_of(log: EventLog, session: int) -> list[int]:
    return log.aid[log.session_start[session] : log.session_start[session + 1]].tolist()


def candidates_of(
    log: EventLog,
    queries: Sequence[int] | NDArray[np.int32],
    popular: pl.DataFrame = POPULAR,
    max_candidates: int = 20,
    threads: int = 1,
) -> pl.DataFrame:
    sessions = np.array(queries, np.int32)
    tables, posted = tables_of(log), postings_of(log)
    everything = Eligibility(np.zeros(log.n_items, np.bool_), exclude_ordered=False)
    sources = sources_of(log, tables, posted, popular, everything)
    return candidates(sources, sessions, max_candidates, threads)[0]


def knn_reference(log: EventLog, session: int, own: list[int]) -> dict[int, float]:
    """Session kNN with dictionaries, in the words of RANKING.md."""
    others = {s: items_of(log, s) for s in range(log.n_sessions) if s != session}
    in_sessions = [set(items_of(log, s)) for s in range(log.n_sessions)]
    similarity = {}
    for other, items in others.items():
        for k, x in enumerate(own):
            if x in items:
                holding = sum(x in held for held in in_sessions)
                rarity = math.log(1 + log.n_sessions / (1 + holding))
                similarity[other] = similarity.get(other, 0.0) + rarity / (1 + 0.5 * k)
    score: dict[int, float] = {}
    similar = {s: value / math.sqrt(5 + len(others[s])) for s, value in similarity.items()}
    for other in sorted(similar, key=lambda s: (-similar[s], -s)):
        for y, runs in _distances(others[other], own).items():
            score[y] = score.get(y, 0.0) + similar[other] / (1 + runs)
    return score


def _distances(items: list[int], own: list[int]) -> dict[int, int]:
    """Runs from the last shared item to each item: after it, or else before it."""
    last = max(place for place, item in enumerate(items) if item in own)
    found: dict[int, int] = {}
    for side in (items[last:], items[last::-1]):
        for place, y in enumerate(side):
            changes = sum(a != b for a, b in pairwise(side[: place + 1]))
            found.setdefault(y, changes)
    return found


def reference(
    log: EventLog, session: int, tables: tuple[NeighbourTable, ...], max_candidates: int
) -> list[dict]:
    """Candidates of one session with dictionaries, in the words of the module's docstrings."""
    begin, end = log.session_start[session], log.session_start[session + 1]
    scores: dict[str, dict[int, float]] = {source: {} for source in SOURCES}
    for place, event in enumerate(range(begin, end)):
        recency = 1.0 if end - begin == 1 else 0.1 + 0.9 * place / (end - begin - 1)
        aid, weight = int(log.aid[event]), (1.0, 3.0, 6.0)[log.type[event]]
        scores["history"][aid] = scores["history"].get(aid, 0.0) + (2**recency - 1) * weight
    latest_first = list(dict.fromkeys(log.aid[begin:end][::-1].tolist()))
    for source, table in zip(NEIGHBOUR_SOURCES, tables, strict=True):
        found = scores[source]
        for k, x in enumerate(latest_first):
            for place in range(table.start[x], table.start[x + 1]):
                y = int(table.neighbour[place])
                found[y] = found.get(y, 0.0) + 1 / (1 + k) * float(table.share[place])
    first_hop = {
        y: sum(scores[source].get(y, 0.0) for source in NEIGHBOUR_SOURCES)
        for source in NEIGHBOUR_SOURCES
        for y in scores[source]
        if y not in scores["history"]
    }
    for x in sorted(first_hop, key=lambda y: (-np.float32(first_hop[y]), y))[:HOP_SOURCES]:
        table, found = tables[HOP_TABLE], scores["second_hop"]
        for place in range(table.start[x], table.start[x + 1]):
            y = int(table.neighbour[place])
            found[y] = found.get(y, 0.0) + first_hop[x] * float(table.share[place])
    scores["session_knn"] = knn_reference(log, session, latest_first)
    scores["popularity"] = dict(POPULAR.iter_rows())
    ranks = {
        source: {
            aid: 1 + place
            for place, aid in enumerate(sorted(of, key=lambda a: (-np.float32(of[a]), a)))
        }
        for source, of in scores.items()
    }
    rows = []
    for aid in {aid for of in scores.values() for aid in of}:
        pre_score = float(aid in scores["history"])
        for source, of in ranks.items():  # one by one, as floats are summed
            pre_score += LIST_WEIGHTS[source] / (RANK_OFFSET + of[aid]) if aid in of else 0.0
        row = {"session": session, "aid": aid, "pre_score": pre_score, "list_score": pre_score}
        for source in SOURCES:
            row[f"{source}_rank"] = ranks[source].get(aid)
            row[f"{source}_score"] = scores[source].get(aid)
        rows.append(row)
    return sorted(rows, key=lambda row: (-np.float32(row["pre_score"]), row["aid"]))[
        :max_candidates
    ]


@given(events=random_events())
@settings(max_examples=60)
def test_kernel_equals_the_reference(events: pl.DataFrame) -> None:
    log = log_of(events)
    tables = tables_of(log)
    queries = np.unique(events["session"].to_numpy()).astype(np.int32)
    found = candidates_of(log, queries, max_candidates=6)
    expected = [row for session in queries for row in reference(log, int(session), tables, 6)]
    assert found.select("session", "aid").rows() == [(r["session"], r["aid"]) for r in expected]
    for column in CANDIDATES.names()[2:]:
        for value, row in zip(found[column], expected, strict=True):
            assert (value is None) == (row[column] is None)
            assert value is None or value == pytest.approx(row[column], rel=1e-6)
    assert not table_failures(CANDIDATES, found)


@given(events=random_events())
@settings(max_examples=20)
def test_threads_and_other_query_sessions_leave_no_trace(events: pl.DataFrame) -> None:
    log = log_of(events)
    queries = np.unique(events["session"].to_numpy())
    whole = candidates_of(log, queries, max_candidates=5, threads=3)
    alone = [candidates_of(log, [session], max_candidates=5) for session in queries]
    assert pl.concat([CANDIDATES.empty(), *alone]).equals(whole)


def test_session_with_one_unknown_item_gets_it_and_the_popular_ones() -> None:
    log = log_of(frame((0, 4, 0, "clicks")))
    found = candidates_of(log, [0])
    assert found["aid"].to_list() == [4, 6, 2]
    assert found["history_rank"].to_list() == [1, None, None]


def test_session_of_five_hundred_events_gets_a_full_list() -> None:
    rows = [(0, place % N_ITEMS, place, "clicks") for place in range(500)]
    log = log_of(frame(*rows))
    found = candidates_of(log, [0], NOTHING_POPULAR, max_candidates=5)
    assert found.height == 5
    assert found["pre_score"].is_sorted(descending=True)


def test_own_items_come_first_in_the_list_without_labels() -> None:
    log = log_of(
        frame((0, 1, 0, "clicks"), (0, 2, 1, "clicks"), (0, 3, 2, "clicks"), (1, 1, 3, "clicks"))
    )
    found = candidates_of(log, [1])
    assert found["aid"].to_list()[0] == 1
    assert set(found["aid"].to_list()[1:3]) == {2, 3}


@given(events=random_events(max_sessions=20))
@settings(max_examples=40)
def test_postings_are_the_sessions_that_hold_an_item(events: pl.DataFrame) -> None:
    log = log_of(events)
    table = postings_of(log)
    for item in range(N_ITEMS):
        holding = [s for s in range(log.n_sessions) if item in items_of(log, s)]
        found = table.entry[table.start[item] : table.start[item + 1]]
        assert table.sessions[item] == len(holding)
        assert (found // 4096).tolist() == holding
        assert (found % 4096).tolist() == [len(items_of(log, s)) for s in holding]


def test_postings_of_a_popular_item_are_its_latest_sessions() -> None:
    log = log_of(frame(*((session, 3, session, "clicks") for session in range(LATEST + 7))))
    table = postings_of(log)
    assert (table.entry // 4096).tolist() == list(range(7, LATEST + 7))
    assert table.sessions[3] == LATEST + 7


@njit
def ranks_of(session: int, sources: Sources, work: Workspace) -> dict[int, tuple[int, int, int]]:
    """By item: its rank in history, session kNN and popularity."""
    found = {}
    size, slots = fill_union(session, sources, work)
    for place in range(size):
        fact = work.fact[:, place]
        ranks = (fact[0], fact[-4], fact[-3])
        if min(ranks) < UNRANKED:
            found[work.aid[work.member[place]]] = ranks
    clear_union(slots, work)
    return found


@pytest.mark.parametrize("n_tables", [1, 2, len(NEIGHBOUR_SOURCES)])
def test_number_of_tables_leaves_no_trace_in_the_other_sources(n_tables: int) -> None:
    places = [(session, place) for session in range(6) for place in range(7)]
    log = log_of(frame(*((s, (s * 3 + k * k) % N_ITEMS, s * 99 + k, "clicks") for s, k in places)))
    everything = Eligibility(np.zeros(log.n_items, np.bool_), exclude_ordered=False)
    sources = sources_of(log, tables_of(log), postings_of(log), POPULAR, everything)
    fewer = sources._replace(tables=sources.tables[:n_tables], hop_table=0)
    of_fewer, of_all = make_workspace(fewer), make_workspace(sources)
    assert len(of_fewer.score) == n_tables + BESIDE_TABLES
    for session in range(6):
        found = dict(ranks_of(session, fewer, of_fewer))
        assert found == dict(ranks_of(session, sources, of_all))
