"""Several datasets made in one pass: each is reused, continued and made by itself."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
import pytest

from otto_pipeline.settings import Settings
from otto_pipeline.store.build import Built, build, build_together
from otto_pipeline.store.dataset import MANIFEST, Dataset, Figures
from otto_pipeline.store.errors import StoreError
from otto_pipeline.store.stage import Inputs, Stage
from otto_pipeline_tests.store.numbers import PowerCutError, contents

SHARDS = 3
FACTORS = {"ones": 1, "tens": 10, "hundreds": 100}


def write_one(factor: int, shard: int, path: Path) -> Figures:
    pl.DataFrame({"number": [factor * shard]}).write_parquet(path)
    return {"factor": factor}


def stage(name: str, version: str = "1") -> Stage:
    """The stage that makes a dataset by itself."""
    factor = FACTORS[name]
    return Stage(
        write=lambda _inputs, shard, _settings, path: write_one(factor, shard, path),
        version=version,
        shards=lambda _inputs, _settings: SHARDS,
    )


@dataclass
class Pass:
    """Builds `root/lane/NAME` for some names in one pass.

    `written` says of each shard for whom it was written, which takes `seconds`. In shard
    `fails_in` it writes the first one's file, half a file of the second, and then fails.
    """

    root: Path
    fails_in: int | None = None
    seconds: float = 0.0
    versions: dict[str, str] = field(default_factory=dict)
    written: list[tuple[int, set[str]]] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)

    def build(self, *names: str) -> dict[str, Built]:
        stages = {f"lane/{name}": stage(name, self.versions.get(name, "1")) for name in names}
        log = self.messages.append
        built = build_together(self.root, stages, self._write, {}, Settings(), log)
        return {artifact.removeprefix("lane/"): one for artifact, one in built.items()}

    def _write(
        self, _inputs: Inputs, shard: int, _settings: Settings, paths: Mapping[str, Path]
    ) -> dict[str, Figures]:
        self.written.append((shard, set(paths)))
        time.sleep(self.seconds)
        figures = {}
        for number, (name, path) in enumerate(paths.items()):
            if shard == self.fails_in and number == 1:
                path.write_bytes(b"PAR1 and no more")
                raise PowerCutError
            figures[name] = write_one(FACTORS[name], shard, path)
        return figures


def interrupted(root: Path, shard: int, *names: str) -> None:
    with pytest.raises(PowerCutError):
        Pass(root, fails_in=shard).build(*names)


def numbers(built: Built) -> list[int]:
    return built.dataset.read("number")["number"].to_list()


def test_each_dataset_is_what_its_stage_makes_by_itself(tmp_path: Path) -> None:
    together = Pass(tmp_path / "together")
    built = together.build(*FACTORS)
    assert together.written == [(shard, set(FACTORS)) for shard in range(SHARDS)]
    for name, factor in FACTORS.items():
        assert numbers(built[name]) == [0, factor, 2 * factor]
        assert (built[name].written, built[name].reused) == (SHARDS, False)
        artifact = f"lane/{name}"
        alone = build(tmp_path / "alone", artifact, stage(name), {}, Settings(), lambda _line: None)
        assert contents(alone.dataset.folder) == contents(built[name].dataset.folder)
        assert alone.dataset.fingerprint == built[name].dataset.fingerprint
        assert alone.dataset.layout == built[name].dataset.layout
        assert alone.dataset.figures() == built[name].dataset.figures()


def test_dataset_made_by_itself_is_reused_and_the_other_way_round(tmp_path: Path) -> None:
    build(tmp_path, "lane/tens", stage("tens"), {}, Settings(), lambda _line: None)
    rest = Pass(tmp_path)
    built = rest.build(*FACTORS)
    assert rest.written == [(shard, {"ones", "hundreds"}) for shard in range(SHARDS)]
    assert [name for name, one in built.items() if one.reused] == ["tens"]
    again = build(tmp_path, "lane/ones", stage("ones"), {}, Settings(), lambda _line: None)
    assert again.reused


def test_second_pass_writes_nothing(tmp_path: Path) -> None:
    Pass(tmp_path).build(*FACTORS)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    again = Pass(tmp_path)
    assert all(one.reused for one in again.build(*FACTORS).values())
    assert again.written == []
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == times


def test_added_and_changed_ones_alone_are_made(tmp_path: Path) -> None:
    Pass(tmp_path).build("ones", "tens")
    later = Pass(tmp_path, versions={"ones": "2"})
    built = later.build(*FACTORS)
    assert later.written == [(shard, {"ones", "hundreds"}) for shard in range(SHARDS)]
    assert built["tens"].reused
    assert not built["ones"].reused


def test_subset_leaves_the_others_as_they_are(tmp_path: Path) -> None:
    Pass(tmp_path).build(*FACTORS)
    before = contents(tmp_path / "lane/ones")
    subset = Pass(tmp_path, versions={"tens": "2"})
    assert list(subset.build("tens")) == ["tens"]
    assert subset.written == [(shard, {"tens"}) for shard in range(SHARDS)]
    assert contents(tmp_path / "lane/ones") == before


def test_interrupted_pass_is_continued_and_nothing_half_written_is_kept(tmp_path: Path) -> None:
    interrupted(tmp_path, 1, *FACTORS)
    for name in FACTORS:
        with pytest.raises(StoreError, match="not complete"):
            Dataset(tmp_path / "lane" / name).read()
    rest = Pass(tmp_path)
    built = rest.build(*FACTORS)
    assert rest.written == [(1, set(FACTORS)), (2, set(FACTORS))]
    assert rest.messages == [f"lane/{name}: continues, 1 of 3 shards are there" for name in FACTORS]
    for name, factor in FACTORS.items():
        assert numbers(built[name]) == [0, factor, 2 * factor]
        shards = {f"part-{shard:05d}.parquet" for shard in range(SHARDS)}
        assert {path.name for path in built[name].dataset.folder.iterdir()} == {MANIFEST, *shards}


def test_each_shard_is_written_for_exactly_those_that_lack_it(tmp_path: Path) -> None:
    interrupted(tmp_path, 1, "ones", "tens")
    interrupted(tmp_path, 2, "tens", "hundreds")
    rest = Pass(tmp_path)
    rest.build(*FACTORS)
    assert rest.written == [(1, {"ones"}), (2, set(FACTORS))]


def test_one_that_was_finished_by_itself_takes_no_part_in_the_rest(tmp_path: Path) -> None:
    interrupted(tmp_path, 2, "ones", "tens")
    Pass(tmp_path).build("ones")
    rest = Pass(tmp_path)
    built = rest.build("ones", "tens")
    assert rest.written == [(2, {"tens"})]
    assert (built["tens"].written, built["tens"].reused) == (1, False)


def test_time_of_a_pass_is_shared_out(tmp_path: Path) -> None:
    began = time.monotonic()
    built = Pass(tmp_path, seconds=0.1).build("ones", "tens")
    elapsed = time.monotonic() - began
    seconds = [
        [receipt.seconds for receipt in one.dataset.manifest.shards] for one in built.values()
    ]
    assert seconds[0] == seconds[1]
    assert min(seconds[0]) >= 0.05
    assert sum(map(sum, seconds)) < elapsed
