"""The code location: everything wired, nothing computed."""

import os

import dagster as dg

from otto_pipeline.settings import load_settings

# Polars makes its threads when it is first imported, which the modules below do
_settings = load_settings()
os.environ.setdefault("POLARS_MAX_THREADS", str(_settings.threads))

from otto_pipeline.orchestration.assets import ARTIFACTS, steps  # noqa: E402
from otto_pipeline.orchestration.checks import schema_check, submission_check  # noqa: E402
from otto_pipeline.orchestration.jobs import rebuild, weekly_rebuild  # noqa: E402
from otto_pipeline.orchestration.log import source  # noqa: E402
from otto_pipeline.orchestration.score_history import (  # noqa: E402
    score_history,
    score_history_schema,
)
from otto_pipeline.orchestration.store_resource import StoreResource  # noqa: E402
from otto_pipeline.orchestration.submission import SUBMISSION_FILE  # noqa: E402

defs = dg.Definitions(
    assets=[source, *steps(ARTIFACTS, _settings), score_history],
    asset_checks=[
        *(schema_check(artifact) for artifact in ARTIFACTS),
        submission_check(SUBMISSION_FILE),
        score_history_schema,
    ],
    jobs=[rebuild],
    schedules=[weekly_rebuild],
    resources={"store": StoreResource()},
    executor=dg.in_process_executor,
)
