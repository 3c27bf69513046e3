"""Dagster only: how the pipeline's stages become assets, checks, jobs and runs."""

import os
import warnings

import dagster as dg

from otto_pipeline.settings import load_settings

# Polars makes its threads when it is first imported, which the modules of this package do
os.environ.setdefault("POLARS_MAX_THREADS", str(load_settings().threads))

# partitioned checks are marked preview, observable sources beta; the version is pinned
for _category in (dg.PreviewWarning, dg.BetaWarning):
    warnings.filterwarnings("ignore", category=_category)
