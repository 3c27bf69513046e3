"""The embeddings: one line of declaration each.

Which of them a run learns is the setting OTTO_EMBEDDINGS.
"""

from collections.abc import Sequence

from otto_pipeline.retrieval.embedding import Als, Embedding, Spectral, Word2Vec
from otto_pipeline.retrieval.matrices import CATALOGUE as MATRICES
from otto_pipeline.retrieval.matrix import Decay, Matrix
from otto_pipeline.settings import SettingsError, load_settings

NONE = "none"
NEAR = Matrix("near", "", last=500, runs=True, distances=(1, 6), by_distance=Decay("reciprocal"))
"""Pairs as skip-gram counts them: it draws its window, so that near pairs count more."""

# fmt: off
CATALOGUE: tuple[Embedding, ...] = (
    # Benny, 3rd place: window 3, exponent 1; of the days that fit the time
    Word2Vec("word2vec", "Benny, 3rd", 48, window=3, ns_exponent=1.0, last_days=14),
    # OTTO.md: the nearest substitute for neural networks on two cores
    Spectral("spectral", "Levy and Goldberg", 48, NEAR),
    Spectral("spectral_wide", "more dimensions", 128, NEAR),
    # the seed's, at a rank that fits
    Als("als", "seed", 48, last_days=14),
)
# fmt: on


def chosen(names: Sequence[str]) -> tuple[Embedding, ...]:
    """The named embeddings, `all` or `none`, in the order of the catalogue.

    Raises:
        SettingsError: a name is not in the catalogue, or there is no name.
    """
    known = [embedding.name for embedding in CATALOGUE]
    taken = [*known, *(matrix.name for matrix in MATRICES)]
    if len(set(taken)) < len(taken):
        twice = next(name for name in taken if taken.count(name) > 1)
        raise ValueError(f"{twice!r} names two matrices or embeddings: rename one")
    unknown = sorted(set(names).difference(known, ("all", NONE)))
    if unknown or not names or (NONE in names and len(names) > 1):
        raise SettingsError(
            f"OTTO_EMBEDDINGS={','.join(names)}: "
            + (f"there is no embedding {', '.join(unknown)}; " if unknown else "")
            + f"choose from {', '.join(known)}, or all, or none"
        )
    return tuple(embedding for embedding in CATALOGUE if "all" in names or embedding.name in names)


EMBEDDINGS = chosen(load_settings().embeddings)
"""The embeddings of this process: each is an asset, and two columns of candidates."""
