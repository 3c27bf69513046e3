"""Predictions → `submission.csv` in OTTO's form, with the log's original ids."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from otto_pipeline.events.eligibility import Eligibility, open_eligibility
from otto_pipeline.events.event_log import EventLog, open_event_log
from otto_pipeline.schemas import SUBMISSION, TOP_K, TYPES
from otto_pipeline.settings import Settings
from otto_pipeline.store.dataset import Dataset, Figures
from otto_pipeline.store.stage import Inputs, Stage

SHARD_LINES = 300_000
FAULTS = (
    "lines without or with more than 20 items",
    "lines with repeated items",
    "unknown items",
    "denied items",
    "repeated lines",
    "missing lines",
    "lines of other sessions",
)


class SubmissionError(ValueError):
    """Predictions that do not make a valid submission."""


def write_submission(inputs: Inputs, _shard: int, settings: Settings, path: Path) -> Figures:
    """Write the header and three lines per test session, in the log's order.

    Predictions that are not eligible are left out and counted: none are, unless the predictions
    were not made by these settings.

    Raises:
        SubmissionError: a test session has not exactly its three rows.
    """
    sessions = inputs["sessions"].scan().filter("is_test").select("session", "session_id").collect()
    items = inputs["items"].read("aid", "item_id")
    log = open_event_log(inputs["event_log"])
    eligibility = open_eligibility(inputs["eligibility"], log, settings)
    lines = removed = 0
    with path.open("wb") as file:
        file.write(f"{','.join(SUBMISSION.names())}\n".encode())
        for shard in range(len(inputs["predictions"].files)):
            predictions = inputs["predictions"].read_shard(shard)
            kept = eligible_rows(predictions, log, eligibility)
            removed += predictions.height - kept.height
            rows = submission_rows(kept, sessions, items)
            rows.write_csv(file, include_header=False, quote_style="never")
            lines += rows.height
    if lines != len(TYPES) * sessions.height:
        raise SubmissionError(
            f"{lines:,} lines for {sessions.height:,} test sessions, instead of three each"
        )
    return {"lines": lines, "sessions": sessions.height, "ineligible_removed": removed}


def eligible_rows(
    predictions: pl.DataFrame, log: EventLog, eligibility: Eligibility
) -> pl.DataFrame:
    """Predictions that are eligible; what a session has ordered too where it has no others."""
    rows = predictions.with_columns(
        denied=eligibility.denied[predictions["aid"].to_numpy()],
        eligible=eligibility.of(predictions, log),
    )
    has_others = pl.col("eligible").any().over("session", "type")
    kept = rows.filter(pl.col("eligible") | ~(has_others | pl.col("denied")))
    return kept.drop("denied", "eligible")


def submission_rows(
    predictions: pl.DataFrame, sessions: pl.DataFrame, items: pl.DataFrame
) -> pl.DataFrame:
    """The `SUBMISSION` rows of predictions ordered by session, type and rank."""
    return (
        predictions.join(items, on="aid", maintain_order="left")
        .join(sessions, on="session", maintain_order="left")
        .group_by("session", "type", maintain_order=True)
        .agg(pl.col("session_id").first(), labels=pl.col("item_id").cast(pl.String).str.join(" "))
        .select(session_type=pl.concat_str("session_id", pl.lit("_"), "type"), labels="labels")
    )


def frames(dataset: Dataset) -> Iterator[pl.LazyFrame]:
    """The lines of the file as tables, piece by piece, for the check of the contract."""
    reader = pl.read_csv(dataset.files[0], schema=SUBMISSION.empty().schema, quote_char=None)
    for piece in reader.iter_slices(SHARD_LINES):
        yield piece.lazy()


def faults(
    submission: Dataset, sessions: Dataset, items: Dataset, denied: NDArray[np.bool_]
) -> dict[str, int]:
    """What is wrong with a submission: numbers of lines or sessions by fault, empty if nothing.

    Every test session has its three lines, each with 1–20 distinct known items that are not
    `denied`, bool[n_items]. The file is read as a stranger would read it, not through the
    predictions.
    """
    ids = items.read("item_id")["item_id"].cast(pl.String)
    known, not_allowed = ids.implode(), ids.filter(pl.Series(denied)).implode()
    found = dict.fromkeys(FAULTS, 0)
    keys = [pl.Series("session_type", [], dtype=pl.String)]
    for piece in frames(submission):
        lines = piece.with_columns(pl.col("labels").fill_null("").str.split(" ")).collect()
        count = lines["labels"].list.len()
        given = lines["labels"].list.explode()
        found["lines without or with more than 20 items"] += int(
            ((lines["labels"].list.first() == "") | (count > TOP_K)).sum()
        )
        found["lines with repeated items"] += int((lines["labels"].list.n_unique() != count).sum())
        found["unknown items"] += int((~given.is_in(known)).sum())
        found["denied items"] += int(given.is_in(not_allowed).sum())
        keys.append(lines["session_type"])
    written, expected = pl.concat(keys), _expected_keys(sessions)
    found["repeated lines"] = len(written) - written.n_unique()
    found["missing lines"] = int((~expected.is_in(written.implode())).sum())
    found["lines of other sessions"] = int((~written.is_in(expected.implode())).sum())
    return {fault: count for fault, count in found.items() if count}


def _expected_keys(sessions: Dataset) -> pl.Series:
    ids = sessions.scan().filter("is_test").select("session_id").collect()["session_id"]
    return pl.concat([ids.cast(pl.String) + f"_{name}" for name in TYPES])


SUBMISSION_STAGE = Stage(
    write=write_submission, settings=("exclude_ordered",), file="submission.csv"
)
