"""The raw log of a scale: which files it is, what they contain, and what share is taken.

In go the settings, out comes one small JSON listing (`RawLog`) that the ingest reads. The scale
`demo` generates its log; the others use the configured one where it lies, and a shop's log
(`log.yaml`) as converted into OTTO's form beside the listing.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import msgspec
import polars as pl

from otto_pipeline.events.errors import LogError
from otto_pipeline.events.generate import generate_log
from otto_pipeline.events.jsonl import IdType, peek_id_types
from otto_pipeline.events.shop_declaration import (
    DECLARATION,
    TABLE_SUFFIXES,
    read_declaration,
    sources_of,
)
from otto_pipeline.events.shop_log import convert_shop_log
from otto_pipeline.schemas import QUARANTINE
from otto_pipeline.settings import Settings
from otto_pipeline.store.dataset import Dataset, Figures, write_json
from otto_pipeline.store.files import content_hash
from otto_pipeline.store.identity import claim
from otto_pipeline.store.lock import updating
from otto_pipeline.store.stage import Inputs, Stage

TRAIN_NAMES = ("train", "train_sessions")
TEST_NAMES = ("test", "test_sessions")
SUFFIXES = (".jsonl", ".jsonl.gz", ".jsonl.zst")

SHARES = {"demo": 1.0, "pct1": 0.01, "pct10": 0.1, "full": 1.0}
"""Share of the sessions that a scale takes, by a hash of the session id."""

DEMO_TEST_SHARE = 0.15
"""Test sessions of the generated log, as a share of its train sessions (OTTO: .13)."""
DEMO_ITEM_SHARE = 0.25
"""Items of the generated log, as a share of its train sessions (OTTO: .14)."""

HASHES_FILE = "raw_log_hashes.json"
DEMO_FOLDER = "generated"
CONVERTED_FOLDER = "converted"


class LogFile(msgspec.Struct, frozen=True):
    """One file of a log."""

    path: str
    kind: Literal["train", "test"]
    bytes: int
    hash: str

    @property
    def compressed(self) -> bool:
        """Whether it can only be read from its beginning."""
        return not self.path.endswith(".jsonl")


class RawLog(msgspec.Struct, frozen=True):
    """The files of a log, the type of its ids, and the share of sessions taken.

    Of a converted log also: how many rows its own files have, and the Parquet file of those rows
    that were set aside.
    """

    files: list[LogFile]
    session_ids: IdType
    item_ids: IdType
    share: float
    rows: int | None = None
    rejected: str | None = None


def read_raw_log(dataset: Dataset) -> RawLog:
    """The listing that `raw_stage` wrote."""
    return msgspec.json.decode(dataset.files[0].read_bytes(), type=RawLog)


def rejected_rows(raw: RawLog) -> pl.DataFrame:
    """Rows (file, line, reason) of the shop's own files that its conversion set aside."""
    if raw.rejected is None:
        return QUARANTINE.empty()
    return pl.read_parquet(raw.rejected)


def raw_stage(scale: str) -> Stage:
    """The stage that makes the listing of a scale."""
    if scale == "demo":
        return Stage(
            write=_write_generated,
            version="2",
            file="files.json",
            settings=("seed", "demo_sessions"),
        )
    return Stage(
        write=partial(_write_configured, SHARES[scale]),
        file="files.json",
        sources=partial(_sources, SHARES[scale]),
        settings=("seed",),
    )


def log_files(data_dir: Path | None) -> dict[str, Path]:
    """Every file that the configured log consists of: by kind, or a shop's by name.

    Raises:
        LogError: no log is configured, or it is missing, ambiguous or not declared as it is.
    """
    if data_dir is None or not is_shop_log(data_dir):
        return {str(kind): path for kind, path in find_log_files(data_dir).items()}
    sources = sources_of(data_dir, read_declaration(data_dir))
    names = {str(source.path.relative_to(data_dir)): source.path for source in sources}
    return {DECLARATION: data_dir / DECLARATION, **names}


def is_shop_log(data_dir: Path) -> bool:
    """Whether a log is declared by a `log.yaml`.

    Raises:
        LogError: it is, and there is a log in OTTO's form beside it.
    """
    if not (data_dir / DECLARATION).is_file():
        return False
    other = _find(data_dir, TRAIN_NAMES) or _find(data_dir, TEST_NAMES)
    if other is not None:
        raise LogError(
            f"{data_dir}: holds {DECLARATION} and {other.name}; keep one of them, so that it is "
            "clear which is the log"
        )
    return True


def find_log_files(data_dir: Path | None) -> dict[Literal["train", "test"], Path]:
    """The files of the configured log.

    Raises:
        LogError: none is configured, or it is missing or ambiguous.
    """
    if data_dir is None:
        raise LogError(
            "OTTO_DATA_DIR is not set: set it to a folder with train.jsonl (and optionally "
            "test.jsonl), or use the scale demo, which needs no log"
        )
    if data_dir.is_file():
        if not data_dir.name.endswith(SUFFIXES):
            _hint_at_declaration(data_dir, [data_dir.name])
            raise LogError(f"{data_dir}: is not a log: its name must end in {_listed(SUFFIXES)}")
        return {"train": data_dir}
    if not data_dir.is_dir():
        raise LogError(f"OTTO_DATA_DIR={data_dir}: there is no such folder or file")
    train = _find(data_dir, TRAIN_NAMES)
    if train is None:
        _hint_at_declaration(data_dir, sorted(path.name for path in data_dir.iterdir()))
        others = sorted(p.name for p in data_dir.iterdir() if p.name.endswith(SUFFIXES))
        hint = f"; it holds {_listed(others)}: name one of them" if others else ""
        names = [f"{name}{suffix}" for name in TRAIN_NAMES for suffix in SUFFIXES]
        raise LogError(f"OTTO_DATA_DIR={data_dir}: holds none of {_listed(names)}{hint}")
    test = _find(data_dir, TEST_NAMES)
    return {"train": train, "test": test} if test else {"train": train}


