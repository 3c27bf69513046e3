import math

import numpy as np
from numpy.typing import NDArray

from otto_pipeline.events.event_log import EventLog
from otto_pipeline.retrieval.session_knn import (
    LENGTH_OFFSET,
    NEIGHBOURS,
    OWN_ITEMS,
    Postings,
    make_similarities,
    most_similar,
    postings,
)
from otto_pipeline_tests.logs import frame, log_of

N_ITEMS, N_SESSIONS = 60, 260


def found_by_kernel(
    session: int, n_sessions: int, own: NDArray[np.int32], table: Postings
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    neighbours, similarities = np.empty(NEIGHBOURS, np.int64), np.empty(NEIGHBOURS)
    kept = most_similar(
        session, n_sessions, own, len(own), table, make_similarities(), neighbours, similarities
    )
    return neighbours[:kept], similarities[:kept]


def large_log() -> EventLog:
    """Sessions of up to 50 items: more own items and more neighbours than are looked at."""
    random = np.random.default_rng(3)
    rows = [
        (session, int(item), session * 100 + place, "clicks")
        for session in range(N_SESSIONS)
        for place, item in enumerate(random.choice(N_ITEMS, random.integers(1, 50), False))
    ]
    return log_of(frame(*rows), N_ITEMS)


def test_the_most_similar_sessions_are_those_of_dictionaries() -> None:
    log = large_log()
    items = [
        log.aid[log.session_start[s] : log.session_start[s + 1]].tolist() for s in range(N_SESSIONS)
    ]
    table = postings(log.session_start, log.aid, N_ITEMS)
    session = max(range(N_SESSIONS), key=lambda s: len(items[s]))
    own = items[session][::-1]
    assert len(own) > OWN_ITEMS
    expected = {}
    for other in set(range(N_SESSIONS)) - {session}:
        for k, x in enumerate(own[:OWN_ITEMS]):
            if x in items[other]:
                holding = sum(x in held for held in items)
                rarity = math.log(1 + N_SESSIONS / (1 + holding))
                expected[other] = expected.get(other, 0.0) + rarity / (1 + 0.5 * k)
    similar = {
        s: np.float32(v / math.sqrt(LENGTH_OFFSET + len(items[s]))) for s, v in expected.items()
    }
    best = sorted(similar, key=lambda s: (-similar[s], -s))[:NEIGHBOURS]
    neighbours, similarities = found_by_kernel(session, N_SESSIONS, np.array(own, np.int32), table)
    assert len(similar) > NEIGHBOURS
    assert neighbours.tolist() == best
    assert np.allclose(similarities, [similar[s] for s in best])
