"""Which co-visitation matrices are worth building, into RESULTS.md.

    python -m bench matrices ../shared/data

On two logs, candidates are made with all matrices of the catalogue at once; then sets of matrices
are compared by the recall of the 100 best by their list, without building anything again. From
the seed's three on, the matrix that helps most is added until 99 % of the recall of all of them
is kept on both logs; then any that is not needed is taken out again.
"""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bench.command import run
from bench.generate import DATA, OTTO, scratch
from bench.results import write_section
from bench.stage import STEPS, manifests_of
from otto_pipeline.orchestration.building import inputs_of
from otto_pipeline.retrieval.candidates import candidates, query_sessions
from otto_pipeline.retrieval.matrices import CATALOGUE
from otto_pipeline.retrieval.sources import (
    HISTORY,
    LIST_WEIGHTS,
    POPULARITY,
    RANK_OFFSET,
    SESSION_KNN,
    SOURCES,
)
from otto_pipeline.retrieval.union import open_sources
from otto_pipeline.schemas import TYPES, WEIGHTS
from otto_pipeline.settings import load_settings
from otto_pipeline.store.dataset import Dataset

SEED = ("time", "cart_order", "buy2buy")
"""Names of the seed's three."""
KEPT = 0.99
AT = 100
CONSIDERED = 1000
KNN_WEIGHTS = (0, 1, 2, 3, 5, 10)
SAMPLED = 10_000
"""Query sessions of the generated log."""
GENERATED = DATA / "generated10"
GENERATED_SESSIONS, GENERATED_ITEMS = 1_290_000, 185_560
NAMES = [matrix.name for matrix in CATALOGUE]
ALL = dict.fromkeys(NAMES, 1.0)


@dataclass(frozen=True)
class Pool:
    """What all sources propose to query sessions: arrays by source or type, session, place."""

    sources: list[str]
    rank: NDArray[np.uint16]
    is_label: NDArray[np.bool_]
    labels: NDArray[np.int64]
    """Number of labels of each type, found or not."""

    def recall(self, weights: Mapping[str, float], at: int = AT) -> float:
        """Weighted recall of the best by the list of history, popularity and these sources."""
        score = self._part(HISTORY, 1) + (self.rank[0] > 0)
        score += self._part(POPULARITY, LIST_WEIGHTS[POPULARITY])
        for name, weight in weights.items():
            score += self._part(name, weight)
        best = np.argpartition(-score, at, axis=1)[:, :at]
        proposed = np.take_along_axis(score, best, axis=1) > 0
        hits = np.take_along_axis(self.is_label, best[None], axis=2) & proposed
        found = hits.sum(axis=(1, 2))
        shares = np.divide(found, self.labels, out=np.zeros(3), where=self.labels > 0)
        return float(shares @ [WEIGHTS[name] for name in TYPES])

    def _part(self, source: str, weight: float) -> NDArray[np.float32]:
        rank = self.rank[self.sources.index(source)]
        return np.where(rank > 0, weight / (np.float32(RANK_OFFSET) + rank), np.float32(0))


def pool(log: Path, seed: int) -> Pool:
    """Build the log's lane, and what all its sources propose to its query sessions.

    In a process with OTTO_MATRICES=all, as `main` starts it.
    """
    with built_lane(log, seed) as lane:
        return pool_of(lane, seed)


@contextmanager
def built_lane(log: Path, seed: int, days: str = "7") -> Iterator[Path]:
    """The validation lane's folder, built up to what candidates are made from."""
    with scratch() as store:
        settings = load_settings(
            {"OTTO_DATA_DIR": str(log), "OTTO_STORE_DIR": store, "OTTO_SEED": str(seed)}
            | {"OTTO_VALIDATION_DAYS": days}
        )
        for name, artifacts in STEPS.items():
            if name == "validation/candidates":
                break
            if name.startswith(("log/", "validation/")):
                manifests_of(artifacts, "full", settings)
        yield Path(store) / "full/validation"


def pool_of(lane: Path, seed: int) -> Pool:
    """What the sources of this process propose to the query sessions of a lane."""
    queries = query_sessions(Dataset(lane / "sessions"))["session"].to_numpy()
    if len(queries) > SAMPLED:
        queries = np.sort(np.random.default_rng(seed).choice(queries, SAMPLED, replace=False))
    settings = load_settings()
    sources = open_sources(inputs_of(STEPS["validation/candidates"][0], lane.parent), settings)
    found, _ = candidates(sources, queries, CONSIDERED, settings.threads)
    return _pool(found, Dataset(lane / "labels").read(), queries)


