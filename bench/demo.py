"""Time and memory of `make demo` after installation, into RESULTS.md.

    python -m bench.demo

The job runs as a user runs it, `dagster job execute` in a process of its own: first on an empty
store with no compiled kernels, then with them, then again unchanged.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.results import write_section
from otto_pipeline.store.dataset import Dataset

COMMAND = [
    *(sys.executable, "-m", "dagster", "job", "execute"),
    *("-m", "otto_pipeline.definitions", "-j", "rebuild"),
    *("--tags", '{"dagster/partition": "demo"}'),
]


def run(folder: Path, store: str) -> tuple[float, float]:
    """Wall and CPU seconds of one rebuild; kernels are cached below `folder`."""
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(folder),
        "NUMBA_CACHE_DIR": str(folder / "kernels"),
        "OTTO_STORE_DIR": str(folder / store),
        "PYTHONWARNINGS": "ignore",
    }
    wall, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(COMMAND, env=environment, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.monotonic() - wall, cpu


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        times = {
            "empty store, kernels to be compiled": run(folder, "one"),
            "empty store": run(folder, "two"),
            "again, unchanged": run(folder, "two"),
        }
        scores = Dataset(folder / "two/demo/validation/scores").figures()
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    rows = [f"| {what} | {wall:.1f} | {cpu:.1f} |" for what, (wall, cpu) in times.items()]
    text = [
        "| `dagster job execute`, scale `demo` | wall s | CPU s |",
        "|---|---|---|",
        *rows,
        "",
        f"Largest resident memory {peak:,.0f} MB; weighted recall@20 {scores['total']:.4f}.",
    ]
    write_section("Demo", "python -m bench.demo", "\n".join(text))


if __name__ == "__main__":
    main()
