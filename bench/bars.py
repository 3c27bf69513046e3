"""The pipeline beside four systems that it has to beat, into RESULTS.md.

    python -m bench bars ../shared/data       # the real logs
    python -m bench bars generated            # a generated log of 1,290,000 sessions

Of each log the lane is built up to its shipped predictions, which are out-of-fold; the others get
the same sessions. The generated log's lane stays in `bench/data`, so that a second run only
compares.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

import polars as pl

from bench.baselines import bm25_list, rules_list, votes_list
from bench.beside import (
    FOLD_RANKERS,
    FOLD_SCORES,
    SHIPPED,
    blended_hits,
    build_beside,
    built_steps,
    lane_settings,
    ranker_hits,
)
from bench.candidates import TARGETS, shown
from bench.command import run
from bench.generate import DATA, OTTO, scratch
from bench.matrices import GENERATED, SEED, ensure_generated, table
from bench.quarters import DAYS, QUARTERS, quarters
from bench.real_logs import SEEDS, VALIDATION_DAYS
from bench.results import write_section
from bench.shortlist import together
from otto_pipeline.evaluation.bootstrap import gains, intervals
from otto_pipeline.features.item import ITEM_FEATURES
from otto_pipeline.features.session import SESSION_FEATURES
from otto_pipeline.features.session_item import SESSION_ITEM_FEATURES
from otto_pipeline.metrics import count_hits, recalls, scores
from otto_pipeline.ranking import scoring
from otto_pipeline.ranking.ranker import fold_rankers_stage
from otto_pipeline.retrieval.embeddings import EMBEDDINGS
from otto_pipeline.retrieval.sources import HISTORY
from otto_pipeline.schemas import TYPES
from otto_pipeline.settings import Settings
from otto_pipeline.store.dataset import Dataset, Manifest

PIPELINE = "pipeline"
RULES, VOTES, BM25, SEED_LIKE = "rules list", "rules by votes", "implicit BM25", "seed-like ranker"
BARS: dict[str, dict[str, float]] = {
    "jd_hup_appliances": {RULES: 1.05, VOTES: 1.05, BM25: 1.05, SEED_LIKE: 1.0},
    "generated": {SEED_LIKE: 1.03},
}
"""How many times the recall of the other system is asked for, by log. Above 1 the interval of the
difference has to be above zero too."""
OTHER_BARS = {RULES: 0.0, VOTES: 0.0}
"""On other logs the interval of the difference must not lie wholly below zero."""

_near = (*SEED, *(embedding.name for embedding in EMBEDDINGS))
SEED_FEATURES = [
    f"{HISTORY}_rank",
    *(f"{source}_rank" for source in _near),
    *(f"{source}_recent" for source in _near),
    *(feature.name for feature in SESSION_FEATURES),
    *(feature.name for feature in ITEM_FEATURES),
    *(feature.name for feature in SESSION_ITEM_FEATURES),
]
"""What the seed's rankers see (OTTO.md, feature table): rank of history, rank and score of the
other sources that it has, counts and rates of session and item, and what the session did with the
item. `…_recent` is a source's score over the sum of its weights; the default embedding stands for
the seed's word2vec and ALS."""
IN_QUARTERS = "jd_hup_appliances"
MEMORY_GB = 6.0
"""Memory budget of the generated log's lane."""
LEARNING = ("features", "training_rows", "training_features", "fold_rankers", "fold_scores")
"""What is timed: the artifacts of the lane that begin so."""

Hits = dict[str, pl.DataFrame]
"""Rows of `metrics.hits_by_session` by system."""


def hits(settings: Settings) -> Hits:
    """What each system hits on a built lane; says what each took."""
    lane = settings.store_dir / "full" / SHIPPED
    systems: dict[str, Callable[[], pl.DataFrame]] = {
        PIPELINE: lambda: blended_hits(settings, SHIPPED),
        RULES: lambda: _hits_of_list(lane, rules_list(lane)),
        VOTES: lambda: _hits_of_list(lane, votes_list(lane)),
        BM25: lambda: _hits_of_list(lane, bm25_list(lane, settings.threads)),
        SEED_LIKE: lambda: seed_like_hits(settings),
    }
    found = {}
    for name, hits_of_system in systems.items():
        began = time.monotonic()
        found[name] = hits_of_system()
        print(f"{name}: {time.monotonic() - began:.1f} s", flush=True)
    return found


def _hits_of_list(lane: Path, best: pl.DataFrame) -> pl.DataFrame:
    labels = Dataset(lane / "labels").read()
    return count_hits(labels, labels.join(best, on=["session", "aid"], how="semi"))


def seed_like_hits(settings: Settings) -> pl.DataFrame:
    """Hits of rankers with the seed's features alone: no similarities, no stacking, no blend."""
    with ExitStack() as changed:
        changed.enter_context(patch.object(scoring, "FEATURE_NAMES", SEED_FEATURES))
        changed.enter_context(patch.dict(scoring.STACKED, dict.fromkeys(TYPES, ())))
        for name in TYPES:
            build_beside(settings, SEED_LIKE, FOLD_RANKERS[name], fold_rankers_stage(name))
            build_beside(settings, SEED_LIKE, FOLD_SCORES[name])
    return ranker_hits(settings, SEED_LIKE)


