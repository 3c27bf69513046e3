import gzip
import tempfile
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from otto_pipeline.events import jsonl
from otto_pipeline.events.errors import LogError
from otto_pipeline.events.jsonl import (
    read_blocks,
)
from otto_pipeline_tests.building import log_line

GOOD = log_line(1, [(2, 3, "clicks")]).encode()
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gz": lambda data: gzip.compress(data, mtime=0),
    "zst": zstandard.ZstdCompressor().compress,
}


@st.composite
def cut_files(draw: st.DrawFn) -> tuple[bytes, list[int], int]:
    """A file, positions at which it is cut, and a size of blocks."""
    line = st.text("ab\r {", max_size=12).map(str.encode)
    content = b"\n".join(draw(st.lists(line, max_size=12))) + draw(st.sampled_from([b"", b"\n"]))
    cuts = draw(st.lists(st.integers(1, len(content) + 2), max_size=6))
    return content, sorted(cuts), draw(st.integers(1, 40))


def read_all(path: Path, start: int = 0, stop: int | None = None) -> bytes:
    blocks = list(read_blocks(path, start, stop))
    assert all(block.endswith(b"\n") for block in blocks[:-1])
    assert b"" not in blocks
    return b"".join(blocks)


def slow_range(content: bytes, start: int, stop: int | None) -> bytes:
    """The lines of which the first byte lies in [start, stop)."""
    found, position = b"", 0
    for line in _split(content):
        if start <= position and (stop is None or position < stop):
            found += line
        position += len(line)
    return found


def _split(content: bytes) -> list[bytes]:
    lines = [line + b"\n" for line in content.split(b"\n")]
    return [*lines[:-1], lines[-1][:-1]]


@given(case=cut_files())
@settings(max_examples=200)
def test_ranges_cut_anywhere_yield_every_line_exactly_once(
    case: tuple[bytes, list[int], int],
) -> None:
    content, cuts, block_bytes = case
    with tempfile.TemporaryDirectory() as folder, patch.object(jsonl, "BLOCK_BYTES", block_bytes):
        path = Path(folder) / "log.jsonl"
        path.write_bytes(content)
        ranges = list(zip([0, *cuts], [*cuts, None], strict=True))
        pieces = [read_all(path, start, stop) for start, stop in ranges]
    assert pieces == [slow_range(content, start, stop) for start, stop in ranges]
    assert b"".join(pieces) == content


@given(case=cut_files(), packing=st.sampled_from(["gz", "zst"]))
@settings(max_examples=60)
def test_compressed_file_of_several_parts_is_read_whole(
    case: tuple[bytes, list[int], int], packing: str
) -> None:
    content, cuts, block_bytes = case
    parts = [content[a:b] for a, b in zip([0, *cuts], [*cuts, None], strict=True)]
    with (
        tempfile.TemporaryDirectory() as folder,
        patch.object(jsonl, "BLOCK_BYTES", 8 * block_bytes),
    ):
        path = Path(folder) / f"log.jsonl.{packing}"
        path.write_bytes(b"".join(map(COMPRESS[packing], parts)))
        assert read_all(path) == content


def test_blocks_are_about_as_large_as_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes((GOOD + b"\n") * 200)
    with patch.object(jsonl, "BLOCK_BYTES", 1000):
        sizes = [len(block) for block in read_blocks(path)]
    assert len(sizes) > 5
    assert max(sizes) <= 1000 + len(GOOD)


def test_line_longer_than_a_block_stays_whole(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    long = log_line(1, [(aid, aid, "clicks") for aid in range(200)]).encode()
    path.write_bytes(GOOD + b"\n" + long + b"\n" + GOOD)
    with patch.object(jsonl, "BLOCK_BYTES", 64):
        blocks = list(read_blocks(path))
    assert b"".join(blocks) == path.read_bytes()
    assert sum(long in block for block in blocks) == 1


@pytest.mark.parametrize("packing", ["gz", "zst"])
def test_file_cut_off_anywhere_is_refused_by_name(tmp_path: Path, packing: str) -> None:
    whole = COMPRESS[packing](b"".join(b"%d %d\n" % (i * 7919, i) for i in range(300)))
    path = tmp_path / f"train.jsonl.{packing}"
    for kept in [*range(1, 20), len(whole) // 2, *range(len(whole) - 12, len(whole))]:
        path.write_bytes(whole[:kept])
        with pytest.raises(LogError, match=r"is cut off or damaged .*download it again") as error:
            list(read_blocks(path))
        assert str(error.value).startswith(f"{path}: ")


@pytest.mark.parametrize("packing", ["gz", "zst"])
def test_second_part_cut_off_is_refused(tmp_path: Path, packing: str) -> None:
    part = COMPRESS[packing](GOOD + b"\n")
    path = tmp_path / f"train.jsonl.{packing}"
    path.write_bytes(part + part[:-3])
    with pytest.raises(LogError, match="is cut off or damaged"):
        list(read_blocks(path))


@pytest.mark.parametrize("content", [GOOD + b"\n", b"\x00" * 64])
@pytest.mark.parametrize("packing", ["gz", "zst"])
def test_garbage_instead_of_a_compressed_file_is_refused(
    tmp_path: Path, packing: str, content: bytes
) -> None:
    path = tmp_path / f"train.jsonl.{packing}"
    path.write_bytes(content)
    with pytest.raises(LogError, match="is cut off or damaged"):
        list(read_blocks(path))


def test_flipped_byte_of_a_gz_is_refused(tmp_path: Path) -> None:
    whole = bytearray(gzip.compress(GOOD * 50))
    whole[len(whole) // 2] ^= 0xFF
    (tmp_path / "train.jsonl.gz").write_bytes(whole)
    with pytest.raises(LogError, match="is cut off or damaged"):
        list(read_blocks(tmp_path / "train.jsonl.gz"))


def test_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.mkdir()
    with pytest.raises(LogError, match=r"train\.jsonl: cannot be read \(Is a directory\)"):
        list(read_blocks(path))
