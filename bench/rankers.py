"""Objectives, depths and kinds of rankers on small logs, into RESULTS.md.

    python -m bench rankers ../shared/data

On each log the lane is built once; then each variant of the shipped rankers is fitted out-of-fold
beside them, and mixed with the list by the shipped rule. Seeds are those on which choices are
made, never those whose scores are quoted.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
import polars as pl

from bench.beside import (
    FOLD_RANKERS,
    FOLD_SCORES,
    SHIPPED,
    blended_hits,
    build_beside,
    built_steps,
    lane_settings,
    learn,
    ranker_hits,
)
from bench.candidates import TARGETS, shown
from bench.command import run
from bench.generate import OTTO, scratch
from bench.matrices import table
from bench.results import write_section
from bench.shortlist import together
from bench.stage import STEPS
from otto_pipeline.evaluation.bootstrap import gains, intervals
from otto_pipeline.evaluation.recall import BY_LIST, hits_by_system
from otto_pipeline.metrics import count_hits, recalls, scores
from otto_pipeline.orchestration.building import inputs_of
from otto_pipeline.ranking import margins, ranker
from otto_pipeline.ranking.recipe import Recipe, recipe_for
from otto_pipeline.ranking.scoring import keys, session_ranks, standardised
from otto_pipeline.schemas import TYPES
from otto_pipeline.settings import Settings
from otto_pipeline.store.dataset import Dataset, Figures
from otto_pipeline.store.stage import Inputs, Stage

CHANGES: dict[str, dict[str, object]] = {
    "rank:pairwise": {"objective": "rank:pairwise"},
    "binary:logistic": {"objective": "binary:logistic"},
    "depth 5": {"max_depth": 5},
    "5 trees a round": {"num_parallel_tree": 5},
}
"""Parameters that a variant of the recipes has in the place of the shipped ones."""
GRADES = {"clicks": 1, "carts": 2, "orders": 3}
"""Label of a candidate in the graded model: the highest of those of its targets."""
GRADED, LIGHTGBM, ENSEMBLE = "one graded model", "LightGBM lambdarank", "mean rank of the three"
SEEDS = range(11, 16)
SESSIONS = "20000"
"""Sessions of the generated log."""

SYSTEMS = {"ranker": ranker_hits, "blend": blended_hits}
"""The score by which candidates are ordered: the target's ranker's, or the shipped mix of it."""


def learn_changed(kind: str, settings: Settings) -> None:
    """Rankers with recipes changed by some parameters."""

    def changed(positive_sessions: int) -> Recipe:
        recipe = recipe_for(positive_sessions)
        return replace(recipe, parameters={**recipe.parameters, **CHANGES[kind]})

    with patch.object(ranker, "recipe_for", changed):
        learn(settings, kind)


def learn_graded(settings: Settings) -> None:
    """One ranker for all targets, of the rows of all and by the recipe of clicks."""
    with patch.object(ranker, "chosen_rows", graded_rows):
        build_beside(settings, GRADED, FOLD_RANKERS["clicks"])
    for path in FOLD_SCORES.values():
        build_beside(settings, GRADED, path, rankers=f"{GRADED}/fold_rankers/clicks")


def graded_rows(rows: Dataset, _name: str, _settings: Settings) -> pl.DataFrame:
    """Training rows of all targets, as `chosen_rows` gives those of one; small logs have few."""
    grade = pl.max_horizontal(grade * pl.col(f"label_{name}") for name, grade in GRADES.items())
    return rows.scan().select("session", "aid", "hash", "is_cut", label=grade).collect()


def learn_lightgbm(settings: Settings) -> None:
    """The same recipes by LightGBM, stacked on LightGBM's own scores."""
    from bench import lightgbm_ranker  # noqa: PLC0415  # an extra

    with patch.object(margins, "Margins", lightgbm_ranker.Margins):
        for name in TYPES:
            stage = lightgbm_ranker.FOLD_RANKERS[name]
            build_beside(settings, LIGHTGBM, FOLD_RANKERS[name], stage)
            build_beside(settings, LIGHTGBM, FOLD_SCORES[name])


