"""What a store belongs to: one log and one seed."""

from pathlib import Path

import msgspec

from otto_pipeline.store.dataset import write_json
from otto_pipeline.store.errors import StoreError

IDENTITY = "store.json"


def claim(root: Path, name: str, value: str, content: str = "") -> None:
    """Note that the store belongs to `value`, or make sure that it does.

    A different value with the same content is the same thing moved, and taken over.

    Raises:
        StoreError: it belongs to something else.
    """
    path = root / IDENTITY
    known: dict[str, list[str]] = msgspec.json.decode(path.read_bytes()) if path.exists() else {}
    owner = known.get(name)
    if owner == [value, content]:
        return
    if owner is not None and owner[0] != value and (not content or owner[1] != content):
        raise StoreError(
            f"{root}: holds the artifacts of {name} {owner[0]}, not of {name} {value}; set "
            "OTTO_STORE_DIR to another folder, or remove this one"
        )
    write_json(path, known | {name: [value, content]})
