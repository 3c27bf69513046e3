"""The assets of the submission lane beside the lane itself: its sessions, and the submission."""

from collections.abc import Mapping

import dagster as dg

from otto_pipeline.events import split
from otto_pipeline.orchestration.artifact import Artifact
from otto_pipeline.schemas import LANE_SESSIONS, SUBMISSION
from otto_pipeline.store.dataset import Dataset
from otto_pipeline.submission import submission


def _why_skipped(inputs: Mapping[str, Dataset]) -> str | None:
    if split.has_test_sessions(inputs):
        return None
    return (
        "the log has no test file with sessions to predict, so there is nothing to submit; put "
        "test.jsonl beside train.jsonl to get a submission"
    )


SUBMISSION_SESSIONS = Artifact(
    "submission/sessions",
    split.SUBMISSION_SESSIONS_STAGE,
    LANE_SESSIONS,
    "submission",
    "Sessions of the submission lane: all of the log; those of the test file are queries. Where "
    "there is no test file the lane ends here.",
    {"sessions": "log/sessions"},
    skip=_why_skipped,
)


def _where(dataset: Dataset) -> dict[str, dg.MetadataValue]:
    return {"submission_csv": dg.MetadataValue.path(dataset.files[0])}


SUBMISSION_FILE = Artifact(
    "submission/submission",
    submission.SUBMISSION_STAGE,
    SUBMISSION,
    "submission",
    "submission.csv: three lines per test session, the original ids of up to 20 items each.",
    {
        "predictions": "submission/predictions",
        "sessions": "log/sessions",
        "items": "log/items",
        "eligibility": "log/eligibility",
        "event_log": "submission/event_log",
    },
    kinds=frozenset({"csv"}),
    frames=submission.frames,
    metadata=_where,
)
