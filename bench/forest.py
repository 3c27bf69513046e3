"""Prediction by `ranking/forest.py` against XGBoost's own, one core, into RESULTS.md.

python -m bench forest

Features are drawn, typed like those of the pipeline; three targets are learnt from one quantised
matrix, so that their models choose among the same thresholds. Labels are noisy and trees are grown
as `binary:logistic`, which fills them: all nodes of a tree cost time here, not only those on a
row's path. Each time is the best of three.
"""

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np
import polars as pl
import xgboost as xgb

from bench.results import write_section
from otto_pipeline.ranking.forest import Codes, Coding, read_forests
from otto_pipeline.schemas import TYPES

ROWS = 500_000
TRAINING_ROWS = 100_000
LARGEST = {pl.Int8: 20, pl.Int16: 3_000}
COLUMNS = {pl.Float32: 40, pl.Int8: 20, pl.Int16: 20}
DEPTHS = (5, 6, 7)
TREES = (100, 300)
HEADS = (
    "depth",
    "trees",
    "leaves a tree",
    "bytes a row",
    "XGBoost",
    "forest",
    "with coding",
    "three targets, coded once",
    "coding, ns a value",
)

Result = TypeVar("Result")


def drawn_features(rng: np.random.Generator) -> pl.DataFrame:
    """Normal floats, and whole numbers of which the small ones are frequent; -1 is missing."""
    columns = {}
    for dtype, count in COLUMNS.items():
        for number in range(count):
            values = rng.normal(size=ROWS)
            if dtype in LARGEST:
                values = np.floor(LARGEST[dtype] * rng.random(ROWS) ** 3) - 1
            columns[f"{dtype}_{number}"] = pl.Series(values.astype(np.float32)).cast(dtype)
    return pl.DataFrame(columns)


def boosters(features: pl.DataFrame, depth: int, rng: np.random.Generator) -> Iterator[xgb.Booster]:
    """A model of each target, of the most trees."""
    matrix = features[:TRAINING_ROWS].cast(pl.Float32).to_numpy()
    data = xgb.QuantileDMatrix(matrix, feature_names=features.columns)
    parameters = {"objective": "binary:logistic", "max_depth": depth, "colsample_bytree": 0.5}
    scaled = (matrix - matrix.mean(axis=0)) / matrix.std(axis=0)
    for _ in TYPES:
        signal = scaled @ rng.normal(size=scaled.shape[1]) / np.sqrt(scaled.shape[1])
        data.set_label(signal + rng.normal(size=len(matrix)) > 1)
        yield xgb.train(parameters, data, max(TREES))


def best(run: Callable[[], Result]) -> tuple[float, Result]:
    """Shortest seconds of three runs, and what the last gave."""
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        result = run()
        seconds.append(time.perf_counter() - began)
    return min(seconds), result


def coded(coding: Coding, features: pl.DataFrame) -> Codes:
    codes = Codes(coding, features.height)
    codes.add(features, threads=1)
    return codes


def compare(features: pl.DataFrame, depth: int, trees: int, models: list[xgb.Booster]) -> str:
    """A row of the table; the first model is that of a single target."""
    models[0].set_param({"nthread": 1})
    matrix = features.cast(pl.Float32).to_numpy(order="c")
    xgboost, expected = best(lambda: models[0].inplace_predict(matrix, predict_type="margin"))
    one_coding, (forest,) = read_forests(models[:1])
    coding, codes = best(lambda: coded(one_coding, features))
    evaluation, margins = best(lambda: forest.predict(codes, threads=1))
    if not np.array_equal(margins, expected):
        raise AssertionError("not the margins of XGBoost")
    shared_coding, forests = read_forests(models)
    together, _ = best(
        lambda: [
            each.predict(codes, threads=1)
            for codes in [coded(shared_coding, features)]
            for each in forests
        ]
    )
    row_trees = features.height * trees / 1e6
    speeds = (xgboost, evaluation, coding + evaluation, together / len(models))
    cells = [
        f"{depth}",
        f"{trees}",
        f"{len(forest.leaves) / trees:.0f}",
        f"{len(one_coding)}; {len(shared_coding)}",
        *(f"{row_trees / seconds:.0f}" for seconds in speeds),
        f"{1e9 * coding / features.height / len(one_coding):.1f}",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    rng = np.random.default_rng(0)
    features = drawn_features(rng)
    lines = [f"| {' | '.join(HEADS)} |", "|---" * len(HEADS) + "|"]
    for depth in DEPTHS:
        models = list(boosters(features, depth, rng))
        for trees in TREES:
            lines.append(compare(features, depth, trees, [model[:trees] for model in models]))
    text = (
        f"Million row-trees a second on one core, {features.height:,} rows of "
        f"{features.width} features (i8, i16, f32); margins are equal bit by bit. XGBoost is "
        "`inplace_predict` of a float32 matrix that is there already. Bytes a row: those of a "
        "coded row, for one model and for three.\n\n" + "\n".join(lines)
    )
    write_section("Prediction of forests", "python -m bench forest", text)
