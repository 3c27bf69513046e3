"""Which families of features the rankers need, into RESULTS.md.

    python -m bench features ../shared/data

On each log the validation lane is built once; then rankers are fitted out-of-fold, with all
features and without each family, and compared by weighted recall@20 on the same sessions. What the
features cost is there beside it: bytes of a row, and seconds.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import xgboost as xgb
from numpy.typing import NDArray

from bench.command import run
from bench.generate import DATA, OTTO, scratch
from bench.results import write_section
from bench.stage import STEPS, manifests_of
from otto_pipeline.evaluation.bootstrap import QUANTILES, RESAMPLES
from otto_pipeline.features.candidate import CANDIDATE_FEATURES
from otto_pipeline.features.item import ITEM_FEATURES
from otto_pipeline.features.moment import MOMENT_FEATURES
from otto_pipeline.features.session import SESSION_FEATURES
from otto_pipeline.features.session_item import SESSION_ITEM_FEATURES
from otto_pipeline.features.similarity import SIMILARITY_FEATURES
from otto_pipeline.features.similarity_kernels import AGGREGATES
from otto_pipeline.features.table import FEATURE_NAMES
from otto_pipeline.retrieval.sources import NEIGHBOUR_SOURCES, SOURCES
from otto_pipeline.schemas import TYPES, WEIGHTS
from otto_pipeline.settings import load_settings
from otto_pipeline.store.dataset import Dataset

PARAMETERS = {
    "objective": "rank:ndcg",
    "max_depth": 4,
    "eta": 0.2,
    "max_bin": 128,
    "colsample_bytree": 0.4,
    "subsample": 0.8,
    "lambda": 10,
    "min_child_weight": 10,
    "lambdarank_pair_method": "topk",
    "lambdarank_num_pair_per_sample": 20,
    "nthread": 2,
}
"""RANKING.md, ranker per type; fewer and larger steps, as many rankers are fitted."""
ROUNDS = 50
FOLDS = 3
NEGATIVES = 24
GENERATED = DATA / "generated1"
SIZE = ("--sessions", "100000", "--test-sessions", "0", "--items", "60000")
FAMILIES = {
    "source ranks": [*(f"{source}_rank" for source in SOURCES), "sources"],
    "scores and places of list and pre-ranker": [
        f"{kind}_{what}" for kind in ("list", "pre") for what in ("score", "rank")
    ],
    "parts of scores": [f.name for f in CANDIDATE_FEATURES if f.name.endswith("_part")],
    "session": [f.name for f in SESSION_FEATURES],
    "item": [f.name for f in ITEM_FEATURES],
    "item at the moment": [f.name for f in MOMENT_FEATURES],
    "session×item": [f.name for f in SESSION_ITEM_FEATURES],
    "similarity": [f.name for f in SIMILARITY_FEATURES],
    **{
        f"similarity, {name}": [f"{source}_{name}" for source in NEIGHBOUR_SOURCES]
        for name in AGGREGATES
    },
    "similarity, cosines": [f.name for f in SIMILARITY_FEATURES if "_cosine_" in f.name],
}


class Cost(NamedTuple):
    """What the features of a lane took: rows, seconds, bytes in memory and on disk."""

    rows: int
    seconds: float
    memory: int
    disk: int


@dataclass(frozen=True)
class Log:
    """Candidates of one log: arrays by row, and the labels of each type by session.

    Sessions without a label among their candidates have no rows: no ranker changes their recall.
    """

    matrix: NDArray[np.float32]
    session: NDArray[np.int64]
    fold: NDArray[np.int64]
    chance: NDArray[np.float64]
    is_label: NDArray[np.bool_]
    labels: NDArray[np.int64]
    cost: Cost

    def hits(self, without: list[str]) -> NDArray[np.int64]:
        """Labels of each type and session among the out-of-fold 20 best, [3, sessions]."""
        columns = [i for i, name in enumerate(FEATURE_NAMES) if name not in without]
        features = np.ascontiguousarray(self.matrix[:, columns])
        found = np.zeros(self.labels.shape, np.int64)
        for target in range(len(TYPES)):
            has_label = np.zeros(found.shape[1], np.bool_)
            has_label[self.session[self.is_label[target]]] = True
            rows = np.flatnonzero(has_label[self.session])
            score = self._scores(features, target, rows)
            best = rows[np.lexsort((-score, self.session[rows]))]
            place = np.arange(len(best)) - np.searchsorted(self.session[best], self.session[best])
            hit = best[(place < 20) & self.is_label[target, best]]
            found[target] = np.bincount(self.session[hit], minlength=found.shape[1])
        return np.minimum(found, self.labels)

    def _scores(
        self, features: NDArray[np.float32], target: int, rows: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Out-of-fold scores of rows, whose sessions all have a label of the target."""
        score = np.empty(len(rows), np.float32)
        for fold in range(FOLDS):
            scored = self.fold[rows] == fold
            drawn = self.is_label[target, rows] | (self.chance[rows] < NEGATIVES / 100)
            learnt = rows[~scored & drawn]
            data = xgb.QuantileDMatrix(
                features[learnt],
                self.is_label[target, learnt],
                qid=self.session[learnt],
                max_bin=PARAMETERS["max_bin"],
            )
            booster = xgb.train(PARAMETERS | {"seed": fold}, data, ROUNDS)
            score[scored] = booster.inplace_predict(features[rows[scored]])
        return score


