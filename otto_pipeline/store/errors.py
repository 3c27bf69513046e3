"""What can go wrong with the store, each with what to do about it."""

import errno
import os
from pathlib import Path


class StoreError(RuntimeError):
    """The store cannot be read or written, or belongs to something else."""


REMEDIES = {
    errno.ENOSPC: "the disk is full; free space there, or set OTTO_STORE_DIR to a folder on a "
    "larger disk, and run again: it continues where it stopped",
    errno.EDQUOT: "the disk quota is used up; free space there, or set OTTO_STORE_DIR to another "
    "disk, and run again: it continues where it stopped",
    errno.EROFS: "the disk is read-only; set OTTO_STORE_DIR to a folder that can be written",
    errno.EACCES: "writing is not permitted; set OTTO_STORE_DIR to a folder that can be written",
    errno.EPERM: "writing is not permitted; set OTTO_STORE_DIR to a folder that can be written",
    errno.ENOTDIR: "a part of the path is a file; set OTTO_STORE_DIR to a folder",
}


def explain_write_error(path: Path, number: int) -> StoreError:
    """The sentence for the system's refusal `number` (one of `REMEDIES`) to write at `path`."""
    return StoreError(f"{path}: cannot be written ({os.strerror(number)}): {REMEDIES[number]}")
