"""Unions of a sample of labelled query sessions: what the pre-ranker learns from."""

from pathlib import Path

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray

from otto_pipeline.compute.threads import map_blocks
from otto_pipeline.events.hashing import draw, draw_pairs
from otto_pipeline.retrieval.sources import UNION_SAMPLE, UNION_VERSION
from otto_pipeline.retrieval.union import (
    FACTS,
    Sources,
    Workspace,
    clear_union,
    drop_ineligible,
    fill_union,
    make_workspace,
    open_sources,
)
from otto_pipeline.settings import Settings
from otto_pipeline.store.dataset import Dataset, Figures
from otto_pipeline.store.stage import Inputs, Stage

SAMPLED_SESSIONS = 20_000
KEPT_NEGATIVES = 5
"""Of the items that are no label, one in so many is kept, and weighs as much."""
SESSIONS_AT_ONCE = 2_000


def write_union_sample(inputs: Inputs, _shard: int, settings: Settings, path: Path) -> Figures:
    """The `UNION_SAMPLE` rows of a lane with labels."""
    sources = open_sources(inputs, settings)
    sessions = sampled_sessions(
        inputs["sessions"], inputs["labels"], settings.seed, "union sample", SAMPLED_SESSIONS
    )
    labels = inputs["labels"].scan().select("session", "aid", is_label=pl.lit(1, pl.UInt8)).unique()
    parts = [
        _rows(part, sources, labels.collect(), settings)
        for part in sessions.iter_slices(SESSIONS_AT_ONCE)
    ]
    sample = pl.concat([UNION_SAMPLE.empty(), *parts])
    sample.write_parquet(path)
    positive = sample.filter(pl.col("is_label") == 1)["session"].n_unique()
    return {"sessions": sessions.height, "positive_sessions": positive}


def sampled_sessions(
    sessions: Dataset, labels: Dataset, seed: int, purpose: str, count: int | None
) -> pl.DataFrame:
    """Columns session, hash: at most `count` of those with labels, or all of them, ascending."""
    labelled = labels.scan().select("session").unique()
    hashes = sessions.scan().select("session", "hash").join(labelled, on="session", how="semi")
    frame = hashes.collect()
    drawn = frame.with_columns(draw=draw(frame["hash"], seed, purpose))
    return drawn.sort("draw", "session").slice(0, count).drop("draw").sort("session")


def _rows(
    sessions: pl.DataFrame, sources: Sources, labels: pl.DataFrame, settings: Settings
) -> pl.DataFrame:
    union = unions(sources, sessions["session"].to_numpy(), settings.threads)
    rows = union.join(sessions, on="session", maintain_order="left").join(
        labels, on=["session", "aid"], how="left", maintain_order="left"
    )
    draws = draw_pairs(rows["hash"], rows["aid"], settings.seed, "union sample")
    is_label = pl.col("is_label") == 1
    return (
        rows.with_columns(pl.col("is_label").fill_null(0), draw=draws)
        .filter(is_label.fill_null(False) | (pl.col("draw") % KEPT_NEGATIVES == 0))
        .with_columns(weight=pl.when(is_label).then(1).otherwise(KEPT_NEGATIVES).cast(pl.UInt8))
        .select(UNION_SAMPLE.names())
    )


def unions(sources: Sources, queries: NDArray[np.int32], threads: int) -> pl.DataFrame:
    """Columns session, aid and `FACTS` of all items that are among the best of a source."""
    cost = np.diff(sources.session_start)[queries] + 1

    def kernel(first: int, last: int) -> tuple:
        return _unions_of_block(queries, sources, make_workspace(sources), first, last)

    frames = [
        pl.DataFrame({"session": session, "aid": aid, **dict(zip(FACTS, facts, strict=True))})
        for session, aid, facts in map_blocks(kernel, cost, threads)
    ]
    return pl.concat([UNION_SAMPLE.empty().select("session", "aid", *FACTS), *frames])


@njit(cache=True, nogil=True)
def _unions_of_block(
    queries: NDArray[np.int32], sources: Sources, work: Workspace, first: int, last: int
) -> tuple[NDArray, NDArray, NDArray]:
    rows = (last - first) * work.fact.shape[1]
    out_session, out_aid = np.empty(rows, np.int32), np.empty(rows, np.int32)
    out_facts = np.empty((len(work.fact), rows), np.uint16)
    row = 0
    for query in range(first, last):
        union, slots = fill_union(queries[query], sources, work)
        size = drop_ineligible(queries[query], union, sources, work)
        for place in range(size):
            out_session[row] = queries[query]
            out_aid[row] = work.aid[work.member[place]]
            out_facts[:, row] = work.fact[:, place]
            row += 1
        clear_union(slots, work)
    return out_session[:row], out_aid[:row], out_facts[:, :row]


UNION_SAMPLE_STAGE = Stage(
    write=write_union_sample,
    version=f"1 {SAMPLED_SESSIONS} {KEPT_NEGATIVES} {UNION_VERSION}",
    settings=("seed", "exclude_ordered"),
)
