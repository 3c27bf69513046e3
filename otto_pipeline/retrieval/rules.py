"""Matrices of one walk in the form that the kernel reads."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from otto_pipeline.retrieval.matrix import (
    DAY,
    MODES,
    NO_LIMIT,
    NORMALISATIONS,
    Decay,
    Matrix,
)

ONE = 2**20
"""The weight 1 in fixed point."""
SUM, MAX, ONCE, ONCE_PER_TYPE = range(len(MODES))
STATE = {"sum": 0, "max": 2, "once": 1, "once_per_type": 1}
"""Columns that a mode needs to know what a visit has added before."""
_, ROW, COSINE, LOG_COSINE = range(len(NORMALISATIONS))

RULE = np.dtype(
    [
        ("source_types", np.int64),
        ("click_weight", np.float64),
        ("cart_weight", np.float64),
        ("order_weight", np.float64),
        ("forward", np.bool_),
        ("least_distance", np.int64),
        ("largest_distance", np.int64),
        ("max_seconds", np.int64),
        ("since", np.int64),
        ("queries_only", np.bool_),
        ("least_events", np.int64),
        ("most_events", np.int64),
        ("recency", np.float64),
        ("backward", np.float64),
        ("mode", np.int64),
        ("state", np.int64),
        ("self_pairs", np.bool_),
        ("normalisation", np.int64),
        ("top_k", np.int64),
        ("time_begin", np.int64),
        ("time_end", np.int64),
        ("distance_begin", np.int64),
        ("distance_end", np.int64),
        ("length_begin", np.int64),
        ("length_end", np.int64),
    ]
)
"""A matrix as the kernel reads it; `…_begin` and `…_end` are the first and last place of a decay in
`Rules.tables`, `state` is the first column that its mode needs beside the sum."""
LONGEST_TIME, LONGEST_DISTANCE, LONGEST_SESSION = 28 * DAY, 4_095, 4_095
"""Where the tables of decays end: what is longer weighs as much as this."""


class Rules(NamedTuple):
    """Matrices of one walk in the form of arrays; `columns` is what a neighbour needs of `sums`."""

    rules: NDArray[np.void]
    tables: NDArray[np.float64]
    columns: int


def rules_of(matrices: Sequence[Matrix], last_second: int) -> Rules:
    """The matrices for a log that ends with that second."""
    rules = np.zeros(len(matrices), RULE)
    tables: list[NDArray[np.float64]] = []

    def add(decay: Decay, longest: int) -> tuple[int, int]:
        begin = sum(map(len, tables))
        tables.append(decay.table(longest))
        return begin, begin + len(tables[-1]) - 1

    for rule, matrix in zip(rules, matrices, strict=True):
        rule["source_types"] = sum(1 << type_ for type_ in set(matrix.source_types))
        rule["click_weight"], rule["cart_weight"], rule["order_weight"] = matrix.type_weights
        rule["forward"] = matrix.forward
        rule["least_distance"] = matrix.distances[0]
        rule["since"] = -1
        if matrix.last_days is not None:
            rule["since"] = last_second - round(matrix.last_days * DAY)
        rule["queries_only"] = matrix.queries_only
        rule["least_events"], rule["most_events"] = matrix.session_events
        rule["recency"] = matrix.recency_gain / max(last_second, 1)
        rule["backward"] = matrix.backward
        rule["mode"] = MODES.index(matrix.occurrences)
        rule["self_pairs"] = matrix.self_pairs
        rule["normalisation"] = NORMALISATIONS.index(matrix.normalisation)
        rule["top_k"] = matrix.top_k
        rule["time_begin"], rule["time_end"] = add(matrix.by_time, LONGEST_TIME)
        rule["max_seconds"] = min(matrix.max_seconds, _end_of_weight(tables[-1]))
        rule["distance_begin"], rule["distance_end"] = add(matrix.by_distance, LONGEST_DISTANCE)
        rule["largest_distance"] = min(matrix.distances[1], _end_of_weight(tables[-1]))
        rule["length_begin"], rule["length_end"] = add(matrix.by_length, LONGEST_SESSION)
    columns = len(rules) + np.cumsum([STATE[matrix.occurrences] for matrix in matrices])
    rules["state"] = columns - [STATE[matrix.occurrences] for matrix in matrices]
    return Rules(rules, np.concatenate(tables), int(columns[-1]))


def _end_of_weight(table: NDArray[np.float64]) -> int:
    """From where on nothing has a weight: no need to look further."""
    return int(np.argmin(table > 0)) if table[-1] == 0 else NO_LIMIT
