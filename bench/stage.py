"""Build one artifact in this process, and print as JSON what that took.

    OTTO_DATA_DIR=… OTTO_STORE_DIR=… python -m bench.stage full log/parsed

The harness starts it, so that no artifact sees the memory or the caches of another.
"""

import argparse
import os
import re
import time
from pathlib import Path

import msgspec

from otto_pipeline.events.raw import HASHES_FILE
from otto_pipeline.orchestration.artifact import Artifact
from otto_pipeline.orchestration.assets import ARTIFACTS
from otto_pipeline.settings import SCALES, Settings, load_settings
from otto_pipeline.store.build import Built, build
from otto_pipeline.store.dataset import Dataset, discard

BY_PATH = {artifact.path: artifact for artifact in ARTIFACTS}


class Cost(msgspec.Struct, frozen=True):
    """What building an artifact took: wall and CPU seconds, resident memory, size on disk.

    `rows` of what is no table are 0. Memory is the process's, interpreter and libraries (0.3 GB)
    and mapped files included.
    """

    rows: int
    seconds: float
    cpu_seconds: float
    peak_bytes: int
    disk_bytes: int


def build_artifact(artifact: Artifact, scale: str, settings: Settings) -> Built:
    """Build an artifact whose inputs are there, or take it as it is."""
    root = settings.store_dir / scale
    inputs = {name: Dataset(root / path) for name, path in artifact.inputs.items()}
    stage = artifact.stage_for(scale)
    return build(root, artifact.path, stage, inputs, settings, lambda _message: None)


def rebuild(artifact: Artifact, scale: str, settings: Settings) -> Cost:
    """Build an artifact anew, whether it is there or not."""
    discard(settings.store_dir / scale / artifact.path)
    if artifact.path == "log/raw":  # reading the log for its content hash is its work
        (settings.store_dir / HASHES_FILE).unlink(missing_ok=True)
    began, cpu_began = time.monotonic(), _cpu_seconds()
    manifest = build_artifact(artifact, scale, settings).dataset.manifest
    return Cost(
        rows=manifest.rows,
        seconds=round(time.monotonic() - began, 2),
        cpu_seconds=round(_cpu_seconds() - cpu_began, 2),
        peak_bytes=max(_peak_bytes(), manifest.peak_bytes),  # the latter counts children too
        disk_bytes=manifest.bytes,
    )


def _cpu_seconds() -> float:
    return sum(os.times()[:4])


def _peak_bytes() -> int:
    """Largest resident memory since the process began; `getrusage` would count its parent's."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found.group(1)) * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scale", choices=SCALES)
    parser.add_argument("path", choices=BY_PATH)
    parser.add_argument("--reuse", action="store_true", help="take it as it is where it is there")
    options = parser.parse_args()
    artifact, settings = BY_PATH[options.path], load_settings()
    if options.reuse:
        build_artifact(artifact, options.scale, settings)
    else:
        print(msgspec.json.encode(rebuild(artifact, options.scale, settings)).decode())


if __name__ == "__main__":
    main()
