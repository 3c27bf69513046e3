"""Cost of any step for the OTTO-sized log at a scale, each in a process of its own.

    python -m bench --scale pct10 log validation/events

A stage is an artifact's path, the name of a batch, or the beginning of such. What it needs and is
not there is built first. Kernels are compiled before, by building the same at the scale `demo`.
"""

import sys
from collections.abc import Iterable, Iterator

import msgspec

from bench.command import run
from bench.generate import DATA, ensure_log
from bench.measurements import record, write_results
from bench.stage import STEPS, Cost

STORE = DATA / "store"


def bench(stages: Iterable[str], scale: str) -> None:
    """Measure the steps that the stages name, and lay the results out."""
    measured = [step for step in STEPS if any(_is_of(step, stage) for stage in stages)]
    if not measured:
        listed = "\n".join(STEPS)
        raise SystemExit(f"nothing is called {', '.join(stages)}; there are\n{listed}")
    environment = {"OTTO_DATA_DIR": str(ensure_log()), "OTTO_STORE_DIR": str(STORE)}
    for _ in costs(measured, "demo", environment):
        continue
    for step, cost in costs(measured, scale, environment):
        record(step, scale, cost)
        print(f"{step}: {cost.seconds} s, {cost.peak_bytes / 2**20:,.0f} MB", flush=True)
    write_results()


def costs(
    measured: list[str], scale: str, environment: dict[str, str]
) -> Iterator[tuple[str, Cost]]:
    """Build steps and what they need, in order; the cost of each that is measured."""
    needed = _with_inputs(measured)
    for step in STEPS:
        if step in measured:
            yield step, msgspec.json.decode(stage(scale, step, **environment), type=Cost)
        elif step in needed:
            stage(scale, step, "--reuse", **environment)


def stage(*arguments: str, **environment: str) -> str:
    """Output of `python -m bench.stage` in a new process."""
    return run(sys.executable, "-m", "bench.stage", *arguments, **environment).output


def _is_of(step: str, stage: str) -> bool:
    return step == stage or step.startswith(f"{stage.rstrip('/')}/")


def _with_inputs(steps: Iterable[str]) -> set[str]:
    needed = set(steps)
    for step, artifacts in reversed(STEPS.items()):  # inputs come before what is made from them
        if step in needed:
            needed.update(_step_of(path) for path in artifacts[0].inputs.values())
    return needed


def _step_of(path: str) -> str:
    return next(step for step, artifacts in STEPS.items() if path in [a.path for a in artifacts])
