"""Union sample → pre-rankers: the learned pre-score, the first stage of the funnel.

A pre-ranker is a few shallow trees (XGBoost, depth 3) over the ranks that the sources give an item
and two integers of its session. It orders the union, which is several times as large as what the
rankers can look at; the candidates kernel evaluates it. In the validation lane a session meets the
pre-ranker that has not seen it, in the submission lane one fitted on all. With too few labels
there is none, and the list that needs no labels orders the union.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import polars as pl
import xgboost as xgb
from numpy.typing import NDArray

from otto_pipeline.compute.kernels import inner_njit
from otto_pipeline.events.hashing import draw
from otto_pipeline.folds import row_folds
from otto_pipeline.retrieval.union import FACTS
from otto_pipeline.schemas import PRE_RANKER
from otto_pipeline.settings import Settings
from otto_pipeline.store.dataset import Dataset, Figures
from otto_pipeline.store.stage import Inputs, Stage

DEPTH = 3
NODES, LEAVES = 2**DEPTH - 1, 2**DEPTH
TREES = 30
PARAMETERS: dict[str, Any] = {
    "objective": "binary:logistic",
    "tree_method": "hist",
    "max_depth": DEPTH,
    "eta": 0.3,
    "lambda": 5,
    "max_delta_step": 1,  # labels are rare: a first step by their odds would go far too far
}
MIN_POSITIVE_SESSIONS = 300
"""Sessions with a label in their union that a pre-ranker needs; the list was as good below."""
ALL_SESSIONS = -1
"""The fold of a pre-ranker that has seen every session."""


class Trees(NamedTuple):
    """Complete trees of models, all leaves at depth 3.

    `feature`, `threshold` [model, tree, node]: node n sends what is ≥ threshold to node 2n + 2, the
    rest to 2n + 1. `leaf` [model, tree, leaf] float32.
    """

    feature: NDArray[np.int64]
    threshold: NDArray[np.uint16]
    leaf: NDArray[np.float32]


def write_fold_pre_ranker(inputs: Inputs, shard: int, settings: Settings, path: Path) -> Figures:
    """Fit on the sampled sessions outside one fold."""
    sample = inputs["union_sample"].read()
    draws = draw(sample["hash"], settings.seed, "folds").to_numpy()
    outside = row_folds(draws, settings.folds) != shard
    return _fit(sample.filter(pl.Series(outside)), shard, settings, path)


def write_pre_ranker(inputs: Inputs, _shard: int, settings: Settings, path: Path) -> Figures:
    """Fit on all sampled sessions."""
    return _fit(inputs["union_sample"].read(), ALL_SESSIONS, settings, path)


def _fit(sample: pl.DataFrame, fold: int, settings: Settings, path: Path) -> Figures:
    rows = xgb.QuantileDMatrix(
        sample.select(pl.col(FACTS).cast(pl.Float32)).to_numpy(order="c"),
        label=sample["is_label"].to_numpy(),
        weight=sample["weight"].to_numpy(),
        feature_names=list(FACTS),
        nthread=settings.threads,
    )
    parameters = PARAMETERS | {"seed": settings.seed, "nthread": settings.threads}
    booster = xgb.train(parameters, rows, TREES)
    path.write_bytes(booster.save_raw("ubj"))
    return {"fold": fold, "trees": booster.num_boosted_rounds(), "rows": sample.height}


def open_pre_rankers(dataset: Dataset) -> Trees:
    """The trees of all models of a dataset, in the order of its shards; perhaps of none."""
    return trees_of([_load(file) for file in dataset.files])


def trees_of(boosters: Sequence[xgb.Booster]) -> Trees:
    """The trees of models, completed."""
    models = [_complete_trees(booster) for booster in boosters]
    shape = (len(models), TREES)
    return Trees(
        np.array([model[0] for model in models], np.int64).reshape(*shape, NODES),
        np.array([model[1] for model in models], np.uint16).reshape(*shape, NODES),
        np.array([model[2] for model in models], np.float32).reshape(*shape, LEAVES),
    )


def _load(file: Path) -> xgb.Booster:
    return xgb.Booster(model_file=bytearray(file.read_bytes()))


def _complete_trees(
    booster: xgb.Booster,
) -> tuple[list[list[int]], list[list[int]], list[list[float]]]:
    model = msgspec.json.decode(booster.save_raw("json"))
    trees = model["learner"]["gradient_booster"]["model"]["trees"]
    completed = [_complete(tree) for tree in trees]
    return [t[0] for t in completed], [t[1] for t in completed], [t[2] for t in completed]


def _complete(tree: dict[str, list]) -> tuple[list[int], list[int], list[float]]:
    """A tree's features, thresholds and leaves; a leaf above depth 3 takes all places below it."""
    features, thresholds = [0] * NODES, [0] * NODES
    leaves = [0.0] * LEAVES

    def place(node: int, at: int) -> None:
        left, right = tree["left_children"][node], tree["right_children"][node]
        if at >= NODES:
            leaves[at - NODES] = tree["split_conditions"][node]
            return
        if left < 0:
            left = right = node
        else:  # integers are ≥ a threshold where they are ≥ the next integer
            features[at] = tree["split_indices"][node]
            thresholds[at] = int(np.ceil(tree["split_conditions"][node]))
        place(left, 2 * at + 1)
        place(right, 2 * at + 2)

    place(0, 0)
    return features, thresholds, leaves


