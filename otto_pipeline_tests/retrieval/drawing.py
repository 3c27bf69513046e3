"""Random matrices for hypothesis, and the rows of matrices as tests compare them."""

from collections.abc import Sequence
from unittest.mock import patch

import numpy as np
import polars as pl
from hypothesis import strategies as st
from numpy.typing import NDArray

from otto_pipeline.events.event_log import EventLog
from otto_pipeline.retrieval import covisitation
from otto_pipeline.retrieval.matrix import ALL, BUYS, CONSTANT, DAY, HOUR, NO_LIMIT, Decay, Matrix
from otto_pipeline.schemas import COVISITATION, TYPES
from otto_pipeline_tests.logs import N_ITEMS, frame, log_of, random_events

RECIPROCAL, LOG, LOG2 = Decay("reciprocal"), Decay("log", 2), Decay("log2")
GEOMETRIC = Decay("geometric", 0.85)


def rows(
    log: EventLog,
    queries: NDArray[np.bool_],
    matrices: Sequence[Matrix],
    items: tuple[int, int] = (0, N_ITEMS),
    threads: int = 1,
) -> dict[str, pl.DataFrame]:
    """The `COVISITATION` rows of each matrix, in blocks of several items even of small logs."""
    frames = {matrix.name: [COVISITATION.empty()] for matrix in matrices}
    with patch.object(covisitation, "BLOCKS", 2):
        for name, block in covisitation.neighbours(log, queries, matrices, *items, threads):
            frames[name].append(block)
    return {name: pl.concat(blocks) for name, blocks in frames.items()}


@st.composite
def logs(draw: st.DrawFn) -> tuple[EventLog, NDArray[np.bool_]]:
    """A log, and which of its sessions are queries."""
    log = log_of(draw(random_events()))
    size = log.n_sessions
    return log, np.array(draw(st.lists(st.booleans(), min_size=size, max_size=size)), np.bool_)


def random_log(n_items: int, sessions: int = 40) -> tuple[EventLog, NDArray[np.bool_]]:
    """A larger log, in which every field of a matrix matters, and which sessions are queries."""
    random = np.random.default_rng(5)
    events = [
        (session, int(random.integers(n_items)), session * 6 * HOUR + int(second), TYPES[kind])
        for session in range(sessions)
        for second in np.sort(random.integers(0, 6 * HOUR, random.integers(1, 20)))
        for kind in random.choice(3, 1)
    ]
    log = log_of(frame(*events), n_items)
    return log, np.arange(log.n_sessions) % 2 == 0


def matrices(name: str = "drawn") -> st.SearchStrategy[Matrix]:
    """Any matrix; half of the draws of a field that restricts leave it as it is."""
    return st.builds(
        Matrix,
        name=st.just(name),
        source=st.just("test"),
        source_types=st.sampled_from([ALL, ALL, ALL, BUYS, (0,), (2,)]),
        type_weights=_of((1, 1, 1), (1, 6, 3), (0, 1, 1), (0.3, 0, 0)),
        forward=st.booleans(),
        last=_of(30, 1, 2, 4, 8),
        runs=st.booleans(),
        distances=_of((1, NO_LIMIT), (1, 1), (2, NO_LIMIT), (2, 3)),
        max_seconds=_of(NO_LIMIT, 1, HOUR, DAY),
        last_days=_of(None, 0.5, 1, 15),
        queries_only=st.booleans(),
        session_events=_of((1, NO_LIMIT), (1, 5), (4, NO_LIMIT)),
        recency_gain=_of(0.0, 3.0),
        by_time=_of(CONSTANT, Decay("halves", HOUR), Decay("halves", 10 * DAY), LOG),
        by_distance=_of(CONSTANT, Decay("halves", 2), GEOMETRIC, RECIPROCAL, LOG, LOG2),
        by_length=_of(CONSTANT, Decay("halves", 5), RECIPROCAL, LOG, LOG2),
        backward=_of(1.0, 0.6, 0.0),
        occurrences=st.sampled_from(["sum", "max", "once", "once_per_type"]),
        self_pairs=st.booleans(),
        normalisation=st.sampled_from(["none", "row", "cosine", "log_cosine"]),
        top_k=st.integers(1, N_ITEMS),
    )


def _of(usual: object, *others: object) -> st.SearchStrategy:
    return st.just(usual) | st.sampled_from(others)
