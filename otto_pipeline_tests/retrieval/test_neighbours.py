import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otto_pipeline.events.event_log import open_event_log
from otto_pipeline.orchestration.checks import table_failures
from otto_pipeline.retrieval import neighbours
from otto_pipeline.retrieval.embeddings import EMBEDDINGS
from otto_pipeline.retrieval.matrices import MATRICES
from otto_pipeline.retrieval.neighbours import (
    NeighbourTable,
    frames,
    neighbour_table,
    open_neighbours,
    share_of,
)
from otto_pipeline.schemas import COVISITATION, NEIGHBOURS
from otto_pipeline.store.errors import StoreError
from otto_pipeline_tests.pipeline import build_until

N_ITEMS = 8


@st.composite
def matrix_rows(draw: st.DrawFn) -> pl.DataFrame:
    """Rows of a whole matrix of few items, each row's neighbours by falling weight."""
    rows = []
    for aid in range(N_ITEMS):
        others = draw(st.lists(st.integers(0, N_ITEMS - 1), unique=True, max_size=5))
        weights = sorted(
            draw(st.lists(st.integers(1, 9), min_size=len(others), max_size=len(others))),
            reverse=True,
        )
        rows += [
            (aid, y, float(w), r)
            for r, (y, w) in enumerate(zip(others, weights, strict=True), start=1)
        ]
    return pl.DataFrame(rows, schema=COVISITATION.empty().schema, orient="row")


def shares(rows: pl.DataFrame) -> dict[tuple[int, int], float]:
    total: dict[int, float] = {}
    for aid, _, weight, _ in rows.iter_rows():
        total[aid] = total.get(aid, 0) + weight
    return {(aid, y): weight / total[aid] for aid, y, weight, _ in rows.iter_rows()}


@given(rows=matrix_rows())
@settings(max_examples=50)
def test_share_is_found_for_every_pair_of_items(rows: pl.DataFrame) -> None:
    table, expected = neighbour_table(rows, N_ITEMS), shares(rows)
    for x in range(N_ITEMS):
        for y in range(N_ITEMS):
            assert share_of(table, x, y) == pytest.approx(expected.get((x, y), 0.0))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict:
    store = tmp_path_factory.mktemp("store")
    return build_until("validation/neighbours", store, None, scale="demo", demo_sessions=300)


def test_mapped_tables_hold_what_the_matrices_hold(built: dict) -> None:
    tables = open_neighbours(built["validation/neighbours"])
    n_items = built["log/items"].manifest.rows
    for matrix, table in zip(MATRICES, tables[: len(MATRICES)], strict=True):
        rows = built[f"validation/covisitation/{matrix.name}"].read()
        expected: NeighbourTable = neighbour_table(rows, n_items)
        assert rows.height > 0
        for mapped, in_memory in zip(table, expected, strict=True):
            assert np.array_equal(mapped, in_memory)
            assert not mapped.flags.writeable


def test_mapped_tables_keep_their_contract(built: dict) -> None:
    for piece in frames(built["validation/neighbours"]):
        assert not table_failures(NEIGHBOURS, piece.collect())


def test_mapped_tables_of_embeddings_hold_the_nearest_of_what_query_sessions_hold(
    built: dict,
) -> None:
    log = open_event_log(built["validation/event_log"])
    queries = built["validation/sessions"].read().filter("query")["session"].to_list()
    held = {
        int(aid)
        for session in queries
        for aid in log.aid[log.session_start[session] : log.session_start[session + 1]]
    }
    tables = open_neighbours(built["validation/neighbours"])[len(MATRICES) :]
    for embedding, table in zip(EMBEDDINGS, tables, strict=True):
        rows = built[f"validation/embeddings/{embedding.name}"].read()
        asked = set(np.flatnonzero(np.diff(table.start)).tolist())
        assert asked == held & set(rows["aid"].to_list())
        vector = dict(rows.iter_rows())
        x = min(asked)
        of_x = slice(table.start[x], table.start[x + 1])
        cosine = [np.dot(vector[x], vector[y]) for y in table.neighbour[of_x].tolist()]
        assert table.rank[of_x].tolist() == [
            1 + sum(other > mine for other in cosine) for mine in cosine
        ]
        assert table.share[of_x].sum() == pytest.approx(1)


def test_tables_of_other_sources_are_refused(built: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "NEIGHBOUR_SOURCES", ("time", "buy2buy"))
    with pytest.raises(StoreError, match="OTTO_EMBEDDINGS say; materialize it first"):
        open_neighbours(built["validation/neighbours"])
