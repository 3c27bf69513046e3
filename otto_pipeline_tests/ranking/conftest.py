from pathlib import Path

import polars as pl
import pytest

from otto_pipeline.ranking.learnt_lanes import lane_inputs
from otto_pipeline.store.dataset import Dataset
from otto_pipeline_tests.pipeline import build_until

SMALL = {"demo_sessions": 2500, "boosting_rounds": 15, "negatives": 7}


@pytest.fixture(scope="package")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Dataset]:
    """The validation lane of a generated log, as far as its predictions."""
    store: Path = tmp_path_factory.mktemp("store")
    return build_until("validation/predictions", store, None, "demo", **SMALL)


def of_all_lanes(made: dict[str, Dataset], name: str, *columns: str) -> pl.DataFrame:
    """What the lanes that rankers learn from have under a name, in the order of their shards."""
    return pl.concat([made[path].read(*columns) for path in lane_inputs(name).values()])
