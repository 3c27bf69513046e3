"""Cost of the first stages, from the raw log to the memory-mapped one, into RESULTS.md.

    python -m bench.log --sessions 1290000

Generates a log of that size (unless `bench/data` has it) and builds its artifacts up to the
validation lane's event log, each timed by its own receipts.
"""

import argparse
import tempfile
import time
from pathlib import Path

from bench.results import write_section
from otto_pipeline.events.generate import generate_log
from otto_pipeline.orchestration.assets import ARTIFACTS
from otto_pipeline.settings import load_settings
from otto_pipeline.store.build import build
from otto_pipeline.store.dataset import Dataset, Manifest

DATA = Path(__file__).with_name("data")
ITEMS_PER_SESSION = 1_855_603 / 12_899_779
TEST_PER_SESSION = 1_671_803 / 12_899_779
STAGES = (
    "log/",
    "validation/known",
    "validation/events",
    "validation/sessions",
    "validation/labels",
    "validation/event_log",
)


def generated(sessions: int) -> tuple[Path, str]:
    """The log's folder, and what making it took."""
    folder = DATA / str(sessions)
    if folder.exists():
        return folder, "it was there"
    folder.mkdir(parents=True)
    began = time.monotonic()
    generate_log(
        folder,
        sessions=sessions,
        test_sessions=int(sessions * TEST_PER_SESSION),
        items=int(sessions * ITEMS_PER_SESSION),
        seed=42,
        threads=load_settings().threads,
    )
    return folder, f"{time.monotonic() - began:.1f} s to generate"


def _row(path: str, manifest: Manifest, log_bytes: int) -> str:
    rate = f"{log_bytes / 2**20 / max(manifest.seconds, 0.01):,.0f}" if path == "log/parsed" else ""
    return (
        f"| {path} | {manifest.rows:,} | {manifest.seconds:.1f} | "
        f"{manifest.peak_bytes / 2**20:,.0f} | {manifest.bytes / 2**20:,.1f} | {rate} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=1_290_000)
    sessions = parser.parse_args().sessions
    folder, made = generated(sessions)
    log_bytes = sum((folder / f"{kind}.jsonl").stat().st_size for kind in ("train", "test"))
    lines = [
        "| step | rows | seconds | peak MB | size MB | MB/s of JSONL |",
        "|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory(dir=DATA) as store:
        settings = load_settings({"OTTO_DATA_DIR": str(folder), "OTTO_STORE_DIR": store})
        root = settings.store_dir / "full"
        for artifact in ARTIFACTS:
            if artifact.path.startswith(STAGES):
                inputs = {name: Dataset(root / path) for name, path in artifact.inputs.items()}
                stage = artifact.stage_for("full")
                built = build(root, artifact.path, stage, inputs, settings, lambda _: None)
                lines.append(_row(artifact.path, built.dataset.manifest, log_bytes))
    size = f"{sessions:,} generated sessions, {log_bytes / 2**20:,.0f} MB of JSONL ({made}).\n"
    command = f"python -m bench.log --sessions {sessions}"
    write_section("From the raw log to the event log", command, "\n".join([size, *lines]))


if __name__ == "__main__":
    main()
