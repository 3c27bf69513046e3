from pathlib import Path

import polars as pl

from otto_pipeline.orchestration.store_resource import summaries
from otto_pipeline.store.build import Built
from otto_pipeline_tests.building import dataset_of


def test_artifacts_without_shards_share_a_line(tmp_path: Path) -> None:
    rows = pl.DataFrame({"x": [1, 2, 3]})
    built = {
        "a/none": Built(dataset_of(tmp_path / "none"), 0, False),
        "a/three": Built(dataset_of(tmp_path / "three", rows), 1, False),
        "b/none": Built(dataset_of(tmp_path / "no"), 0, True),
        "b/three": Built(dataset_of(tmp_path / "again", rows), 0, True),
    }
    made, reused, empty = summaries(built)
    assert made.startswith("a/three: 3 rows in ")
    assert reused == "b/three: reused as it is, 3 rows"
    assert empty == "nothing to make: a/none, b/none"
