import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from otto_pipeline.store.errors import StoreError
from otto_pipeline.store.lock import hold, updating
from otto_pipeline_tests.store.numbers import Numbers

REPOSITORY = Path(__file__).parents[2]
HOLDER = """
import sys
from pathlib import Path
from otto_pipeline.store.lock import hold, updating
hold(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""

BUILDER = HOLDER.replace(
    "hold(Path(sys.argv[1]))",
    "from otto_pipeline_tests.store.numbers import Numbers\nNumbers(Path(sys.argv[1])).build()",
)


@contextmanager
def holder(folder: Path, script: str = HOLDER) -> Iterator["subprocess.Popen[str]"]:
    """A living process that holds the lock of a folder, until its standard input ends."""
    with subprocess.Popen(
        [sys.executable, "-c", script, str(folder)],
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
    with holder(tmp_path, BUILDER) as process:
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


UPDATES = {
    "store.json": "claim(store, f'{me} {number}', 'value')",
    "raw_log_hashes.json": "remembered_hash(store / 'logs' / f'{me} {number}', store)",
}
UPDATER = """
import sys
from pathlib import Path
from otto_pipeline.events.raw import remembered_hash
from otto_pipeline.store.identity import claim
store, me = Path(sys.argv[1]), sys.argv[2]
print("ready", flush=True)
sys.stdin.readline()
for number in range(40):
    UPDATE
"""


@pytest.mark.parametrize("name", UPDATES)
def test_no_update_of_a_shared_file_is_lost_between_processes(tmp_path: Path, name: str) -> None:
    entries = {f"{process} {number}" for process in "ab" for number in range(40)}
    (tmp_path / "logs").mkdir()
    for entry in entries:
        (tmp_path / "logs" / entry).write_text(entry)
    script = UPDATER.replace("UPDATE", UPDATES[name])
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", script, str(tmp_path), me],
                    cwd=REPOSITORY,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for me in "ab"
        ]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        assert [process.wait(60) for process in processes] == [0, 0]
    found = {Path(key).name for key in json.loads((tmp_path / name).read_text())}
    assert found == entries


def test_update_removes_what_killed_processes_left_of_the_file_alone(tmp_path: Path) -> None:
    path, other = tmp_path / "a.json", tmp_path / "b.json.123.tmp"
    for leftover in (tmp_path / "a.json.123.tmp", tmp_path / "a.json.4.tmp", other):
        leftover.write_text("half")
    with updating(path):
        assert sorted(tmp_path.glob("*.tmp")) == [other]
