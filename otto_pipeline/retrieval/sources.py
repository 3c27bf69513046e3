"""The sources that propose candidates, in the order of their columns."""

from otto_pipeline.retrieval.embeddings import EMBEDDINGS
from otto_pipeline.retrieval.matrices import MATRICES
from otto_pipeline.retrieval.session_knn import CONSTANTS
from otto_pipeline.schemas import Table, candidates_table, union_sample_table

HISTORY = "history"
SECOND_HOP = "second_hop"
SESSION_KNN = "session_knn"
POPULARITY = "popularity"
NEIGHBOUR_SOURCES = (
    *(matrix.name for matrix in MATRICES),
    *(embedding.name for embedding in EMBEDDINGS),
)
"""Sources that propose neighbours of the session's items, in the order of their tables."""
SOURCES = (HISTORY, *NEIGHBOUR_SOURCES, SECOND_HOP, SESSION_KNN, POPULARITY)

LIST_WEIGHTS = {
    HISTORY: 1.0,
    **{matrix.name: 1.0 for matrix in MATRICES},
    **{embedding.name: 2.0 for embedding in EMBEDDINGS},
    SECOND_HOP: 1.0,
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
POPULAR_LISTS = {"sessions_week": 3.0, "carts_week": 1.0}
"""Weights of the lists of most popular items that popularity merges, by what they are ordered by:
what many look at now, and what many want. Lists of the last day and of orders brought nothing on
jd_hup_appliances and the generated demo."""
POPULAR_OFFSET = 60
"""Popularity sums weight / (this + rank) over the lists: reciprocal rank fusion (Cormack, Clarke,
Büttcher 2009, https://doi.org/10.1145/1571941.1572114)."""
HOP_SOURCES = 15
"""Items of the first hop from which the second starts (RANKING.md, `hop2`)."""
HOP_TABLE = max(range(len(MATRICES)), key=lambda number: MATRICES[number].top_k)
"""The second hop goes through the widest matrix."""

UNION_VERSION = (
    f"4 {SOURCES} {SOURCE_LIMIT} {POPULAR_ITEMS} {POPULAR_LISTS} {POPULAR_OFFSET} {HOP_SOURCES} "
    f"{CONSTANTS}"
)
"""What stages that read the union depend on beside their inputs."""

CANDIDATES: Table = candidates_table(SOURCES)
UNION_SAMPLE: Table = union_sample_table(SOURCES)
