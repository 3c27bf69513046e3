"""Tables of results: submission, scores, report."""

import polars as pl

from otto_pipeline.schemas.table import TYPES, Column, Table

SUBMISSION = Table(
    "The prediction of one session and target.",
    (
        Column("session_type", pl.String, "Original session id and target, `12899779_clicks`."),
        Column("labels", pl.String, "1 to 20 distinct original item ids, best first."),
    ),
    unique=("session_type",),
)
SCORES = Table(
    "Recall@20 of one system for one target.",
    (
        Column("system", pl.String, "The pipeline, a baseline, or the candidates' ceiling."),
        Column("type", pl.String, "clicks, carts, orders or total (weighted)."),
        Column("recall", pl.Float64, "Recall@20; null: no labels.", nullable=True, ge=0, le=1),
        Column("low", pl.Float64, "Lower end of the 95 % interval.", nullable=True, ge=0, le=1),
        Column("high", pl.Float64, "Upper end of the 95 % interval.", nullable=True, ge=0, le=1),
        Column("labels", pl.Int64, "Labels that could be hit.", ge=0),
    ),
    unique=("system", "type"),
)
REPORT = Table(
    "What the report says of one target, or of their total.",
    (
        Column("type", pl.String, "clicks, carts, orders or total."),
        Column("recall", pl.Float64, "Recall@20; null: no labels.", nullable=True, ge=0, le=1),
        Column(
            "ordered_by", pl.Enum(["ranker", "blend", "list"]), "What orders it.", nullable=True
        ),
    ),
    unique=("type",),
)
SCORE_HISTORY = Table(
    "One rebuild.",
    (
        Column("time", pl.String, "When its scores were written, UTC."),
        Column("scale", pl.String, "Scale that was rebuilt."),
        *(
            Column(name, pl.Float64, f"Recall@20 of {name}; null: no labels.", True, 0, 1)
            for name in TYPES
        ),
        Column("total", pl.Float64, "Weighted recall@20 over the types with labels.", True, 0, 1),
        Column("versions", pl.String, "Versions of the package and what it computes with."),
        Column("fingerprint", pl.String, "Identity of the scores: inputs, settings, versions."),
    ),
)
