"""Labels, all sources → where each source puts each label of a sample of query sessions.

The union of the sources is taken before the cut to `max_candidates`; it is merged by the list that
needs no labels, with all sources and with all but one.
"""

from pathlib import Path

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray

from otto_pipeline.events.eligibility import open_eligibility
from otto_pipeline.events.event_log import open_event_log
from otto_pipeline.events.hashing import draw
from otto_pipeline.retrieval.candidates import candidates
from otto_pipeline.retrieval.sources import (
    HISTORY,
    LIST_WEIGHTS,
    RANK_OFFSET,
    SOURCES,
    UNION_VERSION,
)
from otto_pipeline.retrieval.union import LARGEST_UNION, open_sources
from otto_pipeline.schemas import AID, SESSION, TARGET, Column, Table
from otto_pipeline.settings import Settings
from otto_pipeline.store.dataset import Figures
from otto_pipeline.store.stage import Inputs, Stage

SAMPLED_SESSIONS = 20_000
"""Query sessions with labels that are looked at: all of a small log's."""
CHUNK_BYTES = 2**28
"""Of the unions that are held at once, about."""
RANKS = [f"{source}_rank" for source in SOURCES]
PLACES_WITHOUT = [f"place_without_{source}" for source in SOURCES]

FOUND_LABELS = Table(
    "One label of a sampled query session, and where the sources put it.",
    (
        SESSION,
        TARGET,
        AID,
        Column("known", pl.Boolean, "The lane sees the item."),
        Column("eligible", pl.Boolean, "The item may be recommended to the session."),
        Column("place", pl.UInt32, "In the merged list of all sources; null: not in it.", True, 1),
        *(
            Column(f"{source}_rank", pl.UInt16, f"Place in {source}; null: not in it.", True, 1)
            for source in SOURCES
        ),
        *(
            Column(
                f"place_without_{source}",
                pl.UInt32,
                f"In the merged list of all sources but {source}; null: not in it.",
                True,
                1,
            )
            for source in SOURCES
        ),
    ),
    ("session", "type", "aid"),
    ("session", "type", "aid"),
)


def write_found_labels(inputs: Inputs, _shard: int, settings: Settings, path: Path) -> Figures:
    """One row for each label of the sampled sessions, by session, type and item."""
    labels = sampled_labels(inputs, settings)
    sessions = labels["session"].unique().sort()
    size = max(1, CHUNK_BYTES // (LARGEST_UNION * 8 * len(SOURCES)))
    sources, frames = open_sources(inputs, settings), [FOUND_LABELS.empty()]
    for chunk in sessions.to_frame().iter_slices(size):
        queries = chunk["session"]
        union, _ = candidates(sources, queries.to_numpy(), LARGEST_UNION, settings.threads)
        frames.append(places_of(labels.filter(pl.col("session").is_in(queries.implode())), union))
    frame = pl.concat(frames)
    frame.write_parquet(path)
    return {"sessions": len(sessions)}


def sampled_labels(inputs: Inputs, settings: Settings) -> pl.DataFrame:
    """Labels of the sampled sessions, each with whether its item is `known` and `eligible`."""
    labels = inputs["labels"].read()
    hashes = inputs["sessions"].scan().select("session", "hash").collect()
    sessions = hashes.join(labels, on="session", how="semi")
    sampled = sessions.with_columns(
        draw=draw(sessions["hash"], settings.seed, "found labels")
    ).sort("draw")
    seen = inputs["popularity"].scan().select("aid", known=pl.col("last_seen") >= 0).collect()
    log = open_event_log(inputs["event_log"])
    found = (
        labels.join(sampled.head(SAMPLED_SESSIONS), on="session", how="semi")
        .join(seen, on="aid")
        .sort("session", "type", "aid")
    )
    return found.with_columns(
        open_eligibility(inputs["eligibility"], log, settings).of(found, log).alias("eligible")
    )


def places_of(labels: pl.DataFrame, union: pl.DataFrame) -> pl.DataFrame:
    """The `FOUND_LABELS` rows of `labels`.

    `union` has the `CANDIDATES` rows of their sessions before any cut, by session.
    """
    union = union.with_row_index("row")
    found = labels.join(
        union.select("session", "aid", "row", *RANKS),
        on=["session", "aid"],
        how="left",
        maintain_order="left",
    )
    row = found["row"].cast(pl.Int64).fill_null(-1).to_numpy()
    session, aid = union["session"].to_numpy(), union["aid"].to_numpy()
    of_sources = _reciprocal_ranks(union)
    lists = {"place": of_sources.sum(axis=0)}
    for source, name in enumerate(PLACES_WITHOUT):
        lists[name] = np.delete(of_sources, source, axis=0).sum(axis=0)
    places = {name: _places(score, session, aid, row) for name, score in lists.items()}
    in_list = pl.col("place", *PLACES_WITHOUT)
    return (
        found.with_columns(pl.Series(name, place) for name, place in places.items())
        .with_columns(pl.when(in_list > 0).then(in_list))
        .select(FOUND_LABELS.names())
    )


def _reciprocal_ranks(union: pl.DataFrame) -> NDArray[np.float64]:
    """What each source adds to the list that needs no labels, an array [source, row]."""
    rank = np.stack([union[name].fill_null(0).to_numpy() for name in RANKS])
    weight = np.array([[LIST_WEIGHTS[source]] for source in SOURCES])
    adds = np.where(rank > 0, weight / (RANK_OFFSET + rank), 0)
    history = SOURCES.index(HISTORY)
    adds[history] += rank[history] > 0
    return adds


@njit(cache=True, nogil=True)
def _places(
    score: NDArray[np.float64],
    session: NDArray[np.int32],
    aid: NDArray[np.int32],
    rows: NDArray[np.int64],
) -> NDArray[np.uint32]:
    """Place of each of the rows in its session's list, from 1, ties by item.

    0 for a row without a score, and for −1.
    """
    places = np.zeros(len(rows), np.uint32)
    for number in range(len(rows)):
        row = rows[number]
        if row < 0 or score[row] == 0:
            continue
        first = np.searchsorted(session, session[row])
        last = np.searchsorted(session, session[row], side="right")
        for other in range(first, last):
            before = score[other] > score[row]
            before |= score[other] == score[row] and aid[other] <= aid[row]
            places[number] += before
    return places


FOUND_LABELS_STAGE = Stage(
    write=write_found_labels,
    version=f"2 {SAMPLED_SESSIONS} {LIST_WEIGHTS} {RANK_OFFSET} {UNION_VERSION}",
    settings=("seed", "exclude_ordered"),
)
