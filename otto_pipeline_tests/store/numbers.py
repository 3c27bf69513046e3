"""A stage whose shards are consecutive numbers, that can be made to fail in the middle of one."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from otto_pipeline.settings import Settings
from otto_pipeline.store.build import Built, build
from otto_pipeline.store.dataset import Figures
from otto_pipeline.store.stage import Inputs, Stage

TOTAL = 12


class PowerCutError(Exception):
    pass


def cut_power() -> None:
    raise PowerCutError


@dataclass
class Numbers:
    """Builds `root/numbers`: 0 … 11 in `items_per_shard` a shard, times 10 to the seed.

    `written` are the shards that it began to write; in shard `fails_in` it writes half a file
    and then fails.
    """

    root: Path
    fails_in: int | None = None
    fail: Callable[[], None] = cut_power
    version: str = "1"
    inputs: Inputs = field(default_factory=dict)
    settings: Settings = field(default_factory=lambda: Settings(items_per_shard=3, seed=0))
    written: list[int] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        return self.root / "numbers"

    def build(self) -> Built:
        stage = Stage(
            write=self._write,
            version=self.version,
            shards=lambda _inputs, settings: math.ceil(TOTAL / settings.items_per_shard),
            settings=("seed",),
            layout=("items_per_shard",),
        )
        return build(
            self.root, "numbers", stage, self.inputs, self.settings, log=self.messages.append
        )

    def _write(self, _inputs: Inputs, shard: int, settings: Settings, path: Path) -> Figures:
        self.written.append(shard)
        if shard == self.fails_in:
            path.write_bytes(b"PAR1 and no more")
            self.fail()
        size = settings.items_per_shard
        numbers = pl.Series("number", range(shard * size, min((shard + 1) * size, TOTAL)))
        (numbers * 10**settings.seed).to_frame().write_parquet(path)
        return {"first": shard * size}


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of every shard's file, by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".json"}
