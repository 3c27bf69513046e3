"""Build one artifact, or all of a batch, in this process, and print as JSON what that took.

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
from otto_pipeline.orchestration.artifact import Artifact, by_name
from otto_pipeline.orchestration.assets import ARTIFACTS
from otto_pipeline.orchestration.building import build_step
from otto_pipeline.settings import SCALES, Settings, load_settings
from otto_pipeline.store.dataset import Manifest, discard

STEPS = by_name(ARTIFACTS, lambda artifact: artifact.made_as)
"""What is built together, in order: an artifact alone, under its path, or all of a batch."""


class Cost(msgspec.Struct, frozen=True):
    """What a step took: wall and CPU seconds, resident memory, size on disk.

    `rows` of what is no table are 0. Memory is the process's, interpreter and libraries (0.3 GB)
    and mapped files included.
    """

    rows: int
    seconds: float
    cpu_seconds: float
    peak_bytes: int
    disk_bytes: int


def manifests_of(artifacts: list[Artifact], scale: str, settings: Settings) -> list[Manifest]:
    """Build the artifacts of a step whose inputs are there, or take them as they are."""
    built = build_step(artifacts, scale, settings, _no_log)
    return [one.dataset.manifest for one in built.values()]


def rebuild(artifacts: list[Artifact], scale: str, settings: Settings) -> Cost:
    """Build a step anew, whether it is there or not."""
    for artifact in artifacts:
        discard(settings.store_dir / scale / artifact.path)
        if artifact.path == "log/raw":  # reading the log for its content hash is its work
            (settings.store_dir / HASHES_FILE).unlink(missing_ok=True)
    began, cpu_began = time.monotonic(), _cpu_seconds()
    manifests = manifests_of(artifacts, scale, settings)
    return Cost(
        rows=sum(manifest.rows for manifest in manifests),
        seconds=round(time.monotonic() - began, 2),
        cpu_seconds=round(_cpu_seconds() - cpu_began, 2),
        # a manifest's peak is sampled, but counts children too
        peak_bytes=max(_peak_bytes(), *(manifest.peak_bytes for manifest in manifests)),
        disk_bytes=sum(manifest.bytes for manifest in manifests),
    )


def _no_log(_message: str) -> None:
    pass


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
    parser.add_argument("step", choices=STEPS)
    parser.add_argument("--reuse", action="store_true", help="take it as it is where it is there")
    options = parser.parse_args()
    artifacts, settings = STEPS[options.step], load_settings()
    if options.reuse:
        manifests_of(artifacts, options.scale, settings)
    else:
        print(msgspec.json.encode(rebuild(artifacts, options.scale, settings)).decode())


if __name__ == "__main__":
    main()
