import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from otto_pipeline.retrieval.nearest import NEAREST, SHARPNESS, nearest
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


def test_of_thousands_nearly_all_nearest_are_found() -> None:
    vectors = unit_vectors(5000, 2)
    asked = list(range(0, 5000, 50))
    rows = rows_of(np.arange(5000, dtype=np.int32), vectors, asked)
    cosine = vectors[asked] @ vectors.T
    cosine[np.arange(len(asked)), asked] = -1
    best = np.argsort(-cosine, axis=1)[:, :NEAREST]
    exact = {(x, int(y)) for x, of_x in zip(asked, best, strict=True) for y in of_x}
    assert len(exact & set(rows.select("aid", "neighbour").rows())) >= 0.98 * len(exact)


def test_equal_vectors_are_in_the_order_of_the_items() -> None:
    vectors = np.repeat(unit_vectors(1, 3), 5, axis=0)
    rows = rows_of(np.array([2, 3, 5, 7, 9], np.int32), vectors, [1])
    assert rows["neighbour"].to_list() == [2, 5, 7, 9]


@pytest.mark.parametrize("asked", [[], [0]])
def test_an_item_alone_has_no_neighbour(asked: list[int]) -> None:
    assert rows_of(np.array([4], np.int32), unit_vectors(1, 1), asked).height == 0
