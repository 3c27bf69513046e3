"""Objectives and depths of rankers on small logs, into RESULTS.md.

    python -m bench rankers ../shared/data

On each log the lane is built once; then, for each variant of the shipped recipes, the fold rankers,
their scores and the blend are built anew. Seeds are those on which choices are made, never those
whose scores are quoted.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import polars as pl

from bench.command import run
from bench.generate import OTTO, scratch
from bench.results import write_section
from bench.stage import STEPS, manifests_of, rebuild
from otto_pipeline.folds import ALL_SESSIONS
from otto_pipeline.ranking import ranker
from otto_pipeline.ranking.recipe import Recipe, recipe_for
from otto_pipeline.schemas import TYPES, WEIGHTS
from otto_pipeline.settings import Settings, load_settings
from otto_pipeline.store.dataset import Dataset

VARIANTS: dict[str, dict[str, object]] = {
    "as shipped": {},
    "rank:pairwise": {"objective": "rank:pairwise"},
    "binary:logistic": {"objective": "binary:logistic"},
    "depth 5": {"max_depth": 5},
    "5 trees a round": {"num_parallel_tree": 5},
}
SEEDS = range(11, 16)
SESSIONS = "20000"
"""Sessions of the generated log."""
SYSTEMS = ("recall_list", "recall_ranker", "recall_blend")
LEARNT = (
    *(f"validation/{kind}/{name}" for name in TYPES for kind in ("fold_rankers", "fold_scores")),
    "validation/blend",
)


def lane(log: Path, seed: int, store: Path) -> Settings:
    """Settings with which the validation lane is built as far as its training rows."""
    settings = load_settings(
        {"OTTO_DATA_DIR": str(log), "OTTO_STORE_DIR": str(store), "OTTO_SEED": str(seed)}
    )
    for name, artifacts in STEPS.items():
        manifests_of(artifacts, "full", settings)
        if name == "validation/training_rows":
            break
    return settings


def recalls(settings: Settings, changes: Mapping[str, object]) -> pl.DataFrame:
    """The blend's row of each target, with recipes changed by some parameters."""

    def changed(positive_sessions: int) -> Recipe:
        recipe = recipe_for(positive_sessions)
        return replace(recipe, parameters={**recipe.parameters, **changes})

    with patch.object(ranker, "recipe_for", changed):
        for name in LEARNT:
            rebuild(STEPS[name], "full", settings)
    blend = Dataset(settings.store_dir / "full/validation/blend").read()
    return blend.filter(pl.col("fold") == ALL_SESSIONS)


def rows(lanes: list[Settings]) -> Iterator[str]:
    """Lines of the table: recalls of the variants, means over lanes."""
    for variant, changes in VARIANTS.items():
        mean = (
            pl.concat([recalls(settings, changes) for settings in lanes])
            .group_by("type")
            .agg(pl.col(SYSTEMS).mean())
            .sort("type")
        )
        for system in SYSTEMS if not changes else SYSTEMS[1:]:
            values = mean[system].to_list()
            total = sum(WEIGHTS[name] * value for name, value in zip(TYPES, values, strict=True))
            shown = " | ".join(f"{value:.4f}" for value in (*values, total))
            yield f"| {variant} | {system.removeprefix('recall_')} | {shown} |"


def main(data: str) -> None:
    """`data` is the folder of the real logs."""
    jd = Path(data) / "jd_hup_appliances/jd_hup_appliances.jsonl.gz"
    head = "| variant | ordered by | clicks | carts | orders | total |\n|---|---|---|---|---|---|"
    text = ["Recall@20, out-of-fold. On jd_hup_appliances means over cut seeds 11–15."]
    with scratch() as folder:
        generated = Path(folder) / "log"
        run(
            OTTO,
            "generate",
            "--sessions",
            SESSIONS,
            "--test-sessions",
            "0",
            "--out",
            str(generated),
        )
        logs = {
            "jd_hup_appliances": [lane(jd, seed, Path(folder) / f"jd{seed}") for seed in SEEDS],
            f"{SESSIONS} generated sessions": [lane(generated, 42, Path(folder) / "store")],
        }
        for name, lanes in logs.items():
            text.append("\n".join([f"### Rankers on {name}\n", head, *rows(lanes)]))
    write_section("Rankers", f"python -m bench rankers {data}", "\n\n".join(text))