def _pool(found: pl.DataFrame, labels: pl.DataFrame, queries: NDArray[np.int32]) -> Pool:
    session = np.searchsorted(queries, found["session"].to_numpy())
    place = np.arange(found.height) - np.searchsorted(session, session)
    shape = (len(queries), CONSIDERED)
    rank = np.zeros((len(SOURCES), *shape), np.uint16)
    for index, name in enumerate(SOURCES):
        rank[index, session, place] = found[f"{name}_rank"].fill_null(0).to_numpy()
    labels = labels.filter(pl.col("session").is_in(queries))
    is_label = np.zeros((3, *shape), np.bool_)
    for index, name in enumerate(TYPES):
        of_type = labels.filter(pl.col("type") == name).select("session", "aid", hit=True)
        joined = found.select("session", "aid").join(
            of_type, on=["session", "aid"], how="left", maintain_order="left"
        )
        is_label[index, session, place] = joined["hit"].fill_null(False).to_numpy()
    counts = [labels.filter(pl.col("type") == name).height for name in TYPES]
    return Pool(list(SOURCES), rank, is_label, np.array(counts))


def together(pools: list[Pool]) -> Pool:
    """Several pools as one."""
    return Pool(
        pools[0].sources,
        np.concatenate([one.rank for one in pools], axis=1),
        np.concatenate([one.is_label for one in pools], axis=1),
        sum(one.labels for one in pools),
    )


def smallest(pools: dict[str, Pool]) -> tuple[list[str], list[list[str]]]:
    """Names of the set, and a row of the table for each step to it."""
    goal = {log: one.recall(ALL) for log, one in pools.items()}
    names = list(SEED)
    rows = []

    def kept(chosen: list[str]) -> list[float]:
        return [one.recall(dict.fromkeys(chosen, 1)) / goal[log] for log, one in pools.items()]

    rows.append(["the seed's", *map(shown, kept(names))])
    while min(kept(names)) < KEPT:
        others = [name for name in NAMES if name not in names]
        best = max(others, key=lambda name: min(kept([*names, name])))
        names.append(best)
        rows.append([f"+ {best}", *map(shown, kept(names))])
    for name in names[len(SEED) : -1]:
        without = [other for other in names if other != name]
        if min(kept(without)) >= KEPT:
            names = without
            rows.append([f"− {name}", *map(shown, kept(names))])
    return names, rows


def shown(value: float) -> str:
    return f"{value:.4f}"


def ablation(pools: dict[str, Pool]) -> list[list[str]]:
    """For each matrix, on each log: recall with history and popularity, and of all without it."""
    return [
        [
            name,
            *(
                shown(value)
                for one in pools.values()
                for value in (
                    one.recall({name: 1}),
                    one.recall({n: 1 for n in NAMES if n != name}),
                )
            ),
        ]
        for name in NAMES
    ]


def with_knn(pools: dict[str, Pool], names: list[str]) -> list[list[str]]:
    """For each weight of session kNN in the list, on each log: recall at 20 and at 100."""
    return [
        [
            f"{weight:g}",
            *(
                shown(one.recall(dict.fromkeys(names, 1) | {SESSION_KNN: weight}, at))
                for one in pools.values()
                for at in (20, AT)
            ),
        ]
        for weight in KNN_WEIGHTS
    ]


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def measure(data: str) -> str:
    """The section's text."""
    jd = Path(data) / "jd_hup_appliances/jd_hup_appliances.jsonl.gz"
    pools = {
        "jd_hup_appliances": together([pool(jd, seed) for seed in range(11, 16)]),
        "generated": pool(GENERATED, 42),
    }
    names, steps = smallest(pools)
    of_all = ", ".join(f"{log} {one.recall(ALL):.4f}" for log, one in pools.items())
    without = ", ".join(f"{log} {one.recall({}):.4f}" for log, one in pools.items())
    columns = [f"{log}: {what}" for log in pools for what in ("alone", "all without")]
    return "\n\n".join(
        [
            f"Weighted recall@{AT} of the list that needs no labels: history, popularity and the "
            f"matrices. jd_hup_appliances with cut seeds 11–15; a log of 1,290,000 generated "
            f"sessions, {SAMPLED:,} of its query sessions. Of all {len(NAMES)} matrices: {of_all}; "
            f"of none: {without}.",
            table(["matrices", *(f"{log}, of all" for log in pools)], steps),
            f"The default: {', '.join(names)}.",
            table(["matrix", *columns], ablation(pools)),
            "The default with session kNN, by its weight in the list (a matrix has 1):",
            table(
                ["weight", *(f"{log}: recall@{at}" for log in pools for at in (20, AT))],
                with_knn(pools, names),
            ),
        ]
    )


def ensure_generated() -> None:
    """Generate the log where it is missing."""
    if not GENERATED.exists():
        size = ("--sessions", str(GENERATED_SESSIONS), "--items", str(GENERATED_ITEMS))
        run(OTTO, "generate", *size, "--test-sessions", "0", "--out", str(GENERATED))


def main(data: str) -> None:
    """`data` is the folder of the real logs."""
    ensure_generated()
    text = run(
        sys.executable, "-m", "bench.matrices", data, OTTO_MATRICES="all", OTTO_EMBEDDINGS="none"
    ).output
    write_section("Which matrices", f"python -m bench matrices {data}", text)


if __name__ == "__main__":
    assert os.environ["OTTO_MATRICES"] == "all"
    print(measure(sys.argv[1]))
