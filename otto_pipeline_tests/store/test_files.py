import errno
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from random import Random

import polars as pl
import pytest

from otto_pipeline.settings import Settings
from otto_pipeline.store.build import build
from otto_pipeline.store.errors import StoreError
from otto_pipeline.store.files import atomic, content_hash, sweep, text_hash, writing
from otto_pipeline.store.stage import Stage
from otto_pipeline_tests.building import log_line, write_log
from otto_pipeline_tests.pipeline import build_until
from otto_pipeline_tests.store.numbers import Numbers


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 200 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if shutil.which("mount") is None:
        pytest.skip("needs the command mount")
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a disk")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def write_much(_inputs: object, _shard: int, _settings: Settings, path: Path) -> dict[str, int]:
    numbers = pl.int_range(100_000, eager=True).shuffle(seed=1)
    numbers.to_frame("number").write_parquet(path, compression="uncompressed")
    return {}


def build_much(root: Path) -> None:
    build(root, "much", Stage(write=write_much), {}, Settings(), lambda _message: None)


def fail_half_way(path: Path) -> None:
    with atomic(path) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError


def test_file_appears_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "down" / "a.txt"
    with atomic(path) as temporary:
        temporary.write_text("half")
        assert not path.exists()
        temporary.write_text("whole")
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_exception_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        fail_half_way(tmp_path / "a.txt")
    assert list(tmp_path.iterdir()) == []


def test_exception_leaves_what_was_there_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError):
        fail_half_way(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_temporary_file_is_the_processs_own(tmp_path: Path) -> None:
    with atomic(tmp_path / "a.txt") as temporary:
        temporary.touch()
        assert str(os.getpid()) in temporary.name


def test_sweep_removes_temporary_files_alone(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    kept = [tmp_path / "a.txt", tmp_path / "deep" / "b.txt"]
    for path in [*kept, tmp_path / "a.txt.12.tmp", tmp_path / "deep" / "b.txt.34.tmp"]:
        path.touch()
    sweep(tmp_path)
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == kept


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "the disk is full; free space there"),
        (errno.EDQUOT, "the disk quota is used up"),
        (errno.EROFS, "the disk is read-only; set OTTO_STORE_DIR"),
        (errno.EACCES, "writing is not permitted; set OTTO_STORE_DIR"),
        (errno.EPERM, "writing is not permitted; set OTTO_STORE_DIR"),
        (errno.ENOTDIR, "a part of the path is a file; set OTTO_STORE_DIR"),
    ],
)
def test_refusal_to_write_says_what_to_do(tmp_path: Path, number: int, remedy: str) -> None:
    path = tmp_path / "a.parquet"
    refusals = [
        OSError(number, os.strerror(number)),  # of a file that is open
        OSError(number, os.strerror(number), str(path.with_name("a.parquet.tmp"))),
        OSError(number, os.strerror(number), str(tmp_path)),
        OSError(number, os.strerror(number), str(tmp_path.parent)),  # which is to be made first
        pl.exceptions.ComputeError(f"parquet: underlying IO error: no (os error {number})"),
        PermissionError(f"{os.strerror(number)} (os error {number}): {path}"),
        OSError(number, f"Failed to open local file '{path}'. Detail: [errno {number}] no"),
    ]
    for refusal in refusals:
        with pytest.raises(StoreError) as error, atomic(path):
            raise refusal
        assert str(error.value).startswith(
            f"{path}: cannot be written ({os.strerror(number)}): {remedy}"
        )
        assert error.value.__cause__ is refusal


@pytest.mark.parametrize(
    "refusal",
    [
        OSError(errno.EACCES, "Permission denied", "/logs/train.jsonl"),
        PermissionError("Permission denied (os error 13): /logs/part-00000.parquet"),
        OSError(errno.EACCES, "Failed to open local file '/logs/part.parquet'. Detail: no"),
        OSError(errno.ENOENT, "No such file or directory"),
        pl.exceptions.ComputeError("no (os error 2): /logs/part-00000.parquet"),
        pl.exceptions.ColumnNotFoundError("aid"),
        ValueError("(os error 28)"),
    ],
    ids=repr,
)
def test_other_errors_stay_what_they_are(tmp_path: Path, refusal: Exception) -> None:
    with pytest.raises(type(refusal)) as error, writing(tmp_path / "a.parquet"):
        raise refusal
    assert error.value is refusal


def test_other_file_is_another_even_if_its_folder_begins_with_the_same_letters(
    tmp_path: Path,
) -> None:
    refusal = OSError(errno.EACCES, "Permission denied", str(tmp_path / "raw2" / "a"))
    with (
        pytest.raises(OSError, match="Permission denied") as error,
        writing(tmp_path / "raw" / "a"),
    ):
        raise refusal
    assert error.value is refusal


def test_store_below_a_file_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="a part of the path is a file"):
        Numbers(tmp_path / "file" / "store" / "full").build()


def test_full_disk_says_what_to_do_and_leaves_no_half_file(small_disk: Path) -> None:
    with pytest.raises(StoreError, match=r"cannot be written .*the disk is full") as error:
        build_much(small_disk)
    assert str(small_disk / "much" / "part-00000.parquet") in str(error.value)
    assert [path.name for path in (small_disk / "much").iterdir()] == ["building.json"]
    assert Numbers(small_disk).build().written == 4  # there is room again


def test_disk_without_any_room_says_what_to_do(small_disk: Path) -> None:
    with pytest.raises(OSError, match="No space left"):
        (small_disk / "fill").write_bytes(bytes(300_000))
    with pytest.raises(StoreError, match="the disk is full"):
        build_much(small_disk)
    (small_disk / "fill").unlink()
    assert Numbers(small_disk).build().written == 4


@pytest.mark.parametrize("below", ["", "deep/down"])
def test_read_only_disk_says_what_to_do(small_disk: Path, below: str) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(StoreError, match="the disk is read-only; set OTTO_STORE_DIR"):
        Numbers(small_disk / below).build()


def test_full_disk_during_ingest_says_what_to_do(small_disk: Path, tmp_path: Path) -> None:
    random = Random(1)  # so that no codec makes it small
    lines = [
        log_line(i, [(random.getrandbits(62), i, "clicks") for _ in range(99)]) for i in range(500)
    ]
    data_dir = write_log(tmp_path / "data", {"train.jsonl": lines})
    with pytest.raises(StoreError, match=r"log/parsed/.*the disk is full"):
        build_until("log/events", small_disk, data_dir)


def test_hashes_are_fixed(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"otto")
    assert text_hash("otto") == "0f1e0941f745ef97e845cdc9f24c870c"
    assert content_hash(tmp_path / "a") == hashlib.sha256(b"otto").hexdigest()
