"""Rankers of another kind beside the shipped ones, on the same lane and in the same store.

What a kind of rankers has of its own lies under its name instead of `validation/`; all else is
read from the validation lane as it is. The shipped kind is called `validation`.
"""

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from bench.stage import STEPS, manifests_of
from otto_pipeline.evaluation.recall import hit_predictions
from otto_pipeline.metrics import count_hits
from otto_pipeline.ranking.scoring import keys, session_ranks
from otto_pipeline.schemas import EVENT_TYPE, TOP_K, TYPES
from otto_pipeline.settings import Settings, load_settings
from otto_pipeline.store.build import build
from otto_pipeline.store.dataset import Dataset, Manifest
from otto_pipeline.store.stage import Stage

SHIPPED = "validation"
FOLD_RANKERS = {name: f"{SHIPPED}/fold_rankers/{name}" for name in TYPES}
FOLD_SCORES = {name: f"{SHIPPED}/fold_scores/{name}" for name in TYPES}
BLEND = f"{SHIPPED}/blend"
PREDICTIONS = f"{SHIPPED}/predictions"
OF_A_KIND = {*FOLD_RANKERS.values(), *FOLD_SCORES.values(), BLEND, PREDICTIONS}
NOT_READ = f"{SHIPPED}/rankers/"


def lane_settings(log: Path, seed: int, days: str, store: Path) -> Settings:
    """Settings of a log's lane."""
    return load_settings(
        {
            "OTTO_DATA_DIR": str(log),
            "OTTO_STORE_DIR": str(store),
            "OTTO_SEED": str(seed),
            "OTTO_VALIDATION_DAYS": days,
        }
    )


def built_steps(settings: Settings) -> Iterator[tuple[str, list[Manifest]]]:
    """Build the validation lane up to its predictions, all but the rankers of the submission; what
    is there is taken as it is.
    """
    for name, artifacts in STEPS.items():
        if not name.startswith(NOT_READ):
            yield name, manifests_of(artifacts, "full", settings)
        if name == PREDICTIONS:
            break


def build_beside(
    settings: Settings, kind: str, path: str, stage: Stage | None = None, **inputs: str
) -> Dataset:
    """Build an artifact of the lane for a kind of rankers, by its own stage or by another.

    `inputs` are paths in the place of the lane's or the kind's.
    """
    root, artifact = settings.store_dir / "full", STEPS[path][0]
    paths = {name: _own(kind, input_) for name, input_ in artifact.inputs.items()} | inputs
    datasets = {name: Dataset(root / input_) for name, input_ in paths.items()}
    made_by = stage or artifact.stage_for("full")
    return build(root, _own(kind, path), made_by, datasets, settings, _no_log).dataset


def learn(settings: Settings, kind: str) -> None:
    """Build fold rankers and their scores by their own stages."""
    for name in TYPES:
        build_beside(settings, kind, FOLD_RANKERS[name])
        build_beside(settings, kind, FOLD_SCORES[name])


def blended_hits(settings: Settings, kind: str) -> pl.DataFrame:
    """Rows of `metrics.hits_by_session`: hits of the predictions, mixed and gated as shipped."""
    build_beside(settings, kind, BLEND)
    labels = Dataset(settings.store_dir / f"full/{SHIPPED}/labels").read()
    return count_hits(labels, hit_predictions(build_beside(settings, kind, PREDICTIONS), labels))


def ranker_hits(settings: Settings, kind: str) -> pl.DataFrame:
    """The same of the rankers alone: the best by each target's own score."""
    root = settings.store_dir / "full"
    labels = Dataset(root / f"{SHIPPED}/labels").read()
    best = pl.concat(_best(Dataset(root / _own(kind, path)), n) for n, path in FOLD_SCORES.items())
    return count_hits(labels, labels.join(best, on=["session", "type", "aid"], how="semi"))


def _best(scores: Dataset, name: str) -> pl.DataFrame:
    """The best items of each session: session, aid, type."""
    parts = []
    for shard in range(len(scores.files)):
        frame = scores.read_shard(shard)
        rank = session_ranks(*keys(frame), frame["score"].to_numpy(writable=True))
        parts.append(frame.select("session", "aid").filter(pl.Series(rank <= TOP_K)))
    return pl.concat(parts).with_columns(type=pl.lit(name, EVENT_TYPE))


def _own(kind: str, path: str) -> str:
    return f"{kind}/{path.removeprefix(f'{SHIPPED}/')}" if path in OF_A_KIND else path


def _no_log(_message: str) -> None:
    pass
