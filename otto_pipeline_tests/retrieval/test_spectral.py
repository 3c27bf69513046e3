import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse import csr_array

from otto_pipeline.retrieval.spectral import (
    largest_eigenpairs,
    orthonormal,
    product,
    to_shifted_ppmi,
)


@st.composite
def symmetric_counts(draw: st.DrawFn) -> NDArray[np.float32]:
    size = draw(st.integers(1, 6))
    values = draw(st.lists(st.integers(0, 4), min_size=size * size, max_size=size * size))
    counts = np.array(values, np.float32).reshape(size, size)
    return counts + counts.T


@given(counts=symmetric_counts(), shift=st.sampled_from([0.5, 1.0, 3.0]))
def test_information_equals_its_formula(counts: NDArray[np.float32], shift: float) -> None:
    frequency = counts.sum(axis=1, dtype=np.float64)
    smoothed = frequency**0.75
    information = csr_array(counts)
    to_shifted_ppmi(information, shift, 0.75)
    found = information.toarray()
    for x, y in np.ndindex(*counts.shape):
        expected = 0.0
        if counts[x, y] > 0:
            forward = frequency[x] * smoothed[y] / smoothed.sum()
            backward = frequency[y] * smoothed[x] / smoothed.sum()
            expected = max(0, np.log(counts[x, y] / np.sqrt(forward * backward) / shift))
        assert found[x, y] == pytest.approx(expected, abs=1e-5)


def symmetric(size: int, seed: int) -> NDArray[np.float32]:
    """Few large eigenvalues, some of them negative."""
    random = np.random.default_rng(seed)
    vectors, _ = np.linalg.qr(random.standard_normal((size, size)))
    values = np.where(np.arange(size) % 3 == 1, -1, 1) * 10 * 0.6 ** np.arange(size)
    return ((vectors * values) @ vectors.T).astype(np.float32)


def test_eigenpairs_equal_those_of_the_dense_matrix() -> None:
    dense = symmetric(60, 1)
    values, vectors = largest_eigenpairs(csr_array(dense), 5, threads=2, seed=3)
    expected, directions = np.linalg.eigh(dense)
    largest = np.argsort(-np.abs(expected))[:5]
    assert values == pytest.approx(expected[largest], rel=1e-3)
    alike = np.abs((vectors * directions[:, largest]).sum(axis=0))
    assert alike == pytest.approx(np.ones(5), abs=1e-3)


def test_small_matrix_has_as_many_eigenpairs_as_rows() -> None:
    values, vectors = largest_eigenpairs(csr_array(symmetric(3, 2)), 48, threads=1, seed=1)
    assert values.shape == (3,)
    assert vectors.shape == (3, 3)


def test_dependent_columns_are_left_out_of_a_basis() -> None:
    columns = np.random.default_rng(1).standard_normal((50, 4), np.float32)
    basis = orthonormal(np.column_stack([columns, columns[:, 0] - columns[:, 1], 0 * columns]))
    assert basis.T @ basis == pytest.approx(np.eye(4), abs=1e-4)
    assert basis @ (basis.T @ columns) == pytest.approx(columns, abs=1e-4)


def test_product_does_not_depend_on_threads() -> None:
    matrix, dense = csr_array(symmetric(50, 4)), symmetric(50, 5)[:, :7].copy()
    assert np.array_equal(product(matrix, dense, 1), product(matrix, dense, 3))
    assert product(matrix, dense, 1) == pytest.approx(matrix @ dense)
