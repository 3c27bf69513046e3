"""A stage: how one artifact is made, as pure functions of shards; and its fingerprint."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from otto_pipeline.settings import Settings
from otto_pipeline.store.dataset import Dataset, Figures
from otto_pipeline.store.files import text_hash

Inputs = Mapping[str, Dataset]
"""The datasets that a stage reads, by the name under which it knows them."""

WriteTogether = Callable[[Inputs, int, Settings, Mapping[str, Path]], Mapping[str, Figures]]
"""Writes one shard of several artifacts in one go: (inputs, shard, settings, path by name) →
figures by name. A name is the last part of an artifact's path."""


def one_shard(_inputs: Inputs, _settings: Settings) -> int:
    """Shard count of a stage that is not cut."""
    return 1


@dataclass(frozen=True)
class Stage:
    """How an artifact is made.

    `write(inputs, shard, settings, path)` writes shard number `shard` to `path` and returns its
    figures; it is module-level, idempotent, and reads nothing but its inputs and the settings
    named here. `settings` decide the result and enter the fingerprint; `layout` only decide how
    it is cut into shards. `file` names the shards' files. `version` is raised by hand when the
    code changes the result. `sources` are content hashes of what is read from outside the store.
    """

    write: Callable[[Inputs, int, Settings, Path], Figures]
    version: str = "1"
    shards: Callable[[Inputs, Settings], int] = one_shard
    settings: tuple[str, ...] = ()
    layout: tuple[str, ...] = ()
    file: str = "part-{shard:05d}.parquet"
    sources: Callable[[Settings], dict[str, str]] = lambda _settings: {}

    @property
    def is_parquet(self) -> bool:
        """Whether its shards are tables."""
        return self.file.endswith(".parquet")

    def values(self, settings: Settings) -> dict[str, Any]:
        """The settings that decide the result."""
        return settings.model_dump(mode="json", include=set(self.settings))

    def code_version(self, settings: Settings) -> str:
        """Stage version and settings, as Dagster's `code_version`."""
        return f"{self.version}-{text_hash(_canonical(self.values(settings)))[:8]}"

    def fingerprint(self, artifact: str, inputs: Inputs, settings: Settings) -> str:
        """Identity of the result: stage version, settings read, sources, inputs."""
        return text_hash(
            _canonical(
                {
                    "artifact": artifact,
                    "version": self.version,
                    "settings": self.values(settings),
                    "sources": self.sources(settings),
                    "inputs": {name: data.fingerprint for name, data in inputs.items()},
                }
            )
        )

    def stamp(self, fingerprint: str, inputs: Inputs, settings: Settings) -> dict[str, Any]:
        """What shards of one build share: two shards with different stamps never mix."""
        return {
            "fingerprint": fingerprint,
            "shards": self.shards(inputs, settings),
            "layout": settings.model_dump(mode="json", include=set(self.layout)),
            "inputs": {name: data.layout for name, data in sorted(inputs.items())},
        }


def _canonical(value: object) -> str:
    return msgspec.json.encode(value, order="sorted").decode()
