"""Found labels, candidates, predictions → where labels are lost on the way to the top 20."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl
from tabulate import tabulate

from otto_pipeline.metrics import count_hits, recalls, scores
from otto_pipeline.schemas import TYPES, Column, Table
from otto_pipeline.settings import Settings
from otto_pipeline.store.dataset import Dataset, Figures
from otto_pipeline.store.stage import Inputs, Stage

STEPS = ("labels", "known item", "eligible", "in the union", "in the shortlist", "in the top 20")
KEYS = ["session", "type", "aid"]

FUNNEL = Table(
    "How many labels of one target are left after one step.",
    (
        Column("type", pl.String, "clicks, carts, orders or total (weighted)."),
        Column("step", pl.Enum(STEPS), "The step; each keeps a part of what the one before kept."),
        Column("labels", pl.Int64, "Labels left; of a session and type 20 at most.", ge=0),
        Column("share", pl.Float64, "Of the labels; null: there are none.", True, 0, 1),
    ),
    ("type", "step"),
)


def write_funnel(inputs: Inputs, _shard: int, _settings: Settings, path: Path) -> Figures:
    """One row for each type and step, of the sessions of the found labels."""
    found = inputs["found_labels"]
    labels = found.read(*KEYS, "known", "eligible", "place")
    steps = zip(STEPS, left_at_each_step(labels, inputs), strict=True)
    rows = [row for step, left in steps for row in _rows(step, labels, left)]
    pl.DataFrame(rows, FUNNEL.empty().schema, orient="row").write_parquet(path)
    return {"sessions": found.figures()["sessions"]}


def left_at_each_step(labels: pl.DataFrame, inputs: Inputs) -> Iterator[pl.DataFrame]:
    """The labels left after each of `STEPS`."""
    yield labels
    known = labels.filter("known")
    yield known
    eligible = known.filter("eligible")
    yield eligible
    in_union = eligible.filter(pl.col("place").is_not_null())
    yield in_union
    in_shortlist = _among(in_union, inputs["candidates"], ["session", "aid"])
    yield in_shortlist
    yield _among(in_shortlist, inputs["predictions"], KEYS)


def _among(labels: pl.DataFrame, rows: Dataset, keys: list[str]) -> pl.DataFrame:
    """The labels that are among the rows, read shard by shard."""
    hits = [
        labels.lazy().join(pl.scan_parquet(file), on=keys, how="semi").collect()
        for file in rows.files
    ]
    return pl.concat(hits)


def _rows(step: str, labels: pl.DataFrame, left: pl.DataFrame) -> Iterator[tuple]:
    by_type = recalls(count_hits(labels, left))
    counts = {name: recall.hits for name, recall in by_type.items()}
    for name, share in scores(by_type).items():
        yield name, step, counts.get(name, sum(counts.values())), share


def funnel_table(funnel: pl.DataFrame, style: str = "simple") -> str:
    """The labels of each type after each step, and their share in %; of the total the share."""
    cells = {(row["type"], row["step"]): row for row in funnel.iter_rows(named=True)}
    rows = [[step, *(_shown(**cells[name, step]) for name in (*TYPES, "total"))] for step in STEPS]
    headers = ["labels left", *TYPES, "total"]
    return tabulate(rows, headers, style, disable_numparse=True, colalign=["left", *["right"] * 4])


def _shown(type: str, step: str, labels: int, share: float | None) -> str:
    if share is None:
        return "–"
    percent = f"{100 * share:.1f} %"
    return percent if type == "total" else f"{labels:,} {percent:>8}"


FUNNEL_STAGE = Stage(write=write_funnel)
