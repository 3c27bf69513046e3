"""XGBoost models → margins of rows, several times faster than XGBoost, bit by bit the same.

A split `x < threshold` needs no more of x than how many of the model's thresholds it has reached.
So `read_forests` collects the thresholds of several models over the same features, `Codes` holds
that count for each row, one byte a feature, and a `Forest` is evaluated on the codes: every node of
a tree for a block of rows, children before parents, so that no branch depends on the data.

    coding, (clicks, carts, orders) = read_forests(boosters)
    codes = Codes(coding, features.height)
    codes.add(features, threads)
    margins = clicks.predict(codes, threads)

A model that is stacked on another's scores finds them in the codes after a further `add`.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import xgboost as xgb
from numpy.typing import NDArray

from otto_pipeline.compute.threads import map_ahead, map_blocks
from otto_pipeline.ranking.forest_kernels import BLOCK_ROWS, add_trees, write_codes

MAX_THRESHOLDS = 255
"""Thresholds that one byte can count."""
LEAF_TYPES = (np.uint8, np.uint16)
"""Types for the number of a leaf inside its tree: the smaller, the more rows an instruction has."""


@dataclass(frozen=True)
class Slot:
    """One byte of a coded row: how many of these thresholds, ascending, the feature has reached."""

    feature: str
    thresholds: NDArray[np.float32]


Coding = tuple[Slot, ...]
"""The bytes of a coded row. A feature with more than 255 thresholds has several slots; a feature
that no model uses has none."""


class Codes:
    """Rows of features in the form that forests read: uint8 [block, slot, row of the block].

    Needs a byte a row and slot, and for each thread a column of float32 while it is added.
    """

    def __init__(self, coding: Coding, rows: int) -> None:
        blocks = -(-rows // BLOCK_ROWS)
        self.blocks = np.empty((blocks, len(coding), BLOCK_ROWS), np.uint8)
        self.rows = rows
        self.features: set[str] = set()
        self._coding = coding

    def add(self, frame: pl.DataFrame, threads: int) -> None:
        """Code the columns that some forest uses; XGBoost too compares them as float32.

        Raises ValueError for another number of rows, and for null or NaN: what is missing has a
        sentinel.
        """
        if frame.height != self.rows:
            raise ValueError(f"{frame.height} rows of features instead of {self.rows}")
        slots = [
            number for number, slot in enumerate(self._coding) if slot.feature in frame.columns
        ]
        for number in map_ahead(lambda number: self._write(frame, number), slots, threads):
            self.features.add(self._coding[number].feature)

    def _write(self, frame: pl.DataFrame, number: int) -> int:
        slot = self._coding[number]
        values = frame[slot.feature].cast(pl.Float32).to_numpy()
        if not write_codes(values, _search_tree(slot.thresholds), self.blocks[:, number]):
            raise ValueError(f"feature {slot.feature} has null or NaN instead of a sentinel")
        return number


@dataclass(frozen=True)
class Forest:
    """The trees of one model, with their splits as places in a coding.

    `nodes` int32 [node, 5] is what `forest_kernels` describes; `first_node` and `first_leaf` int64
    [trees + 1] say where a tree begins. `base` is what a margin is before the first tree,
    `features` are those that splits read.
    """

    base: np.float32
    nodes: NDArray[np.int32]
    first_node: NDArray[np.int64]
    leaves: NDArray[np.float32]
    first_leaf: NDArray[np.int64]
    features: frozenset[str]

    @property
    def trees(self) -> int:
        """Number of trees."""
        return len(self.first_node) - 1

    def predict(self, codes: Codes, threads: int) -> NDArray[np.float32]:
        """Margin of each row: `inplace_predict(…, predict_type="margin")`, bit by bit.

        Raises ValueError where a feature that the model uses has not been added.
        """
        if missing := sorted(self.features - codes.features):
            raise ValueError(f"no codes of features {missing}")
        margins = np.full((len(codes.blocks), BLOCK_ROWS), self.base, np.float32)

        def add(first: int, last: int) -> None:
            add_trees(
                codes.blocks[first:last],
                self.nodes,
                self.first_node,
                self.leaves,
                self.first_leaf,
                self._stack(),
                margins[first:last],
            )

        for _ in map_blocks(add, np.ones(len(margins), np.int64), threads):
            pass
        return margins.reshape(-1)[: codes.rows]

    def _stack(self) -> NDArray[Any]:
        """Room for the results of the nodes that wait for their parents."""
        places = self.nodes[:, -1].max(initial=0) + 1
        leaves = np.diff(self.first_leaf).max()
        dtype = next(dtype for dtype in LEAF_TYPES if leaves - 1 <= np.iinfo(dtype).max)
        return np.empty(places * BLOCK_ROWS, dtype)


def read_forests(boosters: Sequence[xgb.Booster]) -> tuple[Coding, list[Forest]]:
    """The forests of models over the same features, and the coding of rows that they share.

    Raises ValueError for a model without names of features or without trees, and for what is not a
    sum of numeric trees: those XGBoost must predict itself.
    """
    models = [_Model.of(booster) for booster in boosters]
    coding = _coding(models)
    places = {
        (slot.feature, threshold): (number, cut)
        for number, slot in enumerate(coding)
        for cut, threshold in enumerate(slot.thresholds.tolist())
    }
    return coding, [_forest(model, places) for model in models]


@dataclass(frozen=True)
class _Tree:
    """A tree by node: its children (-1 for a leaf's) and feature, and as `value` the threshold
    below which a row goes left, or what a leaf gives.
    """

    left: list[int]
    right: list[int]
    feature: list[str]
    value: list[float]


@dataclass(frozen=True)
class _Model:
    base: np.float32
    trees: list[_Tree]

    @classmethod
    def of(cls, booster: xgb.Booster) -> "_Model":
        learner = _json(booster)["learner"]
        names, found = learner["feature_names"], learner["gradient_booster"]
        outputs = [learner["learner_model_param"][name] for name in ("num_class", "num_target")]
        if found["name"] != "gbtree" or outputs != ["0", "1"]:
            raise ValueError("not a model that is one sum of trees")
        if not names:
            raise ValueError("the model has no names of features")
        trees = found["model"]["trees"]
        if not trees or any(any(tree["split_type"]) for tree in trees):
            raise ValueError("the model has no trees, or categorical splits")
        return cls(_base(booster), [_tree(tree, names) for tree in trees])


def _json(booster: xgb.Booster) -> dict[str, Any]:
    return json.loads(booster.save_raw("json"))


def _tree(tree: dict[str, Any], names: list[str]) -> _Tree:
    return _Tree(
        tree["left_children"],
        tree["right_children"],
        [names[feature] for feature in tree["split_indices"]],
        np.array(tree["split_conditions"], np.float32).tolist(),
    )


def _base(booster: xgb.Booster) -> np.float32:
    """What a margin is before the first tree, said by XGBoost: objectives differ in it.

    It is what the model's first tree predicts with zero in all its leaves; negative zero, since
    adding that changes nothing, not even the sign of a zero.
    """
    model = _json(booster[:1])
    for tree in model["learner"]["gradient_booster"]["model"]["trees"]:
        tree["split_conditions"] = [-0.0] * len(tree["split_conditions"])
    flat = xgb.Booster(model_file=bytearray(json.dumps(model).encode()))
    row = np.zeros((1, flat.num_features()), np.float32)
    return flat.inplace_predict(row, predict_type="margin")[0]


def _coding(models: Iterable[_Model]) -> Coding:
    """Slots in which each threshold of each model is found."""
    thresholds: dict[str, set[float]] = {}
    for model in models:
        for tree in model.trees:
            for left, feature, value in zip(tree.left, tree.feature, tree.value, strict=True):
                if left >= 0:
                    thresholds.setdefault(feature, set()).add(value)
    return tuple(
        Slot(feature, np.array(ascending[first : first + MAX_THRESHOLDS], np.float32))
        for feature, found in sorted(thresholds.items())
        for ascending in [sorted(found)]
        for first in range(0, len(ascending), MAX_THRESHOLDS)
    )


def _search_tree(thresholds: NDArray[np.float32]) -> NDArray[np.float32]:
    """Thresholds, and infinity until there are 2^n - 1 of them."""
    size = 2 ** len(thresholds).bit_length() - 1
    return np.pad(thresholds, (0, size - len(thresholds)), constant_values=np.inf)


def _forest(model: _Model, places: dict[tuple[str, float], tuple[int, int]]) -> Forest:
    nodes: list[list[int]] = []
    leaves: list[float] = []
    first_node, first_leaf = [0], [0]
    for tree in model.trees:
        _append(tree, places, nodes, leaves)
        first_node.append(len(nodes))
        first_leaf.append(len(leaves))
    return Forest(
        model.base,
        np.array(nodes, np.int32).reshape(-1, 5),
        np.array(first_node),
        np.array(leaves, np.float32),
        np.array(first_leaf),
        frozenset(
            feature
            for tree in model.trees
            for feature, left in zip(tree.feature, tree.left, strict=True)
            if left >= 0
        ),
    )


def _append(
    tree: _Tree,
    places: dict[tuple[str, float], tuple[int, int]],
    nodes: list[list[int]],
    leaves: list[float],
) -> None:
    """Append the nodes of a tree, children before parents, and its leaves."""
    first_leaf = len(leaves)

    def visit(node: int, place: int) -> int:
        if tree.left[node] < 0:
            leaves.append(tree.value[node])
            return first_leaf - len(leaves)
        left = visit(tree.left[node], place)
        right = visit(tree.right[node], place + 1)
        slot, cut = places[tree.feature[node], tree.value[node]]
        nodes.append([slot, cut, left, right, place])
        return place

    visit(0, 0)
