"""Co-visitation of the OTTO-sized log: time, memory, pairs a second, one thread and two.

    python -m bench covisitation

Every line is a build of the validation lane's matrices in a process of its own, from the event
log to the Parquet files; of the seed's three the median of three builds.
"""

import statistics
from collections.abc import Sequence
from functools import partial

import msgspec
import numpy as np
from numba import njit

from bench.generate import ensure_log
from bench.harness import STORE, costs, stage
from bench.matrices import SEED
from bench.results import write_section
from bench.stage import Cost
from otto_pipeline.compute.threads import map_blocks
from otto_pipeline.events.event_log import EventLog, open_event_log
from otto_pipeline.retrieval.covisitation import by_walk, query_mask
from otto_pipeline.retrieval.matrices import chosen
from otto_pipeline.retrieval.matrix import Matrix, Walk
from otto_pipeline.retrieval.pairs import Scratch, add_pairs, clear, make_scratch
from otto_pipeline.retrieval.rules import ONE, Rules, rules_of
from otto_pipeline.retrieval.walk import Occurrences, PackedWalk, occurrences, pack
from otto_pipeline.store.dataset import Dataset

STEP = "validation/covisitation"


def count_updates(log: EventLog, queries: np.ndarray, matrices: Sequence[Matrix]) -> int:
    """How many pairs feed the matrices, each pair once for each matrix."""
    return sum(_updates_of_walk(log, queries, *group) for group in by_walk(matrices))


def _updates_of_walk(
    log: EventLog, queries: np.ndarray, walk: Walk, matrices: Sequence[Matrix]
) -> int:
    packed = pack(log, walk, queries, threads=2)
    found = occurrences(packed, 0, log.n_items, threads=2)
    rules = _counting(rules_of(matrices, log.last_second))
    idle = [make_scratch(found, packed, rules) for _ in range(2)]
    count = partial(_count_block, found, packed, rules, idle)
    return sum(map_blocks(count, found.visited, threads=2))


def _counting(rules: Rules) -> Rules:
    """The same rules where every pair that has a weight weighs 1."""
    counting = rules.rules.copy()
    for name in ("click_weight", "cart_weight", "order_weight"):
        counting[name] = counting[name] > 0
    for name in ("time", "distance", "length"):
        counting[f"{name}_begin"] = counting[f"{name}_end"] = 0
    counting["recency"], counting["backward"], counting["mode"] = 0, 1, 0
    return Rules(counting, np.ones(1), rules.columns)


def _count_block(
    found: Occurrences,
    packed: PackedWalk,
    rules: Rules,
    idle: list[Scratch],
    first: int,
    last: int,
) -> int:
    scratch = idle.pop()
    total = _count(found, packed, rules, scratch, first, last)
    idle.append(scratch)
    return total


@njit(nogil=True)
def _count(
    found: Occurrences,
    packed: PackedWalk,
    rules: Rules,
    scratch: Scratch,
    first: int,
    last: int,
) -> int:
    n_rules = len(rules.rules)
    total, visit = 0, 0
    for x in range(first, last):
        begin, end = found.start[x], found.start[x + 1]
        slots, visit = add_pairs(x, begin, end, found.occurrence, packed, rules, scratch, visit)
        for slot in range(slots):
            for index in range(n_rules):
                total += scratch.sums[slot, index] // ONE
        clear(scratch, slots)
    return total


def _line(what: str, threads: int, builds: list[Cost], updates: int) -> str:
    seconds = statistics.median(cost.seconds for cost in builds)
    return (
        f"| {what} | {threads} | {seconds:.1f} | "
        f"{statistics.median(cost.cpu_seconds for cost in builds):.1f} | "
        f"{max(cost.peak_bytes for cost in builds) / 2**20:,.0f} | "
        f"{builds[0].disk_bytes / 2**20:,.0f} | {updates / 1e6:,.0f} | "
        f"{updates / seconds / 1e6:,.0f} |"
    )


def main(times: str = "3") -> None:
    """Build the seed's three matrices so many times on one and on two threads, all of them once."""
    environment = {"OTTO_DATA_DIR": str(ensure_log()), "OTTO_STORE_DIR": str(STORE)}
    for _ in costs([STEP], "demo", environment | {"OTTO_MATRICES": "all"}):
        continue
    root = STORE / "full/validation"
    stage("full", "validation/event_log", "--reuse", **environment)
    log = open_event_log(Dataset(root / "event_log"))
    queries = query_mask(Dataset(root / "sessions"), log.n_sessions)
    lines = [
        "| matrices | threads | wall s | CPU s | peak MB | disk MB | M pair updates | M a second |",
        "|---|---|---|---|---|---|---|---|",
    ]
    medians: list[float] = []
    updates: dict[tuple[str, ...], int] = {}
    for names, threads, builds in ((SEED, 1, int(times)), (SEED, 2, int(times)), (("all",), 2, 1)):
        settings = {"OTTO_MATRICES": ",".join(names), "OTTO_THREADS": str(threads)}
        made = [
            msgspec.json.decode(stage("full", STEP, **environment, **settings), type=Cost)
            for _ in range(builds)
        ]
        matrices = chosen(names)
        what = "all of the catalogue" if names == ("all",) else "the seed's"
        if names not in updates:
            updates[names] = count_updates(log, queries, matrices)
        lines.append(_line(f"{what}, {len(matrices)}", threads, made, updates[names]))
        medians.append(statistics.median(cost.seconds for cost in made))
        print(lines[-1], flush=True)
    text = (
        f"{log.n_events:,} visible events, {log.n_items:,} items. A pair update is one pair in "
        "one matrix that it feeds. Two threads are "
        f"{medians[0] / medians[1]:.2f} times as fast as one.\n\n" + "\n".join(lines)
    )
    write_section("Co-visitation", "python -m bench covisitation", text)
