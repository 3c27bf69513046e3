"""What a finished rebuild has to say, as text for a terminal."""

from collections.abc import Iterable
from pathlib import Path

import polars as pl
from tabulate import tabulate

from otto_pipeline.evaluation.funnel import funnel_table
from otto_pipeline.evaluation.recall import PIPELINE
from otto_pipeline.schemas import TYPES
from otto_pipeline.store.dataset import Dataset, Manifest, read_manifest


def score_table(scores: pl.DataFrame, style: str = "simple") -> str:
    """Recall@20 of every system by type, with the pipeline's 95 % interval of the total."""
    wide = scores.pivot("type", index="system", values="recall", maintain_order=True)
    totals = scores.filter(pl.col("type") == "total")
    bounds = {system: (low, high) for system, low, high in totals["system", "low", "high"].rows()}
    rows = [
        [row["system"], *(_recall(row[name]) for name in (*TYPES, "total")), _interval(bounds, row)]
        for row in wide.iter_rows(named=True)
    ]
    return tabulate(
        rows,
        ["recall@20", *TYPES, "total", "95 % of total"],
        style,
        disable_numparse=True,
        colalign=["left", *["right"] * 5],
    )


def cost_table(root: Path, paths: Iterable[str]) -> str:
    """Time, peak memory, rows and size of every artifact that is there and has anything in it."""
    manifests = [(path, read_manifest(root / path)) for path in paths]
    rows = [_cost(path, manifest) for path, manifest in manifests if manifest and manifest.shards]
    headers = ["step", "rows", "seconds", "peak MB", "size MB"]
    return tabulate(
        rows, headers, "simple", disable_numparse=True, colalign=["left", *["right"] * 4]
    )


def _cost(path: str, manifest: Manifest) -> list[str]:
    return [
        path,
        f"{manifest.rows:,}" if manifest.columns else "",
        f"{manifest.seconds:.1f}",
        f"{manifest.peak_bytes / 2**20:,.0f}",
        f"{manifest.bytes / 2**20:,.1f}",
    ]


def _recall(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _interval(bounds: dict[str, tuple[float | None, float | None]], row: dict[str, str]) -> str:
    low, high = bounds[row["system"]]
    return "" if low is None or high is None else f"{low:.4f}–{high:.4f}"


def gain_over_baselines(scores: pl.DataFrame) -> str:
    """How far the pipeline's total is above the better baseline, in words."""
    totals = dict(scores.filter(pl.col("type") == "total").select("system", "recall").iter_rows())
    best = max((totals[name] or 0.0) for name in totals if name.startswith("baseline"))
    if not totals[PIPELINE] or not best:
        return "no baseline to compare with"
    return f"{totals[PIPELINE] / best:.2f} times the better baseline"


def report_text(root: Path, paths: Iterable[str]) -> str:
    """Scores, notes, cost and the places of the results below `root`, a scale's folder."""
    scores = Dataset(root / "validation/scores").read()
    report = Dataset(root / "validation/report")
    submission = root / "submission/submission"
    skipped = read_manifest(root / "submission/sessions") is None  # what lies there is older
    where = Dataset(submission).files[0] if read_manifest(submission) and not skipped else None
    parts = [
        cost_table(root, [p for p in paths if not (skipped and p.startswith("submission/"))]),
        f"Recall@20, out-of-fold, on {report.figures()['query_sessions']:,} sessions",
        score_table(scores),
        f"weighted total: {gain_over_baselines(scores)}",
        *_funnel(root / "validation/funnel"),
        *(f"note: {note}" for note in report.figures()["notes"]),
        f"scores:     {report.files[0]}",
        f"submission: {where or 'none, the log has no test file'}",
    ]
    return "\n\n".join(parts[:3]) + "\n" + "\n".join(parts[3:])


def _funnel(folder: Path) -> list[str]:
    if read_manifest(folder) is None:
        return []
    funnel = Dataset(folder)
    sessions = funnel.figures()["sessions"]
    return [f"\nWhere labels are lost, {sessions:,} sessions", f"\n{funnel_table(funnel.read())}\n"]
