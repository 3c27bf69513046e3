"""What each family of features, the stacking and more sessions bring, into RESULTS.md.

    python -m bench features ../shared/data

On each log the validation lane is built once, as far as what rankers learn from; then `otto ablate`
fits rankers out-of-fold with everything and without each. What the features cost is there beside
it: bytes of a row, and seconds.
"""

from pathlib import Path
from typing import NamedTuple

import polars as pl

from bench.beside import built_steps, lane_settings
from bench.command import run
from bench.generate import OTTO, scratch
from bench.results import write_section
from bench.shortlist import together
from otto_pipeline.evaluation.ablation import ablation_table, differences
from otto_pipeline.features.families import FAMILIES
from otto_pipeline.features.table import FEATURE_NAMES
from otto_pipeline.orchestration.ablation import ablate
from otto_pipeline.ranking.variants import SHARES
from otto_pipeline.store.dataset import Dataset

NAMES = (*FAMILIES, "stacking", *(f"sessions-1/{part}" for part in SHARES))
"""What is left out; what sources bring is in the pipeline's own report on them."""
SESSIONS = "30000"
"""Sessions of the generated log."""
SEEDS, GENERATED_SEEDS = range(11, 16), (42,)
"""Cut seeds; a session's hits and labels are summed over them."""
LAST = "validation/training_rows"
"""By then all is there that rankers learn from."""


class Cost(NamedTuple):
    """What the features of a lane took: rows, seconds, bytes in memory and on disk."""

    rows: int
    seconds: float
    memory: int
    disk: int


class Ablated(NamedTuple):
    """Hits of each session by what is left out, and the cost of the features."""

    hits: dict[str, pl.DataFrame]
    cost: Cost


def ablated(log: Path, seed: int) -> Ablated:
    """The variants on the validation lane of a log."""
    with scratch() as store:
        settings = lane_settings(log, seed, "7", Path(store))
        for name, _manifests in built_steps(settings):
            if name == LAST:
                break
        features = Dataset(settings.store_dir / "full/validation/features")
        hits = ablate("full", NAMES, None, settings, print)
        return Ablated(hits, cost_of(features))


def cost_of(features: Dataset) -> Cost:
    """What they took."""
    memory = features.read("session", "aid", *FEATURE_NAMES).estimated_size()
    made = features.manifest
    return Cost(made.rows, made.seconds, int(memory), made.bytes)


def section(title: str, found: list[Ablated]) -> str:
    """The table of a log, whose cut seeds are pooled."""
    hits = {name: together(one.hits[name] for one in found) for name in found[0].hits}
    rows, seconds, memory, disk = (sum(of) for of in zip(*(one.cost for one in found), strict=True))
    return (
        f"### Features on {title}\n\n{rows:,} candidates, {len(FEATURE_NAMES)} features: "
        f"{memory / rows:.0f} bytes a row in memory, {disk / rows:.0f} on disk, made in "
        f"{seconds:.1f} s.\n\n{ablation_table(differences(hits, seed=0), 'github')}"
    )


def main(data: str) -> None:
    """`data` is the folder of the real logs."""
    jd = Path(data) / "jd_hup_appliances/jd_hup_appliances.jsonl.gz"
    text = [
        "Recall@20 with everything, out-of-fold, and how much of it is lost without each: the "
        "difference and its 95 % interval (paired bootstrap over sessions). An interval above zero "
        "is one that other sessions would most likely show too. `sessions-1/4` learns from a "
        "quarter of the sessions.",
        section("jd_hup_appliances, cut seeds 11–15 pooled", [ablated(jd, s) for s in SEEDS]),
    ]
    with scratch() as folder:
        log = Path(folder) / "log"
        size = ("--sessions", SESSIONS, "--test-sessions", "0")
        run(OTTO, "generate", *size, "--out", str(log))
        found = [ablated(log, seed) for seed in GENERATED_SEEDS]
        text.append(section(f"{int(SESSIONS):,} generated sessions", found))
    write_section("Which features", f"python -m bench features {data}", "\n\n".join(text))
