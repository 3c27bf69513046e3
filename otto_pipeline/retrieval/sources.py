"""The sources that propose candidates, in the order of their columns."""

from otto_pipeline.retrieval.embeddings import EMBEDDINGS
from otto_pipeline.retrieval.matrices import MATRICES
from otto_pipeline.schemas import Table, candidates_table

HISTORY = "history"
SESSION_KNN = "session_knn"
POPULARITY = "popularity"
NEIGHBOUR_SOURCES = (
    *(matrix.name for matrix in MATRICES),
    *(embedding.name for embedding in EMBEDDINGS),
)
"""Sources that propose neighbours of the session's items, in the order of their tables."""
SOURCES = (HISTORY, *NEIGHBOUR_SOURCES, SESSION_KNN, POPULARITY)

LIST_WEIGHTS = {
    HISTORY: 1.0,
    **{matrix.name: 1.0 for matrix in MATRICES},
    **{embedding.name: 2.0 for embedding in EMBEDDINGS},
    SESSION_KNN: 3.0,
    POPULARITY: 0.1,
}
"""Weight of each source's reciprocal rank in the list that needs no labels; popularity fills."""
RANK_OFFSET = 10
"""The list sums weight / (this + rank) (RANKING.md, `knnpre`)."""
SOURCE_LIMIT = 200
"""Items that one source proposes to one session."""
POPULAR_ITEMS = 100
"""Items that popularity proposes."""

CANDIDATES: Table = candidates_table(SOURCES)
