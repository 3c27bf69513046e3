"""The code location: everything wired, nothing computed."""

import dagster as dg

from otto_pipeline.orchestration.assets import (
    ARTIFACTS,
    SUBMISSION_LANE,
    VALIDATION_LANE,
    by_step,
    steps,
)
from otto_pipeline.orchestration.checks import drift_check, schema_checks, submission_check
from otto_pipeline.orchestration.jobs import rebuild, weekly_rebuild
from otto_pipeline.orchestration.lane import features_of
from otto_pipeline.orchestration.log import source
from otto_pipeline.orchestration.score_history import (
    score_history,
    score_history_schema,
)
from otto_pipeline.orchestration.store_resource import StoreResource
from otto_pipeline.orchestration.submission import SUBMISSION_FILE
from otto_pipeline.orchestration.tuning import tune_job
from otto_pipeline.settings import load_settings

defs = dg.Definitions(
    assets=[source, *steps(ARTIFACTS, load_settings()), score_history],
    asset_checks=[
        *(schema_checks(name, members) for name, members in by_step(ARTIFACTS).items()),
        submission_check(SUBMISSION_FILE),
        drift_check(*(features_of(lane) for lane in (SUBMISSION_LANE, VALIDATION_LANE))),
        score_history_schema,
    ],
    jobs=[rebuild, tune_job],
    schedules=[weekly_rebuild],
    resources={"store": StoreResource()},
    executor=dg.in_process_executor,
)
