"""Hashes of session ids: what sampling, cut points and folds are drawn from.

A draw depends on the session's original id, a seed and a purpose, never on the order of sessions,
the number of shards or threads.
"""

import hashlib

import numpy as np
import polars as pl
from numpy.typing import NDArray

_GOLDEN = 0x9E3779B97F4A7C15
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


def hash_ids(ids: pl.Series) -> pl.Series:
    """64-bit hashes (UInt64) of original ids, integers or strings."""
    if ids.dtype == pl.String:
        digests = [hashlib.blake2b(text.encode(), digest_size=8).digest() for text in ids]
        hashes = np.frombuffer(b"".join(digests), dtype="<u8")
    else:
        hashes = _mix(ids.cast(pl.Int64).to_numpy().view(np.uint64))
    return pl.Series("hash", hashes, dtype=pl.UInt64)


def draw(hashes: pl.Series, seed: int, purpose: str) -> pl.Series:
    """A second hash (UInt64) for one purpose: independent draws from the same sessions."""
    return pl.Series(hashes.name, _mix(hashes.to_numpy() ^ _salt(seed, purpose)), dtype=pl.UInt64)


def draw_pairs(hashes: pl.Series, aids: pl.Series, seed: int, purpose: str) -> pl.Series:
    """As `draw`, for (session, item) pairs."""
    of_aid = _mix(aids.to_numpy().astype(np.uint64) ^ _salt(seed, purpose))
    return pl.Series("draw", _mix(of_aid ^ hashes.to_numpy()), dtype=pl.UInt64)


def _salt(seed: int, purpose: str) -> np.uint64:
    digest = hashlib.blake2b(f"{seed} {purpose}".encode(), digest_size=8).digest()
    return np.uint64(int.from_bytes(digest, "little"))


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The splitmix64 finaliser (Steele, Lea and Flood, 2014)."""
    with np.errstate(over="ignore"):
        mixed = values + np.uint64(_GOLDEN)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * _FIRST
        mixed = (mixed ^ (mixed >> np.uint64(27))) * _SECOND
        return mixed ^ (mixed >> np.uint64(31))
