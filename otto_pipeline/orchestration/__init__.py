"""Dagster only: how the pipeline's stages become assets, checks, jobs and runs."""

import warnings

import dagster as dg

# partitioned checks are marked preview, observable sources beta; the version is pinned
for _category in (dg.PreviewWarning, dg.BetaWarning):
    warnings.filterwarnings("ignore", category=_category)
