"""Sessions divided into folds: one definition for all stages."""

import numpy as np
from numpy.typing import NDArray

MIN_POSITIVE_SESSIONS = 10
"""Sessions with a positive candidate that training a ranker needs (RANKING.md, 6)."""
MIN_PER_FOLD = 5
"""Sessions with a positive candidate that each fold needs."""


MANY_POSITIVE_SESSIONS = 50_000
"""From so many on, two folds: half of them teach as much as four fifths, in half the time."""
ALL_SESSIONS = -1
"""Stands for no fold: of what has seen every session."""


def row_folds(draws: NDArray[np.uint64], folds: int) -> NDArray[np.int64]:
    """Fold of each row, from its session's draw for `folds`."""
    return (draws % np.uint64(folds)).astype(np.int64)


def usable_folds(positive_sessions: int, wanted: int) -> int:
    """How many folds a target's labels carry: `wanted`, fewer, or 0 where it cannot be learnt."""
    if positive_sessions < MIN_POSITIVE_SESSIONS:
        return 0
    if positive_sessions >= MANY_POSITIVE_SESSIONS:
        return 2
    return min(wanted, positive_sessions // MIN_PER_FOLD)
