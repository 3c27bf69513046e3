"""Fixtures that several tests share."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# the first call of a kernel compiles it, and how long an example takes depends on the machine
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")

SHARED = Path(__file__).resolve().parents[1] / ".." / "shared"


@pytest.fixture(scope="session")
def golden() -> Path:
    """Folder of cases with the official code's results, beside the checkout."""
    return _shared("golden")


@pytest.fixture(scope="session")
def real_logs() -> Path:
    """Folder of small real logs, beside the checkout."""
    return _shared("data")


def _shared(name: str) -> Path:
    folder = (SHARED / name).resolve()
    if not folder.is_dir():
        pytest.skip(f"needs the folder {folder}, which is not part of the repository")
    return folder