def compared(log: str, found: Hits) -> str:
    """Table and verdicts on one log."""
    sessions = found[PIPELINE]["session"].n_unique()
    recall = {name: scores(recalls(rows)) for name, rows in found.items()}
    lines, verdicts = [[PIPELINE, *(shown(recall[PIPELINE][one]) for one in TARGETS)]], []
    for name in (RULES, VOTES, BM25, SEED_LIKE):
        gain = gains(found[PIPELINE], found[name])
        bounds, difference = intervals(gain, seed=0), scores(recalls(gain))
        lines += [
            [name, *(shown(recall[name][one]) for one in TARGETS)],
            ["pipeline less this", *(shown(difference[one], "+") for one in TARGETS)],
            ["95 %", *(_shown_interval(bounds[one]) for one in TARGETS)],
        ]
        ratio = recall[PIPELINE]["total"] / recall[name]["total"]
        asked = BARS.get(log, OTHER_BARS).get(name)
        verdicts.append(f"- {name}: {verdict(ratio, *bounds['total'], asked)}")
    return "\n\n".join(
        [f"{sessions:,} sessions with labels.", table(["", *TARGETS], lines), "\n".join(verdicts)]
    )


def _shown_interval(bounds: tuple[float | None, float | None]) -> str:
    return " – ".join(shown(end, "+") for end in bounds if end is not None)


def verdict(ratio: float, low: float, high: float, asked: float | None) -> str:
    """Whether the pipeline's recall is as many times the other's as is asked for."""
    text = f"the pipeline has {ratio:.4f} times its recall"
    if asked is None:
        return f"{text}; nothing is asked for."
    if asked == 0:
        return f"{text}; an interval not wholly below zero is asked for: {_met(high >= 0)}."
    if asked == 1:
        return f"{text}; no less is asked for: {_met(ratio >= 1)}."
    is_met = ratio >= asked and low > 0
    return f"{text}; {asked:.2f} times, and an interval above zero, is asked for: {_met(is_met)}."


def _met(is_met: bool) -> str:
    return "met" if is_met else "**missed**"


def of_real_logs(data: str) -> Iterator[str]:
    """The text on each real log; a session's hits and labels are summed over the seeds."""
    for name, days in VALIDATION_DAYS.items():
        found = hits_of_seeds(Path(data) / name / f"{name}.jsonl.gz", days)
        yield f"### Bars on {name}, validation window {days} days\n\n{compared(name, found)}"


def of_quarters(data: str) -> str:
    """The text on four logs, in each of which another quarter of a real log is the week."""
    log, found = Path(data) / IN_QUARTERS / f"{IN_QUARTERS}.jsonl.gz", []
    with scratch() as folder:
        for number, quarter in enumerate(quarters(log, Path(folder))):
            of_quarter = hits_of_seeds(quarter, DAYS)
            apart = pl.col("session").cast(pl.Int64) * QUARTERS + number
            found.append({name: rows.with_columns(apart) for name, rows in of_quarter.items()})
    pooled = {name: pl.concat(one[name] for one in found) for name in found[0]}
    return (
        f"### Bars on {IN_QUARTERS}, each quarter of its sessions the validation week once\n\n"
        "Its start times are made up, so that any session may be the later one: four times as many "
        f"sessions are judged as above.\n\n{compared(IN_QUARTERS, pooled)}"
    )


def hits_of_seeds(log: Path, days: str) -> Hits:
    """What each system hits, summed over the seeds."""
    by_seed = []
    for seed in SEEDS:
        print(f"{log.name}, seed {seed}", flush=True)
        with scratch() as store:
            settings = lane_settings(log, seed, days, Path(store))
            for _step in built_steps(settings):
                continue
            by_seed.append(hits(settings))
    return {system: together(one[system] for one in by_seed) for system in by_seed[0]}


def of_generated(sessions: int | None) -> str:
    """The text on the generated log, or on a smaller one."""
    settings = generated_settings(_generated(sessions))
    learning = []
    for step, manifests in built_steps(settings):
        print(f"{step}: {_cost(manifests)}", flush=True)
        if step.startswith(tuple(f"{SHIPPED}/{one}" for one in LEARNING)):
            learning += manifests
    text = compared("generated", hits(settings))
    return f"{text}\n\nFeatures and out-of-fold training of the three targets: {_cost(learning)}."


def generated_settings(log: Path) -> Settings:
    """Settings of a generated log's lane, which stays beside it."""
    settings = lane_settings(log, 42, "7", log.with_name(f"{log.name}_bars_store"))
    return settings.model_copy(update={"memory_gb": MEMORY_GB})


def _generated(sessions: int | None) -> Path:
    """A log, generated where it is missing."""
    if sessions is None:
        ensure_generated()
        return GENERATED
    log = DATA / f"generated_{sessions}"
    if not log.exists():
        size = ("--sessions", str(sessions), "--test-sessions", "0")
        run(OTTO, "generate", *size, "--out", str(log))
    return log


def _cost(manifests: list[Manifest]) -> str:
    seconds = sum(one.seconds for one in manifests)
    peak = max(one.peak_bytes for one in manifests)
    return f"{seconds:.1f} s, {peak / 1e9:.1f} GB resident at most"


def main(data: str, sessions: str | None = None) -> None:
    """`data` is the folder of the real logs, or `generated`; `sessions` those of a smaller log."""
    text = [
        "Recall@20 of the pipeline (out-of-fold) beside that of the public rules (own items, their "
        "neighbours in the seed's three matrices, popular items; neighbours by share, matrix after "
        "matrix, or by votes as notebooks have it), of `implicit`'s BM25 between "
        f"items, and of the shipped recipe with the {len(SEED_FEATURES)} features that the seed "
        "has too, without stacking and blend, on the shipped candidates. Differences with 95 % "
        "intervals, paired by session."
    ]
    if data == "generated":
        title = "Bars on a generated log"
        text.append(of_generated(int(sessions) if sessions else None))
    else:
        title = "Bars of the rankers"
        text += ["Cut seeds 1–5 pooled.", *of_real_logs(data), of_quarters(data)]
    command = " ".join(["python -m bench bars", data, *([sessions] if sessions else [])])
    write_section(title, command, "\n\n".join(text))
