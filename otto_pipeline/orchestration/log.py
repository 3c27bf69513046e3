"""The assets under `log/`: what both lanes share, from the raw log to dense events."""

import dagster as dg
import msgspec
import polars as pl

from otto_pipeline.events import eligibility, ingest, statistics
from otto_pipeline.events.errors import LogError
from otto_pipeline.events.raw import log_hashes, raw_stage, read_raw_log
from otto_pipeline.orchestration.artifact import Artifact, picture
from otto_pipeline.orchestration.scales import SCALE_PARTITIONS
from otto_pipeline.orchestration.store_resource import StoreResource
from otto_pipeline.schemas import EVENTS, ITEMS, PARSED, QUARANTINE, RAW, SESSIONS, STATISTICS
from otto_pipeline.settings import SCALES
from otto_pipeline.store.dataset import Dataset
from otto_pipeline.store.files import text_hash

SHOWN_LINES = 20


@dg.observable_source_asset(
    key=["log", "source"],
    group_name="log",
    partitions_def=SCALE_PARTITIONS,
    description="The configured log (OTTO_DATA_DIR) as it lies on disk. Observing it takes its "
    "content hash; when that is new, everything made from the log shows as stale.",
)
def source(store: StoreResource) -> dg.DataVersionsByPartition:
    """Content hash of the configured log; the seed for the generated one."""
    settings = store.settings()
    try:
        version = text_hash(" ".join(log_hashes(settings).values()))
    except LogError:
        version = "no log is configured"
    generated = f"generated, seed {settings.seed}, {settings.demo_sessions} sessions"
    return dg.DataVersionsByPartition(
        {scale: generated if scale == "demo" else version for scale in SCALES}
    )


def _raw_frames(dataset: Dataset) -> list[pl.LazyFrame]:
    files = [msgspec.to_builtins(file) for file in read_raw_log(dataset).files]
    return [pl.LazyFrame(files, schema=RAW.empty().schema)]


def _quarantined_lines(dataset: Dataset) -> dict[str, dg.MetadataValue]:
    shown = dataset.scan().head(SHOWN_LINES).collect()
    lines = [f"- {file}, line {line}: {reason}" for file, line, reason in shown.iter_rows()]
    return {"first_lines": dg.MetadataValue.md("\n".join(lines) or "none")}


def _statistics_metadata(dataset: Dataset) -> dict[str, dg.MetadataValue]:
    png = dataset.folder / statistics.PICTURE
    return {
        "statistics": dg.MetadataValue.md(statistics.statistics_text(dataset.read())),
        "picture": picture("the log", png.read_bytes()),
        "statistics_png": dg.MetadataValue.path(png),
    }


LOG_ARTIFACTS = (
    Artifact(
        "log/raw",
        raw_stage,
        RAW,
        "log",
        "Which files the scale is made from, with their content hashes: the configured log, or, "
        "for `demo`, a realistic log that this step generates.",
        kinds=frozenset({"json"}),
        frames=_raw_frames,
    ),
    Artifact(
        "log/parsed",
        ingest.PARSED_STAGE,
        PARSED,
        "log",
        "The scale's sessions with their original ids, one row per event in order of time, and "
        "one row per malformed line.",
        {"raw": "log/raw"},
    ),
    Artifact(
        "log/quarantine",
        ingest.QUARANTINE_STAGE,
        QUARANTINE,
        "log",
        "Lines that were set aside, each with file, line and reason. The run fails where they are "
        "a larger share than OTTO_MAX_QUARANTINED_SHARE.",
        {"raw": "log/raw", "parsed": "log/parsed"},
        metadata=_quarantined_lines,
    ),
    Artifact(
        "log/sessions",
        ingest.SESSIONS_STAGE,
        SESSIONS,
        "log",
        "The log's sessions: original id, dense index, time span.",
        {"raw": "log/raw", "parsed": "log/parsed", "quarantine": "log/quarantine"},
    ),
    Artifact(
        "log/items",
        ingest.ITEMS_STAGE,
        ITEMS,
        "log",
        "The log's items: original id and dense index.",
        {"raw": "log/raw", "parsed": "log/parsed", "quarantine": "log/quarantine"},
    ),
    Artifact(
        "log/events",
        ingest.EVENTS_STAGE,
        EVENTS,
        "log",
        "The log with dense ids: what both lanes start from.",
        {"parsed": "log/parsed", "sessions": "log/sessions", "items": "log/items"},
    ),
    Artifact(
        "log/eligibility",
        eligibility.ELIGIBILITY_STAGE,
        eligibility.ELIGIBILITY,
        "log",
        "Which items may not, or not always, be recommended: those of OTTO_ELIGIBILITY_FILE.",
        {"items": "log/items"},
    ),
    Artifact(
        "log/statistics",
        statistics.STATISTICS_STAGE,
        STATISTICS,
        "log",
        "Figures that tell whether the log looks right, of train and of the sessions to predict, "
        "beside OTTO's; as a table, and as a picture (statistics.png).",
        {"events": "log/events", "items": "log/items"},
        metadata=_statistics_metadata,
    ),
)
