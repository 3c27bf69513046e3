"""The job over everything, and its schedule."""

import dagster as dg

rebuild = dg.define_asset_job(
    "rebuild",
    selection=dg.AssetSelection.all(),
    description="From the raw log to scores and submission, for one scale. What is there and "
    "unchanged is reused; what an interrupted run left is continued.",
)


@dg.schedule(
    job=rebuild,
    cron_schedule="0 3 * * 1",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Every Monday at 03:00 UTC: rebuild the full scale. Stopped until switched on.",
)
def weekly_rebuild() -> dg.RunRequest:
    """One run of `rebuild` on the full log."""
    return dg.RunRequest(partition_key="full")
