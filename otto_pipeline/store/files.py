"""Files written whole or not at all, and their content hashes."""

import contextlib
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from otto_pipeline.store.errors import REMEDIES, explain_write_error

TEMPORARY = ".tmp"


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, renamed to it when the block ends without an error.

    It is this process's own; one that is killed leaves it behind, for `sweep`.

    Raises:
        StoreError: the disk refuses (full, read-only, not permitted), with the remedy.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}{TEMPORARY}")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def sweep(folder: Path, name: str = "**/*") -> None:
    """Remove what killed processes left of files of this name; only while no other writes them."""
    for leftover in folder.glob(f"{name}.*{TEMPORARY}"):
        leftover.unlink()


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the system's refusals to write at `path` into errors that say what to do."""
    try:
        yield
    except (OSError, pl.exceptions.PolarsError) as error:
        number = _error_number(error)
        if number not in REMEDIES or _is_elsewhere(error, path):
            raise
        raise explain_write_error(path, number) from error


def _is_elsewhere(error: Exception, path: Path) -> bool:
    """Whether the refusal is about another file: one that was read, not written."""
    named = getattr(error, "filename", None) or _named_in(str(error))
    if not isinstance(named, str):
        return False
    folder = path.parent  # or one above it, where that was to be made
    return not (Path(named).is_relative_to(folder) or folder.is_relative_to(named))


def _named_in(message: str) -> str | None:
    """The path in a message of Polars ("… (os error 13): /a/b") or pyarrow ("… '/a/b' …")."""
    found = re.search(r"(?:\(os error \d+\): |')(/[^']+)", message)
    return found.group(1) if found else None


def _error_number(error: Exception) -> int | None:
    """The system's error number; Polars has it in its message only."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    found = re.search(r"\(os error (\d+)\)", str(error))
    return int(found.group(1)) if found else None


def content_hash(path: Path) -> str:
    """Hash of a file's bytes (SHA-256, which processors have instructions for)."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def text_hash(text: str) -> str:
    """Hash of a text (BLAKE2b, 128 bit)."""
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