NO_TREES = trees_of([])


@inner_njit
def add_trees(
    model: int, trees: Trees, fact: NDArray[np.uint16], size: int, score: NDArray[np.float32]
) -> None:
    """Add a model's trees to score[:size], one tree after the other.

    `fact` [len(FACTS), ≥ size]. All seven comparisons of a tree are made, and the leaf is selected
    among the eight, so that several items go through a tree at once.
    """
    for tree in range(trees.leaf.shape[1]):
        f = _first_seven(trees.feature[model, tree])
        t = _first_seven(trees.threshold[model, tree])
        leaves = trees.leaf[model, tree]
        leaf, last = _first_seven(leaves), leaves[LEAVES - 1]
        for place in range(size):
            at3 = leaf[1] if fact[f[3], place] >= t[3] else leaf[0]
            at4 = leaf[3] if fact[f[4], place] >= t[4] else leaf[2]
            at5 = leaf[5] if fact[f[5], place] >= t[5] else leaf[4]
            at6 = last if fact[f[6], place] >= t[6] else leaf[6]
            at1 = at4 if fact[f[1], place] >= t[1] else at3
            at2 = at6 if fact[f[2], place] >= t[2] else at5
            score[place] += at2 if fact[f[0], place] >= t[0] else at1


@inner_njit
def _first_seven(a: NDArray) -> tuple:
    """As a tuple: the compiler keeps it in registers, where an array could change with scores."""
    return a[0], a[1], a[2], a[3], a[4], a[5], a[6]


def frames(dataset: Dataset) -> list[pl.LazyFrame]:
    """What the models are, as rows of `PRE_RANKER`, for the check of the contract."""
    rows = []
    for file, receipt in zip(dataset.files, dataset.manifest.shards, strict=True):
        booster = _load(file)
        facts = {"trees": booster.num_boosted_rounds(), "features": booster.num_features()}
        rows.append({"fold": receipt.figures["fold"], "rows": receipt.figures["rows"], **facts})
    return [pl.LazyFrame(rows, schema=PRE_RANKER.empty().schema)]


def is_learnt(inputs: Inputs) -> bool:
    """Whether the sample has labels enough."""
    return inputs["union_sample"].total("positive_sessions") >= MIN_POSITIVE_SESSIONS


def _folds(inputs: Inputs, settings: Settings) -> int:
    return settings.folds if is_learnt(inputs) else 0


def _one_if_learnt(inputs: Inputs, _settings: Settings) -> int:
    return int(is_learnt(inputs))


VERSION = f"1 {PARAMETERS} {TREES} {MIN_POSITIVE_SESSIONS} {' '.join(FACTS)}"
FOLD_PRE_RANKERS_STAGE = Stage(
    write=write_fold_pre_ranker,
    version=VERSION,
    shards=_folds,
    settings=("seed", "folds"),
    file="fold-{shard}.ubj",
)
PRE_RANKER_STAGE = Stage(
    write=write_pre_ranker,
    version=VERSION,
    shards=_one_if_learnt,
    settings=("seed",),
    file="pre-ranker.ubj",
)
