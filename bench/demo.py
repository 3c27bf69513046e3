"""Time and memory of `make demo` after installation, into RESULTS.md.

    python -m bench demo

The job runs as a user runs it, `dagster job execute` in a process of its own: first on an empty
store with no compiled kernels, then with them, then again unchanged.
"""

import sys
import tempfile
from pathlib import Path

from bench.command import Ran, run
from bench.results import write_section
from otto_pipeline.store.dataset import Dataset

COMMAND = [
    *(sys.executable, "-m", "dagster", "job", "execute"),
    *("-m", "otto_pipeline.definitions", "-j", "rebuild"),
    *("--tags", '{"dagster/partition": "demo"}'),
]


def rebuild(folder: Path, store: str) -> Ran:
    """One rebuild; kernels are cached below `folder`."""
    return run(
        *COMMAND,
        DAGSTER_HOME=str(folder),
        NUMBA_CACHE_DIR=str(folder / "kernels"),
        OTTO_STORE_DIR=str(folder / store),
        PYTHONWARNINGS="ignore",
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        runs = {
            "empty store, kernels to be compiled": rebuild(folder, "one"),
            "empty store": rebuild(folder, "two"),
            "again, unchanged": rebuild(folder, "two"),
        }
        scores = Dataset(folder / "two/demo/validation/scores").figures()
    peak = max(ran.peak_bytes for ran in runs.values()) / 2**20
    rows = [f"| {what} | {ran.seconds:.1f} | {ran.cpu_seconds:.1f} |" for what, ran in runs.items()]
    text = [
        "| `dagster job execute`, scale `demo` | wall s | CPU s |",
        "|---|---|---|",
        *rows,
        "",
        f"Largest resident memory {peak:,.0f} MB; weighted recall@20 {scores['total']:.4f}.",
    ]
    write_section("Demo", "python -m bench demo", "\n".join(text))
