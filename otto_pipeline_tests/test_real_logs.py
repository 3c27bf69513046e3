"""The pipeline digests real logs of all shapes; what they score is in bench/RESULTS.md."""

from pathlib import Path

import pytest

from otto_pipeline.evaluation.report import read_report
from otto_pipeline.orchestration.assets import ARTIFACTS
from otto_pipeline.orchestration.checks import check_dataset
from otto_pipeline_tests.pipeline import build_until

VALIDATION_DAYS = {
    "otto_official_20": 2,
    "jd_hup_appliances": 7,
    "retailrocket_5k_visitors": 28,
    "rees46_oct01_head": 0.02,
}


@pytest.mark.parametrize("name", VALIDATION_DAYS)
def test_real_log_goes_through_to_its_scores(real_logs: Path, tmp_path: Path, name: str) -> None:
    made = build_until(
        "validation/report",
        tmp_path,
        real_logs / name / f"{name}.jsonl.gz",
        validation_days=VALIDATION_DAYS[name],
        boosting_rounds=20,
    )
    for artifact in ARTIFACTS:
        if artifact.path in made:
            result = check_dataset(artifact, made[artifact.path])
            assert result.passed, (artifact.path, result.description)
    report = read_report(made["validation/report"])
    assert 0 < report["scores"]["total"] <= report["candidates"]["total"]
    assert made["log/quarantine"].manifest.rows == 0
