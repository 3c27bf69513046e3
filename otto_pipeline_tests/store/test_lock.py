import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from otto_pipeline.store.errors import StoreError
from otto_pipeline.store.lock import hold
from otto_pipeline_tests.store.numbers import Numbers

REPOSITORY = Path(__file__).parents[2]
HOLDER = """
import sys
from pathlib import Path
from otto_pipeline.store.lock import hold
hold(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def holder(folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """A living process that holds the lock of a folder, until its standard input ends."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_second_process_is_refused_until_the_first_has_ended(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        for _ in range(2):  # being refused does not spoil the message
            with pytest.raises(StoreError) as error:
                hold(tmp_path)
            assert str(error.value).startswith(f"{tmp_path}: process {process.pid} (since ")
            assert "set OTTO_STORE_DIR to another folder" in str(error.value)
        process.communicate()
        hold(tmp_path)


def test_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        process.kill()
        process.wait()
        hold(tmp_path)
    assert (tmp_path / ".writer").read_text().startswith(f"process {os.getpid()} (since ")


def test_build_is_refused_while_another_process_writes(tmp_path: Path) -> None:
    with holder(tmp_path), pytest.raises(StoreError, match="is writing there"):
        Numbers(tmp_path).build()
    assert not (tmp_path / "numbers").exists()


def test_what_is_complete_can_be_used_while_another_process_writes(tmp_path: Path) -> None:
    script = HOLDER.replace(
        "hold(Path(sys.argv[1]))",
        "from otto_pipeline_tests.store.numbers import Numbers\nNumbers(Path(sys.argv[1])).build()",
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        assert Numbers(tmp_path).build().reused
        process.communicate()


def test_same_process_may_hold_again(tmp_path: Path) -> None:
    hold(tmp_path)
    hold(tmp_path)
    hold(Path(os.path.relpath(tmp_path)))
    assert f"process {os.getpid()} " in (tmp_path / ".writer").read_text()


def test_scales_are_locked_apart(tmp_path: Path) -> None:
    with holder(tmp_path / "pct1"):
        hold(tmp_path / "full")
        with pytest.raises(StoreError):
            hold(tmp_path / "pct1")


def test_store_that_was_removed_is_locked_anew(tmp_path: Path) -> None:
    hold(tmp_path / "full")
    (tmp_path / "full" / ".writer").unlink()
    (tmp_path / "full").rmdir()
    hold(tmp_path / "full")
    assert (tmp_path / "full" / ".writer").exists()
