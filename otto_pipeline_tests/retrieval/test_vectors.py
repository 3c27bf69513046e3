from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from numpy.typing import NDArray

from otto_pipeline.events.event_log import EventLog
from otto_pipeline.retrieval.embedding import Als, Embedding, Spectral, Word2Vec
from otto_pipeline.retrieval.embeddings import NEAR
from otto_pipeline.retrieval.sentences import runs, write_sentences
from otto_pipeline.retrieval.vectors import learn
from otto_pipeline.settings import load_settings
from otto_pipeline_tests.logs import N_ITEMS, frame, log_of, random_events
from otto_pipeline_tests.pipeline import build_until

DAY = 86_400
KINDS = [
    Word2Vec("test_words", "test", 12, epochs=40),
    Spectral("test_spectral", "test", 12, NEAR),
    Als("test_als", "test", 12),
]


def vectors_of(embedding: Embedding, log: EventLog, scratch: Path) -> NDArray[np.float32]:
    queries = np.zeros(log.n_sessions, np.bool_)
    return learn(embedding, log, queries, load_settings({}), scratch)


def in_company(log: EventLog) -> set[int]:
    """Items of sessions of two items or more."""
    sessions = [
        set(log.aid[log.session_start[s] : log.session_start[s + 1]].tolist())
        for s in range(log.n_sessions)
    ]
    return {aid for items in sessions if len(items) > 1 for aid in items}


@pytest.mark.parametrize("embedding", KINDS)
@given(events=random_events())
@settings(
    max_examples=10,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_only_items_seen_with_others_have_vectors_on_the_smallest_logs(
    embedding: Embedding, tmp_path: Path, events: pl.DataFrame
) -> None:
    log = log_of(events)
    vectors = vectors_of(embedding, log, tmp_path)
    assert vectors.shape == (N_ITEMS, 12)
    assert np.isfinite(vectors).all()
    assert set(np.flatnonzero(vectors.any(axis=1)).tolist()) <= in_company(log)


@pytest.mark.parametrize("kind", KINDS)
def test_items_wanted_together_are_near(kind: Embedding, tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    rows = [
        (session, int(aid), 60 * place, "clicks")
        for session in range(400)
        for place, aid in enumerate(random.permutation(4)[:3] + 4 * (session % 2))
    ]
    log = log_of(frame(*rows))
    vectors = vectors_of(replace(kind, dimensions=3), log, tmp_path)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosine = unit @ unit.T
    same = np.arange(N_ITEMS)[:, None] // 4 == np.arange(N_ITEMS) // 4
    for x in range(N_ITEMS):
        others = same[x] & (np.arange(N_ITEMS) != x)
        assert cosine[x][others].mean() > cosine[x][~same[x]].mean() + 0.1


@pytest.mark.parametrize("embedding", KINDS)
def test_same_events_and_seed_give_the_same_bytes(embedding: Embedding, tmp_path: Path) -> None:
    rows = [(s, (s * p * 5 + p) % N_ITEMS, 60 * p, "clicks") for s in range(50) for p in range(4)]
    log = log_of(frame(*rows))
    first, second = (vectors_of(embedding, log, tmp_path) for _ in range(2))
    assert first.any()
    assert np.array_equal(first, second)


def test_runs_of_one_item_are_one_word() -> None:
    log = log_of(
        frame(
            (0, 1, 0, "clicks"),
            (0, 1, 5, "carts"),
            (0, 2, 9, "clicks"),
            (0, 1, 10, "clicks"),
            (1, 1, 20, "clicks"),
        )
    )
    rows = pl.concat(runs(log, None)).select("session", "aid", "events").rows()
    assert rows == [(0, 1, 2), (0, 2, 1), (0, 1, 1), (1, 1, 1)]


def test_sentences_are_sessions_of_two_words_or_more(tmp_path: Path) -> None:
    log = log_of(
        frame(
            (0, 5, 0, "clicks"),
            (0, 6, DAY, "clicks"),
            (1, 3, 2 * DAY, "clicks"),
            (3, 4, 3 * DAY, "clicks"),
            (3, 7, 3 * DAY, "orders"),
        )
    )
    path = tmp_path / "sentences.txt"
    assert write_sentences(log, None, path) == 2
    assert path.read_text() == "5 6\n4 7\n"
    assert write_sentences(log, 2.0, path) == 1
    assert path.read_text() == "4 7\n"


def test_embeddings_of_a_lane_are_of_length_1(tmp_path: Path) -> None:
    path = "validation/embeddings/spectral"
    rows = build_until(path, tmp_path, None, scale="demo", demo_sessions=300)[path].read()
    assert rows.height > 0
    assert rows["aid"].is_sorted()
    assert np.linalg.norm(rows["vector"].to_numpy(), axis=1) == pytest.approx(1, abs=1e-5)
