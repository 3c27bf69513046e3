"""One writer per store and scale, and one at a time of a file that all scales share.

The locks are the operating system's (`flock`), that of a scale held until the process ends: a
process that is killed leaves a file but no lock, so nothing has to be cleaned up after a crash.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from otto_pipeline.store.errors import StoreError
from otto_pipeline.store.files import sweep, writing

LOCK_FILE = ".writer"

_held: dict[Path, IO[str]] = {}


def hold(folder: Path) -> None:
    """Make this process the only writer below `folder` until it ends; again is harmless.

    Raises:
        StoreError: another living process writes there; names it.
    """
    path = (folder / LOCK_FILE).resolve()
    if path in _held and path.exists():
        return
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        writer = file.read().strip() or "another process"
        file.close()
        raise StoreError(
            f"{folder}: {writer} is writing there; wait until it has ended, stop it, or set "
            "OTTO_STORE_DIR to another folder"
        ) from None
    with writing(path):
        file.truncate(0)
        file.write(f"process {os.getpid()} (since {time.strftime('%Y-%m-%d %H:%M:%S')})")
        file.flush()
    _held[path] = file


@contextmanager
def updating(path: Path) -> Iterator[None]:
    """Let no other process update the file `path` in this block; waits while one does.

    Raises:
        StoreError: its folder cannot be written.
    """
    lock = path.with_name(f".{path.name}.lock")
    with writing(lock):
        lock.parent.mkdir(parents=True, exist_ok=True)
        file = lock.open("a")
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        sweep(path.parent, path.name)
        yield
