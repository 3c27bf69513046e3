"""Sessions divided into folds: one definition for all stages."""

import polars as pl

MIN_POSITIVE_SESSIONS = 10
"""Sessions with a positive candidate that training a ranker needs (RANKING.md, 6)."""
MIN_PER_FOLD = 5
"""Sessions with a positive candidate that each fold needs."""


def fold_of(draws: pl.Expr, folds: int) -> pl.Expr:
    """Fold of each session, from a draw (UInt64) of its id."""
    return (draws % folds).cast(pl.Int8)


def usable_folds(positive_sessions: int, wanted: int) -> int:
    """How many folds a target's labels carry: `wanted`, fewer, or 0 where it cannot be learnt."""
    if positive_sessions < MIN_POSITIVE_SESSIONS:
        return 0
    return min(wanted, positive_sessions // MIN_PER_FOLD)
