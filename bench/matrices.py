"""Which co-visitation matrices are worth building, into RESULTS.md.

    python -m bench matrices ../shared/data

On two logs, candidates are made with all matrices of the catalogue at once; then sets of matrices
are compared by the recall of the 100 best by their list, without building anything again. From
the seed's three on, the matrix that helps most is added until 99 % of the recall of all of them
is kept on both logs; then any that is not needed is taken out again.
"""

import os
import sys
from collections.abc import Iterable
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
from otto_pipeline.retrieval.sources import LIST_WEIGHTS, POPULARITY, RANK_OFFSET
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
NAMES = [matrix.name for matrix in CATALOGUE]


@dataclass(frozen=True)
class Pool:
    """What all sources propose to query sessions: arrays by source or type, session, place."""

    rank: NDArray[np.uint16]
    is_label: NDArray[np.bool_]
    labels: NDArray[np.int64]
    """Number of labels of each type, found or not."""

    def recall(self, names: Iterable[str], knn: float = 0.0, at: int = AT) -> float:
        """Weighted recall of the best by the list of these matrices and of session kNN."""
        score = (
            _reciprocal(self.rank[0])
            + (self.rank[0] > 0)
            + LIST_WEIGHTS[POPULARITY] * _reciprocal(self.rank[-1])
        )
        score += knn * _reciprocal(self.rank[-2])
        for name in names:
            score += _reciprocal(self.rank[1 + NAMES.index(name)])
        best = np.argpartition(-score, at, axis=1)[:, :at]
        proposed = np.take_along_axis(score, best, axis=1) > 0
        hits = np.take_along_axis(self.is_label, best[None], axis=2) & proposed
        found = hits.sum(axis=(1, 2))
        shares = np.divide(found, self.labels, out=np.zeros(3), where=self.labels > 0)
        return float(shares @ [WEIGHTS[name] for name in TYPES])


def _reciprocal(rank: NDArray[np.uint16]) -> NDArray[np.float32]:
    return np.where(rank > 0, 1 / (np.float32(RANK_OFFSET) + rank), np.float32(0))


def pool(log: Path, days: str, seed: int) -> Pool:
    """Build the log's matrices, and what they propose to its query sessions.

    In a process with OTTO_MATRICES=all, as `main` starts it.
    """
    with scratch() as store:
        settings = load_settings(
            {
                "OTTO_DATA_DIR": str(log),
                "OTTO_STORE_DIR": store,
                "OTTO_SEED": str(seed),
                "OTTO_VALIDATION_DAYS": days,
            }
        )
        for name, artifacts in STEPS.items():
            if name.startswith("log/") or name.startswith("validation/"):
                if name == "validation/candidates":
                    break
                manifests_of(artifacts, "full", settings)
        lane = Path(store) / "full/validation"
        queries = query_sessions(Dataset(lane / "sessions"))["session"].to_numpy()
        if len(queries) > SAMPLED:
            queries = np.sort(np.random.default_rng(seed).choice(queries, SAMPLED, replace=False))
        inputs = inputs_of(STEPS["validation/candidates"][0], Path(store) / "full")
        sources = open_sources(inputs, settings)
        found, _ = candidates(sources, queries, CONSIDERED, settings.threads)
        return _pool(found, Dataset(lane / "labels").read(), queries)


def _pool(found: pl.DataFrame, labels: pl.DataFrame, queries: NDArray[np.int32]) -> Pool:
    session = np.searchsorted(queries, found["session"].to_numpy())
    place = np.arange(found.height) - np.searchsorted(session, session)
    shape = (len(queries), CONSIDERED)
    sources = [name for name in found.columns if name.endswith("_rank")]
    rank = np.zeros((len(sources), *shape), np.uint16)
    for index, name in enumerate(sources):
        rank[index, session, place] = found[name].fill_null(0).to_numpy()
    labels = labels.filter(pl.col("session").is_in(queries))
    is_label = np.zeros((3, *shape), np.bool_)
    for index, name in enumerate(TYPES):
        of_type = labels.filter(pl.col("type") == name).select("session", "aid", hit=True)
        joined = found.select("session", "aid").join(
            of_type, on=["session", "aid"], how="left", maintain_order="left"
        )
        is_label[index, session, place] = joined["hit"].fill_null(False).to_numpy()
    counts = [labels.filter(pl.col("type") == name).height for name in TYPES]
    return Pool(rank, is_label, np.array(counts))