def remembered_hash(path: Path, store_dir: Path) -> str:
    """Content hash of a log file, read once and remembered by size and time."""
    memory = store_dir / HASHES_FILE
    stat = path.stat()
    seen = [stat.st_size, stat.st_mtime_ns]
    entry = _remembered(memory).get(str(path))
    if entry is None or entry["seen"] != seen:
        entry = {"seen": seen, "hash": content_hash(path)}
        with updating(memory):
            write_json(memory, _remembered(memory) | {str(path): entry})
    return entry["hash"]


def _remembered(memory: Path) -> dict[str, dict[str, Any]]:
    return msgspec.json.decode(memory.read_bytes()) if memory.exists() else {}


def log_hashes(settings: Settings) -> dict[str, str]:
    """Content hash of each file of the configured log, by kind or name."""
    files = log_files(settings.data_dir)
    return {name: remembered_hash(path, settings.store_dir) for name, path in files.items()}


def claim_store(scale: str, settings: Settings) -> None:
    """Make the store that of this seed and, beyond the generated log, of the configured log.

    A log keeps its store when it is replaced by a newer one at its place, or moved unchanged.

    Raises:
        StoreError: the store holds another seed or log.
    """
    claim(settings.store_dir, "seed", str(settings.seed))
    if scale != "demo" and settings.data_dir is not None:
        claim(
            settings.store_dir,
            "log",
            str(settings.data_dir),
            content=" ".join(log_hashes(settings).values()),
        )


def _sources(share: float, settings: Settings) -> dict[str, str]:
    # the listing names the files' places, so a log that was moved gets a new one
    return {"share": str(share), "data_dir": str(settings.data_dir), **log_hashes(settings)}


def _write_configured(
    share: float, _inputs: Inputs, _shard: int, settings: Settings, path: Path
) -> Figures:
    if settings.data_dir is not None and is_shop_log(settings.data_dir):
        return _write_converted(settings.data_dir, share, settings, path)
    files = find_log_files(settings.data_dir)
    listing = _listing(files, share, lambda file: remembered_hash(file, settings.store_dir))
    return _write_listing(listing, path)


def _write_converted(data_dir: Path, share: float, settings: Settings, path: Path) -> Figures:
    converted = convert_shop_log(data_dir, path.parent / CONVERTED_FOLDER, settings)
    listing = msgspec.structs.replace(
        _listing({"train": converted.train}, share, content_hash),
        rows=converted.rows,
        rejected=str(converted.rejected),
    )
    return {
        **_write_listing(listing, path),
        "rows": converted.rows,
        "ignored_rows": converted.ignored,
        "rejected_rows": converted.set_aside,
    }


def _write_generated(_inputs: Inputs, _shard: int, settings: Settings, path: Path) -> Figures:
    folder = path.parent / DEMO_FOLDER
    folder.mkdir(exist_ok=True)
    generate_log(
        folder,
        sessions=settings.demo_sessions,
        test_sessions=int(settings.demo_sessions * DEMO_TEST_SHARE),
        items=int(settings.demo_sessions * DEMO_ITEM_SHARE),
        seed=settings.seed,
        threads=settings.threads,
    )
    files = find_log_files(folder)
    return _write_listing(_listing(files, SHARES["demo"], content_hash), path)


def _listing(
    files: dict[Literal["train", "test"], Path], share: float, hash_of: Callable[[Path], str]
) -> RawLog:
    for file in files.values():
        if file.stat().st_size == 0:
            raise LogError(f"{file}: is empty")
    session_ids, item_ids = peek_id_types(files["train"])
    return RawLog(
        files=[
            LogFile(str(file), kind, file.stat().st_size, hash_of(file))
            for kind, file in files.items()
        ],
        session_ids=session_ids,
        item_ids=item_ids,
        share=share,
    )


def _write_listing(listing: RawLog, path: Path) -> Figures:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(listing), indent=1))
    return {"bytes": sum(file.bytes for file in listing.files), "files": len(listing.files)}


def _hint_at_declaration(data_dir: Path, names: list[str]) -> None:
    tables = [name for name in names if name.endswith(TABLE_SUFFIXES)]
    if tables:
        raise LogError(
            f"{data_dir}: {_listed(tables)} can be read as a shop's log once a {DECLARATION} "
            f"beside it says what its columns mean; `otto validate {data_dir}` proposes one"
        )


def _find(folder: Path, names: tuple[str, ...]) -> Path | None:
    found = [
        folder / f"{name}{suffix}"
        for name in names
        for suffix in SUFFIXES
        if (folder / f"{name}{suffix}").is_file()
    ]
    if len(found) > 1:
        raise LogError(
            f"{folder}: holds {_listed([path.name for path in found])}; keep one of them, so that "
            "it is clear which is the log"
        )
    return found[0] if found else None


def _listed(names: list[str] | tuple[str, ...]) -> str:
    return ", ".join(names)
