"""Ours against other ways to make co-visitation matrices, on one log, into RESULTS.md.

    python -m bench peers [FOLDER OF AN EVENT LOG]

Each way and option is a process of its own. The extra `bench` has what is needed; the log is
`make bench SCALE=pct1 STAGE=submission/event_log`.
"""

import statistics
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import polars as pl

from bench.command import run
from bench.harness import STORE
from bench.matrices import SEED
from bench.peers.agreement import TOLERANCE, agreement
from bench.peers.measure import REPEATS
from bench.results import write_section
from otto_pipeline.events.event_log import open_event_log
from otto_pipeline.store.dataset import Dataset

LOG = STORE / "pct1/submission/event_log"
ENVIRONMENT = {"POLARS_MAX_THREADS": "2", "OPENBLAS_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
WAYS = {
    "ours": ("seed 2", "seed 1", "cosine 2"),
    "pandas_merges": ("3000", "10000", "30000", "100000"),
    "polars_join": ("streaming", "in-memory"),
    "implicit_cosine": ("2",),
}
SAME = ("pandas_merges", "polars_join")
"""Ways that make the seed's matrices, as ours."""
BARS = {"pandas_merges": 40, "polars_join": 10, "implicit_cosine": 1}
"""How many times faster ours should be."""


@dataclass(frozen=True)
class Measured:
    """Median seconds of a way with an option, its peak memory, and the folder of its rows."""

    way: str
    option: str
    seconds: float
    peak_bytes: int
    folder: Path


Results = Mapping[str, Mapping[str, Measured]]


def main(event_log: str = str(LOG)) -> None:
    with tempfile.TemporaryDirectory() as folder:
        text = compare(Path(event_log), Path(folder))
    write_section("Co-visitation against other ways", "python -m bench peers", text)


def compare(event_log: Path, folder: Path) -> str:
    """Measure all ways on a log; say what they took and whether they agree."""
    log = open_event_log(Dataset(event_log))
    found = {
        way: {option: _measure(way, option, event_log, folder) for option in options}
        for way, options in WAYS.items()
    }
    return "\n".join(
        [
            f"{log.n_events:,} events of {log.n_items:,} items: the seed's three matrices, from "
            f"the loaded events to the top k, each way in a process of its own; the median of "
            f"{REPEATS} after a warm-up. `implicit` (item-item, cosine, K = 20) makes one matrix "
            "of all pairs of whole sessions; `ours, cosine` does that work. Options: threads, "
            "sessions in a chunk, engine.",
            "",
            *_costs(found),
            "",
            *_factors(found),
            "",
            *_agreements(found),
        ]
    )


def _measure(way: str, option: str, event_log: Path, folder: Path) -> Measured:
    kept = folder / f"{way} {option}"
    kept.mkdir()
    ran = run(
        *(sys.executable, "-m", "bench.peers.measure", way, option, str(event_log), str(kept)),
        **ENVIRONMENT,
    )
    seconds = statistics.median(msgspec.json.decode(ran.output, type=list[float]))
    print(f"{way} {option}: {seconds:.2f} s", flush=True)
    return Measured(way, option, seconds, ran.peak_bytes, kept)


def _costs(found: Results) -> list[str]:
    rows = [one for options in found.values() for one in options.values()]
    return [
        "| way | option | s | peak MB |",
        "|---|---|---|---|",
        *(
            f"| {one.way} | {one.option} | {one.seconds:.2f} | {one.peak_bytes / 2**20:,.0f} |"
            for one in rows
        ),
    ]


def _factors(found: Results) -> list[str]:
    """How many times faster ours is than the best option of each way."""
    ours = found["ours"]["seed 2"].seconds
    factors = {way: _best(found[way]).seconds / ours for way in BARS}
    cosine = _best(found["implicit_cosine"]).seconds / found["ours"]["cosine 2"].seconds
    return [
        *(
            f"- Ours on two threads is {factor:.1f} times as fast as {way} (bar: {BARS[way]})."
            for way, factor in factors.items()
        ),
        f"- `ours, cosine` is {cosine:.1f} times as fast as implicit_cosine.",
    ]


def _agreements(found: Results) -> list[str]:
    lines = []
    for way in SAME:
        for name in SEED:
            file = f"{name}.parquet"
            ours, theirs = (
                pl.read_parquet(one.folder / file)
                for one in (found["ours"]["seed 2"], _best(found[way]))
            )
            same = agreement(ours, theirs)
            if same.wrong:
                raise SystemExit(f"{way}: {name} differs in {same.wrong:,} of {same.rows:,} rows")
            lines.append(
                f"- {way}, {name}: {same.rows:,} rows, {same.same:,} of them the same item at the "
                f"same rank; the others tie within {TOLERANCE}."
            )
    return lines


def _best(options: Mapping[str, Measured]) -> Measured:
    return min(options.values(), key=lambda one: one.seconds)
