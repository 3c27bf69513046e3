import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otto_pipeline.events.hashing import draw, draw_pairs, hash_ids

MANY = pl.Series("session_id", range(20_000))


def splitmix64(value: int) -> int:
    """The finaliser in Python's integers."""
    mask = 2**64 - 1
    value = (value + 0x9E3779B97F4A7C15) & mask
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & mask
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & mask
    return value ^ (value >> 31)


def test_hashes_of_integers_are_fixed() -> None:
    assert hash_ids(pl.Series([0, 1, -1, 12_899_779])).to_list() == [
        16294208416658607535,
        10451216379200822465,
        16490336266968443936,
        6334076386422834200,
    ]


def test_hashes_of_strings_are_fixed() -> None:
    assert hash_ids(pl.Series(["a", "12899779", "größe"])).to_list() == [
        3405396810240292928,
        3831926069243047611,
        16832822397561338100,
    ]


def test_draws_are_fixed() -> None:
    hashes = pl.Series("hash", [0, 1, 2**64 - 1], pl.UInt64)
    assert draw(hashes, 42, "sample").to_list() == [
        1636954894143786691,
        11022886676833270309,
        1291058439141976901,
    ]
    aids = pl.Series("aid", [0, 1, 1_855_602], pl.Int32)
    assert draw_pairs(hashes, aids, 42, "negatives").to_list() == [
        2150175492242659365,
        7321998682426094344,
        6284810096055126325,
    ]


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=5))
def test_hash_of_integers_is_that_of_splitmix64(ids: list[int]) -> None:
    hashes = hash_ids(pl.Series(ids, dtype=pl.Int64))
    assert hashes.to_list() == [splitmix64(value % 2**64) for value in ids]
    assert hashes.dtype == pl.UInt64


def test_no_ids_have_no_hashes() -> None:
    for dtype in (pl.Int64, pl.String):
        assert hash_ids(pl.Series([], dtype=dtype)).dtype == pl.UInt64
        assert hash_ids(pl.Series([], dtype=dtype)).to_list() == []


def test_number_and_its_text_are_different_ids() -> None:
    assert hash_ids(pl.Series([7])).item() != hash_ids(pl.Series(["7"])).item()


@pytest.mark.parametrize("dtype", [pl.Int64, pl.String])
def test_hashes_and_draws_are_distinct_and_spread_evenly(dtype: pl.DataType) -> None:
    hashes = hash_ids(MANY.cast(dtype))
    for values in (hashes, draw(hashes, 42, "sample"), draw(hashes, 43, "sample")):
        assert values.n_unique() == len(MANY)
        tenths = np.bincount(values.to_numpy() % np.uint64(10), minlength=10)
        assert abs(tenths - 2000).max() < 200  # deviation 42


@pytest.mark.parametrize(
    ("seed", "purpose"), [(42, "cut"), (43, "sample"), (4, "2 sample"), (42, "sample ")]
)
def test_draws_of_another_seed_or_purpose_are_independent(seed: int, purpose: str) -> None:
    hashes = hash_ids(MANY)
    ours = draw(hashes, 42, "sample").to_numpy() % 10
    other = draw(hashes, seed, purpose).to_numpy() % 10
    assert 1700 < (ours == other).sum() < 2300  # 2000 expected, deviation 42


def test_draw_of_a_session_does_not_depend_on_the_others() -> None:
    hashes = hash_ids(MANY)
    whole = draw(hashes, 42, "sample")
    assert draw(hashes[5:9], 42, "sample").to_list() == whole[5:9].to_list()
    assert draw(hashes.reverse(), 42, "sample").to_list() == whole.reverse().to_list()


def test_draws_of_pairs_differ_by_session_item_seed_and_purpose() -> None:
    hashes = hash_ids(pl.Series([101, 101, 102, 102]))
    aids = pl.Series("aid", [1, 2, 1, 2], pl.Int32)
    found = [
        *draw_pairs(hashes, aids, 42, "negatives"),
        *draw_pairs(hashes, aids, 43, "negatives"),
        *draw_pairs(hashes, aids, 42, "other"),
    ]
    assert len(set(found)) == 12


def test_draw_of_a_pair_is_not_that_of_its_mirror() -> None:
    ids = pl.Series("aid", [3, 8], pl.Int32)
    hashes = hash_ids(pl.Series("session_id", [8, 3]))
    one, other = draw_pairs(hashes, ids, 42, "negatives")
    assert one != other
