"""Which embeddings earn their minutes, into RESULTS.md.

    python -m bench embeddings ../shared/data

On two logs all embeddings of the catalogue are learned beside the default matrices; then the list
with each of them is compared by recall, without building anything again. And an index is compared
with the product of all vectors.
"""

import sys
import time
from pathlib import Path

import numpy as np
import polars as pl

from bench.command import run
from bench.matrices import (
    AT,
    GENERATED,
    SAMPLED,
    Pool,
    built_lane,
    ensure_generated,
    pool_of,
    shown,
    table,
    together,
)
from bench.results import write_section
from otto_pipeline.retrieval.embeddings import CATALOGUE
from otto_pipeline.retrieval.matrices import MATRICES
from otto_pipeline.retrieval.nearest import NEAREST, nearest
from otto_pipeline.retrieval.sources import LIST_WEIGHTS, SESSION_KNN
from otto_pipeline.settings import load_settings
from otto_pipeline.store.dataset import Dataset, Manifest

OTHERS = {matrix.name: LIST_WEIGHTS[matrix.name] for matrix in MATRICES} | {
    SESSION_KNN: LIST_WEIGHTS[SESSION_KNN]
}
WEIGHTS = (0.5, 1, 2, 4)
"""Of an embedding in the list; a matrix has 1."""
COMPARED = 2_000
"""Items whose neighbours are looked for in both ways."""


def measure(data: str) -> str:
    """The section's text. In a process with OTTO_EMBEDDINGS=all, as `main` starts it."""
    jd = Path(data) / "jd_hup_appliances/jd_hup_appliances.jsonl.gz"
    of_jd = []
    for seed in range(11, 16):
        with built_lane(jd, seed) as lane:
            of_jd.append(pool_of(lane, seed))
    with built_lane(GENERATED, 42) as lane:
        costs = {one.name: Dataset(lane / "embeddings" / one.name).manifest for one in CATALOGUE}
        index = indexed(Dataset(lane / "embeddings/spectral").read())
        pools = {"jd_hup_appliances": together(of_jd), "generated": pool_of(lane, 42)}
    columns = [
        f"{log}: {what}@{at}" for log in pools for what in ("alone", "all") for at in (20, AT)
    ]
    base = ", ".join(
        f"{log} {one.recall(OTHERS, 20):.4f} and {one.recall(OTHERS):.4f}"
        for log, one in pools.items()
    )
    return "\n\n".join(
        [
            "Weighted recall@20 and @100 of the list that needs no labels; alone: with history and "
            "popularity; all: with the default matrices and session kNN too. jd_hup_appliances "
            f"with cut seeds 11–15; a log of 1,290,000 generated sessions, {SAMPLED:,} of its "
            f"query sessions. Seconds and memory of learning are of the latter. Without any "
            f"embedding: {base}.",
            table(["embedding", "s", "GB", *columns], rows(pools, costs)),
            "With all others, by the embedding's weight in the list (a matrix has 1):",
            table(
                ["embedding", "weight", *(f"{log}: @{at}" for log in pools for at in (20, AT))],
                by_weight(pools),
            ),
            index,
        ]
    )


def rows(pools: dict[str, Pool], costs: dict[str, Manifest]) -> list[list[str]]:
    return [
        [
            one.name,
            f"{costs[one.name].seconds:.1f}",
            f"{costs[one.name].peak_bytes / 1e9:.1f}",
            *(
                shown(pool.recall({**others, one.name: LIST_WEIGHTS[one.name]}, at))
                for pool in pools.values()
                for others in ({}, OTHERS)
                for at in (20, AT)
            ),
        ]
        for one in CATALOGUE
    ]


def by_weight(pools: dict[str, Pool]) -> list[list[str]]:
    return [
        [
            one.name,
            f"{weight:g}",
            *(
                shown(pool.recall({**OTHERS, one.name: weight}, at))
                for pool in pools.values()
                for at in (20, AT)
            ),
        ]
        for one in CATALOGUE
        for weight in WEIGHTS
    ]


def indexed(embedding: pl.DataFrame) -> str:
    """What an index finds of the nearest items, and how long it and the exact product take."""
    aid, threads = embedding["aid"].to_numpy(), load_settings().threads
    vectors = embedding["vector"].to_numpy(writable=True)
    asked = np.random.default_rng(1).choice(len(aid), COMPARED, replace=False)
    began = time.monotonic()
    pl.concat(nearest(aid, vectors, asked[:1], threads, 1))
    built = time.monotonic()
    found = pl.concat(nearest(aid, vectors, asked, threads, 1))
    both = time.monotonic()
    cosine = vectors[asked] @ vectors.T
    cosine[np.arange(COMPARED), asked] = -1
    best = np.argpartition(-cosine, NEAREST, axis=1)[:, :NEAREST]
    exact_seconds = time.monotonic() - both
    exact = pl.DataFrame({"aid": np.repeat(aid[asked], NEAREST), "neighbour": aid[best.ravel()]})
    recall = exact.join(found, on=["aid", "neighbour"], how="semi").height / exact.height
    asking = (both - built) - (built - began)
    return (
        f"The {NEAREST} nearest of {COMPARED:,} of {len(aid):,} items in `spectral`: an index "
        f"is built in {built - began:.1f} s, answers in {asking:.1f} s and finds {recall:.4f} of "
        f"the exact; the product of all vectors takes {exact_seconds:.1f} s."
    )


def main(data: str) -> None:
    """`data` is the folder of the real logs."""
    ensure_generated()
    text = run(sys.executable, "-m", "bench.embeddings", data, OTTO_EMBEDDINGS="all").output
    write_section("Which embeddings", f"python -m bench embeddings {data}", text)


if __name__ == "__main__":
    print(measure(sys.argv[1]))
