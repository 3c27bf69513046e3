"""Recall@k as the contest counts it: one definition for every stage and command.

Rules (OTTO.md §3; otto-de/recsys-dataset, `evaluate.py`): a prediction is cut to its first k
items, then repeated items count once; the denominator of a type is min(k, labels) summed over all
sessions with labels, predicted or not.
"""

from dataclasses import dataclass

import polars as pl

from otto_pipeline.schemas import EVENT_TYPE, TOP_K, TYPES, WEIGHTS


@dataclass(frozen=True)
class Recall:
    """Hits and labels that could be hit, of one type."""

    hits: int
    labels: int

    @property
    def value(self) -> float | None:
        """Recall; None where the type has no labels."""
        return self.hits / self.labels if self.labels else None


Recalls = dict[str, Recall]


def hits_by_session(
    labels: pl.DataFrame, predictions: pl.DataFrame, k: int = TOP_K, item: str = "aid"
) -> pl.DataFrame:
    """Rows (session, type, hits, labels) for every session and type that has labels.

    `labels` has distinct rows (session, type, item); `predictions` has rows (session, type, item,
    rank) with ranks from 1.
    """
    keys = ["session", "type", item]
    predicted = predictions.filter(pl.col("rank") <= k).select(keys).unique()
    return count_hits(labels, labels.join(predicted, on=keys, how="semi"), k)


def count_hits(labels: pl.DataFrame, hits: pl.DataFrame, k: int = TOP_K) -> pl.DataFrame:
    """Rows (session, type, hits, labels) from the rows of `labels` that were hit.

    Both counts go up to k.
    """
    counts = count_labels(hits, k).rename({"labels": "hits"})
    return (
        count_labels(labels, k)
        .join(counts, on=["session", "type"], how="left", maintain_order="left")
        .select("session", "type", pl.col("hits").fill_null(0), "labels")
    )


def count_labels(labels: pl.DataFrame, k: int = TOP_K) -> pl.DataFrame:
    """Rows (session, type, labels), in this order; the count goes up to k."""
    keys = ["session", "type"]
    count = pl.len().clip(upper_bound=k).cast(pl.Int64)
    return labels.group_by(keys).agg(labels=count).sort(keys)


def recalls(by_session: pl.DataFrame) -> Recalls:
    """Recall of each type, from the rows of `hits_by_session`."""
    sums = (
        by_session.group_by(pl.col("type").cast(EVENT_TYPE))
        .agg(pl.col("hits").sum(), pl.col("labels").sum())
        .rows_by_key("type", unique=True)
    )
    return {name: Recall(*map(int, sums.get(name, (0, 0)))) for name in TYPES}


def weighted_total(by_type: Recalls) -> float | None:
    """.1 clicks + .3 carts + .6 orders.

    Where a type has no labels, the mean over the others with their weights scaled to sum to one;
    None where no type has any.
    """
    present = {name: WEIGHTS[name] for name, recall in by_type.items() if recall.labels}
    if not present:
        return None
    total = 0.0
    for name, weight in present.items():
        total += (by_type[name].value or 0.0) * weight
    return total if len(present) == len(TYPES) else total / sum(present.values())


def scores(by_type: Recalls) -> dict[str, float | None]:
    """`{"clicks": …, "carts": …, "orders": …, "total": …}`."""
    values = {name: recall.value for name, recall in by_type.items()}
    return {**values, "total": weighted_total(by_type)}
