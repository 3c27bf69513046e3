"""Which content has passed which check: a mark beside the dataset."""

import msgspec

from otto_pipeline.store.dataset import Dataset, write_json
from otto_pipeline.store.files import text_hash

MARK = "checked.json"


def passed_before(dataset: Dataset, contract: str) -> bool:
    """Whether exactly this content has passed a check against exactly this contract."""
    path = dataset.folder / MARK
    return path.exists() and msgspec.json.decode(path.read_bytes()) == _mark(dataset, contract)


def remember_passed(dataset: Dataset, contract: str) -> None:
    """Note that the content passed."""
    write_json(dataset.folder / MARK, _mark(dataset, contract))


def _mark(dataset: Dataset, contract: str) -> dict[str, str]:
    return {"content": dataset.layout, "contract": text_hash(contract)}
