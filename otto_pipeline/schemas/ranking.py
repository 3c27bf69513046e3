"""Tables of rankers: what they learn from, and what they predict."""

import polars as pl

from otto_pipeline.schemas.table import (
    AID,
    EVENT_TYPE,
    HASH,
    SESSION,
    TARGET,
    TOP_K,
    TYPES,
    Column,
    Table,
)

PRE_RANKER = Table(
    "One model of the pre-score.",
    (
        Column("fold", pl.Int64, "Fold that it has not seen; -1: fitted on every session.", ge=-1),
        Column("trees", pl.Int64, "Trees.", ge=1),
        Column("rows", pl.Int64, "Items of the union that it was fitted on.", ge=1),
        Column("features", pl.Int64, "Features.", ge=1),
    ),
    unique=("fold",),
)
TRAINING_ROWS = Table(
    "One candidate that a ranker learns from.",
    (
        SESSION,
        AID,
        *(
            Column(f"in_{name}", pl.Boolean, f"A training row of the {name} ranker.")
            for name in TYPES
        ),
        *(Column(f"label_{name}", pl.UInt8, f"Is a label of {name}.", le=1) for name in TYPES),
        Column("is_cut", pl.Boolean, "Of a session before the split moment, which was cut."),
        HASH,
    ),
    unique=("session", "aid"),
    order=("session",),
)
RANKER = Table(
    "One gradient-boosted model.",
    (
        Column("type", EVENT_TYPE, "Target that it ranks for."),
        Column("fold", pl.Int64, "Fold that it has not seen; -1: fitted on every session.", ge=-1),
        Column("trees", pl.Int64, "Trees.", ge=1),
        Column("rows", pl.Int64, "Training rows.", ge=1),
        Column("features", pl.Int64, "Features.", ge=1),
    ),
    unique=("fold",),
)
FOLD_SCORES = Table(
    "One candidate and its out-of-fold score for one target.",
    (
        SESSION,
        AID,
        Column(
            "score",
            pl.Float32,
            "Score of the ranker that has not seen the session, or where there is none of the "
            "list; standardised in the session.",
        ),
    ),
    unique=("session", "aid"),
    order=("session",),
)
BLEND = Table(
    "How one target's final score is mixed in the sessions of one fold.",
    (
        TARGET,
        Column("fold", pl.Int64, "Fold whose sessions it is for; -1: the submission's.", ge=-1),
        Column("list", pl.Float64, "Weight of the list that needs no labels.", ge=0, le=1),
        *(
            Column(name, pl.Float64, f"Weight of the score by the ranker of {name}.", ge=0, le=1)
            for name in TYPES
        ),
        Column("recall_list", pl.Float64, "Recall@20 of the list there.", True, 0, 1),
        Column("recall_ranker", pl.Float64, "Of the target's ranker, out-of-fold.", True, 0, 1),
        Column(
            "recall_blend", pl.Float64, "Of the blend, chosen without those sessions.", True, 0, 1
        ),
    ),
    unique=("type", "fold"),
)
PREDICTIONS = Table(
    "One of the up to 20 items predicted for a session and target.",
    (
        SESSION,
        TARGET,
        AID,
        Column("score", pl.Float32, "Blend of the rankers' scores and the list's."),
        Column("rank", pl.UInt8, "Place in the prediction, 1 is best.", ge=1, le=TOP_K),
    ),
    unique=("session", "type", "rank"),
    order=("session", "type", "rank"),
)
