from pathlib import Path

import pytest

from otto_pipeline.store.dataset import Dataset
from otto_pipeline_tests.pipeline import build_until

SMALL = {"demo_sessions": 2500, "boosting_rounds": 15, "negatives": 7}


@pytest.fixture(scope="package")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Dataset]:
    """The validation lane of a generated log, as far as its predictions."""
    store: Path = tmp_path_factory.mktemp("store")
    return build_until("validation/predictions", store, None, "demo", **SMALL)
