"""Cost of any artifact of the OTTO-sized log at a scale, each built in a process of its own.

    python -m bench --scale pct10 log validation/events

A stage is an artifact's path or the beginning of one. What it needs and is not there is built
first. Kernels are compiled before, by building the same at the scale `demo`.
"""

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator

import msgspec

from bench.generate import DATA, ensure_log
from bench.measurements import record, write_results
from bench.stage import BY_PATH, Cost

STORE = DATA / "store"


def bench(stages: Iterable[str], scale: str) -> None:
    """Measure the artifacts that the stages name, and lay the results out."""
    measured = [path for path in BY_PATH if any(_is_of(path, stage) for stage in stages)]
    if not measured:
        raise SystemExit(f"no artifact is called {', '.join(stages)}; there are\n{listed()}")
    environment = {"OTTO_DATA_DIR": str(ensure_log()), "OTTO_STORE_DIR": str(STORE)}
    for _ in costs(measured, "demo", environment):
        continue
    for path, cost in costs(measured, scale, environment):
        record(path, scale, cost)
        print(f"{path}: {cost.seconds} s, {cost.peak_bytes / 2**20:,.0f} MB", flush=True)
    write_results()


def costs(
    measured: list[str], scale: str, environment: dict[str, str]
) -> Iterator[tuple[str, Cost]]:
    """Build artifacts and what they are made from, in order; the cost of each that is measured."""
    needed = _with_inputs(measured)
    for path in BY_PATH:
        if path in measured:
            yield path, msgspec.json.decode(run([scale, path], environment), type=Cost)
        elif path in needed:
            run([scale, path, "--reuse"], environment)


def run(arguments: list[str], environment: dict[str, str]) -> bytes:
    """Output of `python -m bench.stage` in a new process."""
    command = [sys.executable, "-m", "bench.stage", *arguments]
    return subprocess.run(
        command, env={**os.environ, **environment}, check=True, stdout=subprocess.PIPE
    ).stdout


def listed() -> str:
    """Every artifact, one a line."""
    return "\n".join(BY_PATH)


def _is_of(path: str, stage: str) -> bool:
    return path == stage or path.startswith(f"{stage.rstrip('/')}/")


def _with_inputs(paths: Iterable[str]) -> set[str]:
    needed = set(paths)
    for path in reversed(BY_PATH):  # inputs come before what is made from them
        if path in needed:
            needed.update(BY_PATH[path].inputs.values())
    return needed
