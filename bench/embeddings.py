"""Which embeddings earn their minutes, into RESULTS.md.

    python -m bench embeddings ../shared/data

On two logs all embeddings of the catalogue are learned beside the default matrices; then the list
with each of them is compared by recall, without building anything again.
"""

import sys
from pathlib import Path

from bench.command import run
from bench.generate import DATA, OTTO
from bench.matrices import (
    AT,
    SAMPLED,
    Pool,
    built_lane,
    pool_of,
    shown,
    table,
    together,
)
from bench.results import write_section
from otto_pipeline.retrieval.embeddings import CATALOGUE
from otto_pipeline.retrieval.matrices import MATRICES
from otto_pipeline.retrieval.sources import LIST_WEIGHTS, SESSION_KNN
from otto_pipeline.store.dataset import Dataset, Manifest

OTHERS = {matrix.name: LIST_WEIGHTS[matrix.name] for matrix in MATRICES} | {
    SESSION_KNN: LIST_WEIGHTS[SESSION_KNN]
}
WEIGHTS = (0.5, 1, 2, 4)
"""Of an embedding in the list; a matrix has 1."""
GENERATED, SESSIONS, ITEMS = DATA / "generated100k", 100_000, 14_384
"""A log small enough to learn word2vec from in minutes, with as many sessions an item as OTTO."""


def measure(data: str) -> str:
    """The section's text. In a process with OTTO_EMBEDDINGS=all, as `main` starts it."""
    jd = Path(data) / "jd_hup_appliances/jd_hup_appliances.jsonl.gz"
    of_jd = []
    for seed in range(11, 16):
        with built_lane(jd, seed) as lane:
            of_jd.append(pool_of(lane, seed))
    with built_lane(GENERATED, 42) as lane:
        costs = {one.name: Dataset(lane / "embeddings" / one.name).manifest for one in CATALOGUE}
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
            f"with cut seeds 11–15; a log of {SESSIONS:,} generated sessions, {SAMPLED:,} of its "
            "query sessions. Seconds and memory of learning are of the latter. "
            f"Without any embedding: {base}.",
            table(["embedding", "s", "GB", *columns], rows(pools, costs)),
            "With all others, by the embedding's weight in the list (a matrix has 1):",
            table(
                ["embedding", "weight", *(f"{log}: @{at}" for log in pools for at in (20, AT))],
                by_weight(pools),
            ),
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


def ensure_generated() -> None:
    """Generate the log where it is missing."""
    if not GENERATED.exists():
        size = ("--sessions", str(SESSIONS), "--test-sessions", "0", "--items", str(ITEMS))
        run(OTTO, "generate", *size, "--out", str(GENERATED))


def main(data: str) -> None:
    """`data` is the folder of the real logs."""
    ensure_generated()
    text = run(sys.executable, "-m", "bench.embeddings", data, OTTO_EMBEDDINGS="all").output
    write_section("Which embeddings", f"python -m bench embeddings {data}", text)


if __name__ == "__main__":
    print(measure(sys.argv[1]))