def together(pools: list[Pool]) -> Pool:
    """Several pools as one."""
    return Pool(
        np.concatenate([one.rank for one in pools], axis=1),
        np.concatenate([one.is_label for one in pools], axis=1),
        sum(one.labels for one in pools),
    )


def smallest(pools: dict[str, Pool]) -> tuple[list[str], list[list[str]]]:
    """Names of the set, and a row of the table for each step to it."""
    goal = {log: one.recall(NAMES) for log, one in pools.items()}
    names = list(SEED)
    rows = []

    def kept(chosen: list[str]) -> list[float]:
        return [one.recall(chosen) / goal[log] for log, one in pools.items()]

    rows.append(["the seed's", *map(_shown, kept(names))])
    while min(kept(names)) < KEPT:
        others = [name for name in NAMES if name not in names]
        best = max(others, key=lambda name: min(kept([*names, name])))
        names.append(best)
        rows.append([f"+ {best}", *map(_shown, kept(names))])
    for name in names[len(SEED) : -1]:
        without = [other for other in names if other != name]
        if min(kept(without)) >= KEPT:
            names = without
            rows.append([f"− {name}", *map(_shown, kept(names))])
    return names, rows


def _shown(value: float) -> str:
    return f"{value:.4f}"


def ablation(pools: dict[str, Pool]) -> list[list[str]]:
    """For each matrix, on each log: recall with history and popularity, and of all without it."""
    return [
        [
            name,
            *(
                _shown(value)
                for one in pools.values()
                for value in (one.recall([name]), one.recall([n for n in NAMES if n != name]))
            ),
        ]
        for name in NAMES
    ]


def with_knn(pools: dict[str, Pool], names: list[str]) -> list[list[str]]:
    """For each weight of session kNN in the list, on each log: recall at 20 and at 100."""
    return [
        [
            f"{weight:g}",
            *(_shown(one.recall(names, weight, at)) for one in pools.values() for at in (20, AT)),
        ]
        for weight in KNN_WEIGHTS
    ]


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def measure(data: str) -> str:
    """The section's text."""
    jd = Path(data) / "jd_hup_appliances/jd_hup_appliances.jsonl.gz"
    pools = {
        "jd_hup_appliances": together([pool(jd, "7", seed) for seed in range(11, 16)]),
        "generated": pool(GENERATED, "7", 42),
    }
    names, steps = smallest(pools)
    of_all = ", ".join(f"{log} {one.recall(NAMES):.4f}" for log, one in pools.items())
    without = ", ".join(f"{log} {one.recall([]):.4f}" for log, one in pools.items())
    columns = [f"{log}: {what}" for log in pools for what in ("alone", "all without")]
    return "\n\n".join(
        [
            f"Weighted recall@{AT} of the list that needs no labels: history, popularity and the "
            f"matrices. jd_hup_appliances with cut seeds 11–15; a log of 1,290,000 generated "
            f"sessions, {SAMPLED:,} of its query sessions. Of all {len(NAMES)} matrices: {of_all}; "
            f"of none: {without}.",
            _table(["matrices", *(f"{log}, of all" for log in pools)], steps),
            f"The default: {', '.join(names)}.",
            _table(["matrix", *columns], ablation(pools)),
            "The default with session kNN, by its weight in the list (a matrix has 1):",
            _table(
                ["weight", *(f"{log}: recall@{at}" for log in pools for at in (20, AT))],
                with_knn(pools, names),
            ),
        ]
    )


def main(data: str) -> None:
    """`data` is the folder of the real logs."""
    if not GENERATED.exists():
        size = ("--sessions", "1290000", "--test-sessions", "0", "--items", "185560")
        run(OTTO, "generate", *size, "--out", str(GENERATED))
    text = run(sys.executable, "-m", "bench.matrices", data, OTTO_MATRICES="all").output
    write_section("Which matrices", f"python -m bench matrices {data}", text)


if __name__ == "__main__":
    assert os.environ["OTTO_MATRICES"] == "all"
    print(measure(sys.argv[1]))