def read(log: Path, seed: int) -> Log:
    """The validation lane of a log."""
    with scratch() as store:
        settings = load_settings(
            {"OTTO_DATA_DIR": str(log), "OTTO_STORE_DIR": store, "OTTO_SEED": str(seed)}
            | {"OTTO_VALIDATION_DAYS": "7"}
        )
        for name, artifacts in STEPS.items():
            if name.startswith(("log/", "validation/")):
                began = time.monotonic()
                manifests = manifests_of(artifacts, "full", settings)
                if name == "validation/features":
                    break
        seconds = time.monotonic() - began
        lane = Path(store) / "full/validation"
        frame = Dataset(lane / "features").read()
        memory = int(frame.select("session", "aid", *FEATURE_NAMES).estimated_size())
        cost = Cost(frame.height, seconds, memory, manifests[0].bytes)
        return _log(frame, Dataset(lane / "labels").read(), seed, cost)


def _log(frame: pl.DataFrame, labels: pl.DataFrame, seed: int, cost: Cost) -> Log:
    label = pl.any_horizontal(f"label_{name}" for name in TYPES)
    frame = frame.filter(label.any().over("session"))
    sessions = np.union1d(frame["session"].to_numpy(), labels["session"].to_numpy())
    counts = np.zeros((len(TYPES), len(sessions)), np.int64)
    for target, name in enumerate(TYPES):
        of_type = labels.filter(pl.col("type") == name)["session"].to_numpy()
        np.add.at(counts[target], np.searchsorted(sessions, of_type), 1)
    session = np.searchsorted(sessions, frame["session"].to_numpy())
    return Log(
        matrix=frame.select(pl.col(FEATURE_NAMES).cast(pl.Float32)).to_numpy(order="c"),
        session=session,
        fold=np.random.default_rng(seed).integers(0, FOLDS, len(sessions))[session],
        chance=np.random.default_rng(seed + 1).random(frame.height),
        is_label=frame.select(f"label_{name}" for name in TYPES).to_numpy().T == 1,
        labels=np.minimum(counts, 20),
        cost=cost,
    )


def compare(logs: list[Log]) -> Iterator[tuple[str, float, float, float]]:
    """For each family: what leaving it out changes, and the difference's 95 % interval."""
    labels = np.concatenate([log.labels for log in logs], axis=1)
    whole = np.concatenate([log.hits([]) for log in logs], axis=1)
    frequency = np.random.default_rng(0).multinomial(
        labels.shape[1], np.full(labels.shape[1], 1 / labels.shape[1]), RESAMPLES
    )
    weights = np.array([WEIGHTS[name] for name in TYPES])
    yield "all", float(weights @ (whole.sum(1) / labels.sum(1))), 0.0, 0.0
    for name, features in FAMILIES.items():
        hits = np.concatenate([log.hits(features) for log in logs], axis=1)
        change = hits - whole
        drawn = (frequency @ change.T) / (frequency @ labels.T) @ weights
        yield (
            name,
            float(weights @ (change.sum(1) / labels.sum(1))),
            *map(float, np.quantile(drawn, QUANTILES)),
        )


def main(data: str) -> None:
    """`data` is the folder of the real logs."""
    if not GENERATED.exists():
        run(OTTO, "generate", *SIZE, "--out", str(GENERATED))
    jd = Path(data) / "jd_hup_appliances/jd_hup_appliances.jsonl.gz"
    logs = {
        "jd_hup_appliances, cut seeds 11–15": [read(jd, seed) for seed in range(11, 16)],
        "100,000 generated sessions": [read(GENERATED, 42)],
    }
    text = [
        "Change of the weighted recall@20 when a family is left out, with its 95 % interval "
        f"(paired bootstrap over sessions); {FOLDS} folds, depth {PARAMETERS['max_depth']}, "
        f"{ROUNDS} rounds."
    ]
    for title, made in logs.items():
        (_, whole, *_), *rows = compare(made)
        text += [
            f"{title}: {whole:.4f} with all {len(FEATURE_NAMES)} features. "
            + _shown_cost([log.cost for log in made]),
            "| without | columns | change | interval |\n|---|---|---|---|\n"
            + "\n".join(
                f"| {name} | {len(FAMILIES[name])} | {change:+.4f} | [{low:+.4f}, {high:+.4f}] |"
                for name, change, low, high in rows
            ),
        ]
    write_section("Which features", f"python -m bench features {data}", "\n\n".join(text))


def _shown_cost(costs: list[Cost]) -> str:
    rows, seconds, memory, disk = (sum(of_logs) for of_logs in zip(*costs, strict=True))
    return (
        f"{rows:,} candidates: {memory / rows:.0f} bytes a row in memory, {disk / rows:.0f} on "
        f"disk, made in {seconds:.1f} s."
    )
