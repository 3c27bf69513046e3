"""What an embedding is: a declaration of how items get vectors, such that items wanted together
point the same way.

A kind of embedding is a class here and a function that learns it (`vectors.py`).
"""

import re
from dataclasses import dataclass

from otto_pipeline.retrieval.matrix import RESERVED, Matrix


@dataclass(frozen=True)
class Embedding:
    """What all kinds have.

    Attributes:
        name: Its name: of the asset, of the columns of candidates.
        source: Where its definition comes from.
        dimensions: Numbers in a vector.
    """

    name: str
    source: str
    dimensions: int

    def __post_init__(self) -> None:
        if not re.fullmatch("[a-z][a-z0-9_]*", self.name) or self.name in RESERVED:
            raise ValueError(
                f"embedding {self.name!r}: its name must be small letters, digits, _, and none of "
                + ", ".join(RESERVED)
            )
        if self.dimensions < 1:
            raise ValueError(f"embedding {self.name!r}: dimensions must be 1 or more")


@dataclass(frozen=True)
class Word2Vec(Embedding):
    """Skip-gram with negative sampling over sessions as sentences (Mikolov et al. 2013).

    Attributes:
        window: Items before and after that an item predicts.
        epochs: Passes over the sessions.
        negative: Sampled items for each true one.
        ns_exponent: Items are sampled by their frequency to this power.
        sample: Items more frequent than this share of all are skipped now and then; 0: never.
        last_days: Only events of the last so many days of the log.
    """

    window: int = 5
    epochs: int = 3
    negative: int = 5
    ns_exponent: float = 0.75
    sample: float = 0.0
    last_days: float | None = None


@dataclass(frozen=True)
class Spectral(Embedding):
    """Truncated SVD of the shifted positive pointwise mutual information of co-visits.

    What skip-gram factorises implicitly (Levy and Goldberg 2014; their power and smoothing 2015).

    Attributes:
        matrix: Which pairs are counted; it need not be among those that are built.
        shift: Pairs count that are seen more than so many times as often as by chance.
        smoothing: Frequencies of neighbours count to this power.
        power: Singular vectors are weighed with their value to this power.
    """

    matrix: Matrix
    shift: float = 1.0
    smoothing: float = 0.75
    power: float = 0.5


@dataclass(frozen=True)
class Als(Embedding):
    """Item factors of implicit-feedback matrix factorisation (Hu, Koren and Volinsky 2008).

    Attributes:
        iterations: Alternations between users and items.
        alpha: Confidence in an event.
        regularization: Weight of the factors' squared length.
        last_days: Only events of the last so many days of the log.
    """

    iterations: int = 10
    alpha: float = 1.0
    regularization: float = 0.01
    last_days: float | None = None