def average(settings: Settings) -> None:
    """Scores by the mean rank in the session that the shipped rankers, the graded one and LightGBM
    give.
    """
    stage = Stage(write=write_mean_ranks, shards=lambda inputs, _: len(inputs[SHIPPED].files))
    for name, path in FOLD_SCORES.items():
        members = {kind: path.replace(SHIPPED, kind, 1) for kind in (SHIPPED, GRADED, LIGHTGBM)}
        build_beside(settings, ENSEMBLE, path, stage, rankers=FOLD_RANKERS[name], **members)


def write_mean_ranks(inputs: Inputs, shard: int, _settings: Settings, path: Path) -> Figures:
    """Fold scores of one shard; the inputs hold the members' under their names."""
    frames = [inputs[kind].read_shard(shard) for kind in (SHIPPED, GRADED, LIGHTGBM)]
    session, aid = keys(frames[0])
    ranks = [session_ranks(session, aid, one["score"].to_numpy(writable=True)) for one in frames]
    score = standardised(session, -np.mean(ranks, axis=0, dtype=np.float32))
    frames[0].with_columns(score=pl.Series(score)).write_parquet(path)
    return inputs[SHIPPED].figures(shard)


VARIANTS: dict[str, Callable[[Settings], None]] = {
    SHIPPED: lambda _settings: None,
    **{kind: partial(learn_changed, kind) for kind in CHANGES},
    GRADED: learn_graded,
    LIGHTGBM: learn_lightgbm,
    ENSEMBLE: average,
}
"""Kinds of rankers, and what builds their scores; the shipped are there with the lane."""


def rows(lanes: list[Settings]) -> Iterator[list[str]]:
    """Lines of the table; a session's hits are summed over the lanes."""
    yield ["as shipped", "list", *_recalls(together(map(list_hits, lanes))), "", ""]
    shipped: dict[str, pl.DataFrame] = {}
    for kind, build_scores in VARIANTS.items():
        for settings in lanes:
            build_scores(settings)
        for system, hits in SYSTEMS.items():
            found = together(hits(settings, kind) for settings in lanes)
            if kind == SHIPPED:
                shipped[system] = found
                yield ["as shipped", system, *_recalls(found), "", ""]
            else:
                yield [kind, system, *_recalls(found), *_difference(found, shipped[system])]


def list_hits(settings: Settings) -> pl.DataFrame:
    """Rows of `metrics.hits_by_session` of the list that needs no labels."""
    inputs = inputs_of(STEPS["validation/scores"][0], settings.store_dir / "full")
    labels = inputs["labels"].read()
    return count_hits(labels, dict(hits_by_system(inputs, labels))[BY_LIST])


def _recalls(hits: pl.DataFrame) -> list[str]:
    recall = scores(recalls(hits))
    return [shown(recall[name]) for name in TARGETS]


def _difference(hits: pl.DataFrame, shipped: pl.DataFrame) -> list[str]:
    """The total's, with its interval."""
    gain = gains(hits, shipped)
    low, high = intervals(gain, seed=0)["total"]
    return [shown(scores(recalls(gain))["total"], "+"), f"{low:+.4f} – {high:+.4f}"]


def lane(log: Path, seed: int, store: Path) -> Settings:
    """Build a log's lane; its settings."""
    settings = lane_settings(log, seed, "7", store)
    for _step in built_steps(settings):
        continue
    return settings


def main(data: str) -> None:
    """`data` is the folder of the real logs."""
    jd = Path(data) / "jd_hup_appliances/jd_hup_appliances.jsonl.gz"
    head = ["rankers", "ordered by", *TARGETS, "to as shipped", "95 %"]
    text = [
        "Recall@20, out-of-fold. Differences of the total to what is shipped, with 95 % intervals, "
        "paired by session. On jd_hup_appliances cut seeds 11–15 pooled."
    ]
    with scratch() as folder:
        generated = Path(folder) / "log"
        size = ("--sessions", SESSIONS, "--test-sessions", "0")
        run(OTTO, "generate", *size, "--out", str(generated))
        logs = {
            "jd_hup_appliances": [lane(jd, seed, Path(folder) / f"jd{seed}") for seed in SEEDS],
            f"{int(SESSIONS):,} generated sessions": [lane(generated, 42, Path(folder) / "store")],
        }
        for name, lanes in logs.items():
            text.append(f"### Rankers on {name}\n\n{table(head, [*rows(lanes)])}")
    write_section("Rankers", f"python -m bench rankers {data}", "\n\n".join(text))
