"""Families of features, and the features of one source: what belongs together where some are left
out.
"""

from collections.abc import Iterable

from otto_pipeline.features.feature import Feature
from otto_pipeline.features.item import ITEM_FEATURES
from otto_pipeline.features.moment import MOMENT_FEATURES
from otto_pipeline.features.session import SESSION_FEATURES
from otto_pipeline.features.session_item import SESSION_ITEM_FEATURES
from otto_pipeline.features.similarity import SIMILARITY_FEATURES
from otto_pipeline.features.similarity_kernels import AGGREGATES, COSINES
from otto_pipeline.features.table import FEATURES
from otto_pipeline.retrieval.embeddings import EMBEDDINGS
from otto_pipeline.retrieval.sources import NEIGHBOUR_SOURCES, SOURCES

_COSINES = [f"cosine_{kind}" for kind in COSINES]


def _named(names: Iterable[str]) -> tuple[Feature, ...]:
    """The features of these names, as far as there are such."""
    wanted = set(names)
    return tuple(feature for feature in FEATURES if feature.name in wanted)


def source_features(source: str) -> tuple[Feature, ...]:
    """All that is known of a candidate from one source alone."""
    return _named(f"{source}_{what}" for what in ("rank", *AGGREGATES, *_COSINES))


FAMILIES: dict[str, tuple[Feature, ...]] = {
    "source-ranks": _named(["sources", *(f"{source}_rank" for source in SOURCES)]),
    "session": SESSION_FEATURES,
    "item": ITEM_FEATURES,
    "item-at-the-moment": MOMENT_FEATURES,
    "session-item": SESSION_ITEM_FEATURES,
    "similarity": SIMILARITY_FEATURES,
    **{
        f"similarity-{aggregate}": _named(f"{source}_{aggregate}" for source in NEIGHBOUR_SOURCES)
        for aggregate in AGGREGATES
    },
    "similarity-cosine": _named(f"{one.name}_{what}" for one in EMBEDDINGS for what in _COSINES),
}
"""Every feature is in one, those of similarity in two: all of them, and those of one kind."""
