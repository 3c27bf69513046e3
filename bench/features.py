"""What each family of features, the stacking and more sessions bring, into RESULTS.md.

    python -m bench features ../shared/data                       # a small real log
    python -m bench features generated [session-item stacking …]  # 100,000 generated sessions

The validation lane is built as far as what rankers learn from; then `otto ablate` fits rankers
out-of-fold with everything and without each of the variants, or of the named ones. What the
features cost is there beside it: bytes of a row, and seconds. The generated log and its lane are
those of `bench bars generated`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import polars as pl

from bench.bars import generated_settings
from bench.beside import built_steps, lane_settings
from bench.generate import scratch
from bench.matrices import GENERATED, ensure_generated
from bench.results import write_section
from bench.shortlist import together
from otto_pipeline.evaluation.ablation import ablation_table, differences
from otto_pipeline.features.families import FAMILIES
from otto_pipeline.features.table import FEATURE_NAMES, SUBMISSION_FEATURES
from otto_pipeline.orchestration.ablation import ablate
from otto_pipeline.ranking.variants import SHARES
from otto_pipeline.settings import Settings
from otto_pipeline.store.dataset import Dataset

NAMES = (*FAMILIES, "stacking", *(f"sessions-1/{part}" for part in SHARES))
"""What is left out; what sources bring is in the pipeline's own report on them."""
SEEDS = range(11, 16)
"""Cut seeds of the real log; a session's hits and labels are summed over them."""
JUDGED = 100_000
"""Of the generated log's 174,000 sessions with labels, those that are learnt from and judged."""
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


def ablated(settings: Settings, names: Sequence[str], sessions: int | None) -> Ablated:
    """The variants on the validation lane of a log."""
    for name, _manifests in built_steps(settings):
        if name == LAST:
            break
    features = Dataset(settings.store_dir / "full/validation/features")
    return Ablated(ablate("full", names, sessions, settings, print), cost_of(features))


def of_seed(log: Path, seed: int) -> Ablated:
    """All variants on a log that is cut by a seed."""
    with scratch() as store:
        return ablated(lane_settings(log, seed, "7", Path(store)), NAMES, None)


def cost_of(features: Dataset) -> Cost:
    """What they took."""
    memory = features.read(*SUBMISSION_FEATURES.names()).estimated_size()
    made = features.manifest
    return Cost(made.rows, made.seconds, int(memory), made.bytes)


def table_of(found: Sequence[Ablated]) -> str:
    """The table of a log, whose cut seeds are pooled."""
    hits = {name: together(one.hits[name] for one in found) for name in found[0].hits}
    rows, seconds, memory, disk = (sum(of) for of in zip(*(one.cost for one in found), strict=True))
    return (
        f"{rows:,} candidates, {len(FEATURE_NAMES)} features: {memory / rows:.0f} bytes a row in "
        f"memory, {disk / rows:.0f} on disk, made in {seconds:.1f} s.\n\n"
        f"{ablation_table(differences(hits, seed=0), 'github')}"
    )


def main(data: str, *names: str) -> None:
    """`data` is the folder of the real logs, or `generated`; `names` those of variants."""
    if data == "generated":
        ensure_generated()
        title, log = "Which features, by a generated log", f"{JUDGED:,} generated sessions"
        found = [ablated(generated_settings(GENERATED), names or NAMES, JUDGED)]
    else:
        title, log = "Which features", "jd_hup_appliances, cut seeds 11–15 pooled"
        real = Path(data) / "jd_hup_appliances/jd_hup_appliances.jsonl.gz"
        found = [of_seed(real, seed) for seed in SEEDS]
    text = (
        f"{log}. Recall@20 with everything, out-of-fold, and how much of it is "
        "lost without each: the difference and its 95 % interval (paired bootstrap over sessions). "
        "An interval above zero is one that other sessions would most likely show too; "
        "`sessions-1/…` learn from a part of the sessions."
    )
    command = " ".join(["python -m bench features", data, *names])
    write_section(title, command, f"{text}\n\n{table_of(found)}")
