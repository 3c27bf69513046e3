"""What a store belongs to: one log and one seed."""

from pathlib import Path

import msgspec

from otto_pipeline.store.dataset import write_json
from otto_pipeline.store.errors import StoreError
from otto_pipeline.store.lock import updating

IDENTITY = "store.json"


def claim(root: Path, name: str, value: str, content: str = "") -> None:
    """Note that the store belongs to `value`, or make sure that it does.

    A different value with the same content is the same thing moved, and taken over.

    Raises:
        StoreError: it belongs to something else.
    """
    path = root / IDENTITY
    if _known(path).get(name) == [value, content]:
        return
    with updating(path):
        known = _known(path)
        owner, owned = known.get(name, [value, content])
        if owner != value and (not content or owned != content):
            raise StoreError(
                f"{root}: holds the artifacts of {name} {owner}, not of {name} {value}; set "
                "OTTO_STORE_DIR to another folder, or remove this one"
            )
        write_json(path, known | {name: [value, content]})


def _known(path: Path) -> dict[str, list[str]]:
    return msgspec.json.decode(path.read_bytes()) if path.exists() else {}
