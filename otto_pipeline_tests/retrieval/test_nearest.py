import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from otto_pipeline.retrieval.nearest import (
    CELL_ITEMS,
    NEAREST,
    PROBED,
    SHARPNESS,
    divided,
    nearest,
    nearest_vectors,
)
from otto_pipeline.schemas import COVISITATION


def unit_vectors(n: int, seed: int) -> NDArray[np.float32]:
    vectors = np.random.default_rng(seed).standard_normal((n, 8), np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def rows_of(aid: NDArray[np.int32], vectors: NDArray[np.float32], asked: list[int]) -> pl.DataFrame:
    found = nearest(aid, vectors, np.array(asked, np.int64), threads=1, seed=1)
    return pl.concat([COVISITATION.empty(), *found])


def test_nearest_equal_all_cosines_sorted() -> None:
    vectors, aid = unit_vectors(300, 1), np.arange(10, 610, 2, dtype=np.int32)
    rows = rows_of(aid, vectors, [0, 7, 299])
    cosine = vectors @ vectors.T
    for x in (0, 7, 299):
        others = [y for y in np.argsort(-cosine[x]) if y != x and cosine[x, y] > 0][:NEAREST]
        found = rows.filter(pl.col("aid") == aid[x])
        assert found["neighbour"].to_list() == aid[others].tolist()
        assert found["weight"].to_list() == pytest.approx(cosine[x, others] ** SHARPNESS, rel=1e-4)
        assert found["rank"].to_list() == list(range(1, len(others) + 1))


def test_where_all_cells_are_looked_at_the_result_is_exact() -> None:
    vectors = unit_vectors(5000, 2)
    asked = np.arange(0, 5000, 50)
    found, _ = nearest_vectors(vectors, asked, threads=2, seed=1)
    cosine = vectors[asked] @ vectors.T
    cosine[np.arange(len(asked)), asked] = -1
    best = np.argsort(-cosine, axis=1)[:, :NEAREST]
    assert np.mean(np.sort(found) == np.sort(best)) > 0.999  # sums of floats in another order


def test_of_many_cells_nearly_all_nearest_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{nearest.__module__}.CELL_ITEMS", 20)
    vectors = unit_vectors(5000, 4)
    asked = np.arange(0, 5000, 50)
    found, _ = nearest_vectors(vectors, asked, threads=1, seed=1)
    assert PROBED < 5000 / 20
    cosine = vectors[asked] @ vectors.T
    cosine[np.arange(len(asked)), asked] = -1
    best = np.argsort(-cosine, axis=1)[:, :NEAREST]
    hits = sum(len(set(of_x) & set(exact)) for of_x, exact in zip(found, best, strict=True))
    assert hits >= 0.98 * best.size


def test_threads_leave_no_trace() -> None:
    vectors, asked = unit_vectors(3000, 5), np.arange(3000)
    one, three = (nearest_vectors(vectors, asked, threads, seed=1) for threads in (1, 3))
    assert all(map(np.array_equal, one, three))


def test_each_vector_lies_in_the_cell_of_its_nearest_centre() -> None:
    vectors = unit_vectors(4 * CELL_ITEMS, 6)
    cells = divided(vectors, threads=2, seed=1)
    assert len(cells.centres) == 4
    assert np.linalg.norm(cells.centres, axis=1) == pytest.approx(1)
    assert np.array_equal(cells.of_vector, (vectors @ cells.centres.T).argmax(axis=1))
    for cell in range(4):
        members = cells.members[cells.start[cell] : cells.start[cell + 1]]
        assert members.tolist() == np.flatnonzero(cells.of_vector == cell).tolist()


def test_equal_vectors_are_in_the_order_of_the_items() -> None:
    vectors = np.repeat(unit_vectors(1, 3), 5, axis=0)
    rows = rows_of(np.array([2, 3, 5, 7, 9], np.int32), vectors, [1])
    assert rows["neighbour"].to_list() == [2, 5, 7, 9]


@pytest.mark.parametrize("asked", [[], [0]])
def test_an_item_alone_has_no_neighbour(asked: list[int]) -> None:
    assert rows_of(np.array([4], np.int32), unit_vectors(1, 1), asked).height == 0
