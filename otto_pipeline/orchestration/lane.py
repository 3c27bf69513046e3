"""One lane, defined once: from the events that it sees to the features of its query sessions.

The validation lane, the submission lane and those of the two halves are calls of `lane`; nothing
can differ between them but what they are given.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from otto_pipeline.events import event_log
from otto_pipeline.features import table
from otto_pipeline.orchestration.artifact import Artifact, Batch, parquet_pieces
from otto_pipeline.retrieval import neighbours, session_knn, sources
from otto_pipeline.retrieval.candidates import CANDIDATES_STAGE
from otto_pipeline.retrieval.covisitation import covisitation_stage, write_matrices
from otto_pipeline.retrieval.embeddings import EMBEDDINGS
from otto_pipeline.retrieval.matrices import MATRICES
from otto_pipeline.retrieval.popularity import POPULARITY_STAGE
from otto_pipeline.retrieval.vectors import embedding_stage
from otto_pipeline.schemas import (
    COVISITATION,
    EVENT_LOG,
    NEIGHBOURS,
    POPULARITY,
    POSTINGS,
    PREDICTIONS,
    TYPES,
    embedding_table,
)
from otto_pipeline.settings import Settings
from otto_pipeline.store.stage import Inputs, Stage

KERNEL = frozenset({"numba", "parquet"})


def source_inputs(name: str) -> dict[str, str]:
    """Paths of what the sources of candidates of the lane read, by input."""
    return {"eligibility": "log/eligibility", **_own_source_inputs(name)}


def _own_source_inputs(name: str) -> dict[str, str]:
    own = ("event_log", "sessions", "popularity", "neighbours", "postings")
    return {artifact: f"{name}/{artifact}" for artifact in own}


def behind_sources(name: str) -> dict[str, str]:
    """Paths of what stands behind sources of candidates of the lane, by source."""
    return {
        **{matrix.name: f"{name}/covisitation/{matrix.name}" for matrix in MATRICES},
        **{one.name: f"{name}/embeddings/{one.name}" for one in EMBEDDINGS},
        sources.SESSION_KNN: f"{name}/postings",
        sources.POPULARITY: f"{name}/popularity",
    }


RANKED_BY = {
    "validation": ("fold_pre_rankers", "fold_rankers"),
    "submission": ("pre_ranker", "rankers"),
}
"""What orders the candidates of a lane, first and in the end; both lie under `validation/`."""


def why_inputs(name: str) -> dict[str, str]:
    """Paths of all that decided what the lane recommends, by input."""
    pre_rankers, rankers = RANKED_BY[name]
    return {
        **source_inputs(name),
        "items": "log/items",
        "log_sessions": "log/sessions",
        "candidates": f"{name}/candidates",
        "features": f"{name}/features",
        "pre_rankers": f"validation/{pre_rankers}",
        "blend": "validation/blend",
        **{target: f"validation/{rankers}/{target}" for target in TYPES},
    }


def lane(
    name: str,
    *,
    events: str,
    pre_rankers: str,
    labels: str | None = None,
    eligible_only: bool = True,
    step: str | None = None,
) -> list[Artifact]:
    """The artifacts `name/…`; none has a shard where the lane has no sessions.

    `events` is the path of the events that the lane sees, `name/sessions` its sessions;
    `pre_rankers` that of what orders the union of its sources; `labels` is the path of its labels,
    if known; without `eligible_only` all items are candidates; `step` makes all, if it is named.
    """
    group = name
    features = table.VALIDATION_FEATURES if labels else table.SUBMISSION_FEATURES
    matrices = {matrix.name: f"{name}/covisitation/{matrix.name}" for matrix in MATRICES}
    embeddings = {one.name: f"{name}/embeddings/{one.name}" for one in EMBEDDINGS}
    in_one_pass = Batch(f"{name}/covisitation", write_matrices)
    log = {"event_log": f"{name}/event_log"}
    sessions = {"sessions": f"{name}/sessions"}
    popularity = {"popularity": f"{name}/popularity"}
    sources_read = source_inputs(name) if eligible_only else _own_source_inputs(name)
    artifacts = [
        Artifact(
            f"{name}/event_log",
            event_log.EVENT_LOG_STAGE,
            EVENT_LOG,
            group,
            "The events that the lane sees, as memory-mapped arrays for the kernels.",
            {"events": events, "items": "log/items", **sessions},
            kinds=frozenset({"numpy"}),
            frames=event_log.frames,
        ),
        Artifact(
            f"{name}/popularity",
            POPULARITY_STAGE,
            POPULARITY,
            group,
            "How often each item was clicked, carted and ordered lately, at which hour and on "
            "which weekday.",
            log,
            kinds=KERNEL,
        ),
        *(
            Artifact(
                matrices[matrix.name],
                covisitation_stage(matrix),
                COVISITATION,
                group,
                f"Co-visitation matrix `{matrix.name}`: the {matrix.top_k} items seen most with "
                f"each item in the same session. {matrix.source}.",
                {**log, **sessions},
                kinds=KERNEL,
                frames=parquet_pieces,
                batch=in_one_pass,
            )
            for matrix in MATRICES
        ),
        *(
            Artifact(
                embeddings[embedding.name],
                embedding_stage(embedding),
                embedding_table(embedding.dimensions),
                group,
                f"Embedding `{embedding.name}`: a vector of {embedding.dimensions} numbers for "
                f"each item, near those of items it is seen with. {embedding.source}.",
                {**log, **sessions},
                frames=parquet_pieces,
            )
            for embedding in EMBEDDINGS
        ),
        Artifact(
            f"{name}/neighbours",
            neighbours.NEIGHBOURS_STAGE,
            NEIGHBOURS,
            group,
            "The matrices, and the nearest items in each embedding, as memory-mapped tables in "
            "which kernels look neighbours up.",
            {**log, **sessions, **matrices, **embeddings},
            kinds=frozenset({"numpy"}),
            frames=neighbours.frames,
        ),
        Artifact(
            f"{name}/postings",
            session_knn.POSTINGS_STAGE,
            POSTINGS,
            group,
            "Which sessions hold each item, its latest: where session kNN finds similar sessions.",
            log,
            kinds=frozenset({"numpy"}),
            frames=session_knn.frames,
        ),
        Artifact(
            f"{name}/candidates",
            CANDIDATES_STAGE,
            sources.CANDIDATES,
            group,
            "For each query session the items that it may want, with rank and score from each "
            "source, best first.",
            {**sources_read, "pre_rankers": pre_rankers},
            kinds=KERNEL,
        ),
        Artifact(
            f"{name}/features",
            table.FEATURES_STAGE,
            features,
            group,
            "What a ranker knows of each candidate: its sources, its session, the item, what the "
            "session did with it, and how near it is to the session's items.",
            {
                **log,
                **popularity,
                "neighbours": f"{name}/neighbours",
                "candidates": f"{name}/candidates",
                **embeddings,
                **({"labels": labels} if labels else {}),
            },
        ),
    ]
    return [replace(one, stage=_of_sessions(one.stage), step=step) for one in artifacts]


def _of_sessions(stage: Stage | Callable[[str], Stage]) -> Stage:
    """The stage of a lane; without a shard where no session is in the lane."""
    assert isinstance(stage, Stage)  # none depends on the scale
    return replace(stage, shards=partial(_shards_of_sessions, stage.shards))


def _shards_of_sessions(
    shards: Callable[[Inputs, Settings], int], inputs: Inputs, settings: Settings
) -> int:
    lane_is_empty = any(
        not inputs[name].files for name in ("sessions", "event_log") if name in inputs
    )
    return 0 if lane_is_empty else shards(inputs, settings)


def predictions(name: str, predict: Stage, by: str) -> Artifact:
    """The predictions of a lane, which `predict` makes of what lies under `by`, by target."""
    return Artifact(
        f"{name}/predictions",
        predict,
        PREDICTIONS,
        name,
        "The 20 items that each query session will most likely click, cart and order.",
        {
            "sessions": f"{name}/sessions",
            "features": f"{name}/features",
            "blend": "validation/blend",
            **{target: f"{by}/{target}" for target in TYPES},
        },
        kinds=frozenset({"xgboost", "parquet"}),
    )


def features_of(artifacts: list[Artifact]) -> Artifact:
    """The features among a lane's artifacts."""
    return next(artifact for artifact in artifacts if artifact.path.endswith("/features"))
