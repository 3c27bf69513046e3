import pickle
import signal
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from otto_pipeline.orchestration.assets import ARTIFACTS
from otto_pipeline.settings import SCALES, Settings
from otto_pipeline.store.build import Built, build
from otto_pipeline.store.dataset import MANIFEST, Dataset
from otto_pipeline.store.errors import StoreError
from otto_pipeline.store.stage import Inputs, Stage
from otto_pipeline.store.unfinished import BUILDING, RECEIPT
from otto_pipeline_tests.building import dataset_of
from otto_pipeline_tests.store.numbers import TOTAL, Numbers, PowerCutError, contents

REPOSITORY = Path(__file__).parents[2]


def interrupted(root: Path, shard: int = 2, **given: object) -> Numbers:
    """A build that failed in the middle of a shard."""
    numbers = Numbers(root, fails_in=shard, **given)  # type: ignore[arg-type]
    with pytest.raises(PowerCutError):
        numbers.build()
    return numbers


def values(dataset: Dataset) -> list[int]:
    return dataset.read("number")["number"].to_list()


def test_dataset_holds_its_shards_in_order_with_their_figures(tmp_path: Path) -> None:
    built = Numbers(tmp_path).build()
    assert values(built.dataset) == list(range(TOTAL))
    assert (built.written, built.reused) == (4, False)
    assert built.dataset.manifest.rows == TOTAL
    assert built.dataset.manifest.columns == {"number": "Int64"}
    assert [built.dataset.figures(shard)["first"] for shard in range(4)] == [0, 3, 6, 9]
    assert built.dataset.total("first") == 18
    assert built.dataset.read_shard(1)["number"].to_list() == [3, 4, 5]


def test_complete_dataset_is_reused_and_no_file_is_touched(tmp_path: Path) -> None:
    first = Numbers(tmp_path).build()
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    again = Numbers(tmp_path)
    built = again.build()
    assert built.reused
    assert again.written == []
    assert built.dataset.manifest == first.dataset.manifest
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == times


def test_nothing_but_shards_and_manifest_is_left(tmp_path: Path) -> None:
    interrupted(tmp_path)
    folder = Numbers(tmp_path).build().dataset.folder
    shards = {f"part-{shard:05d}.parquet" for shard in range(4)}
    assert {path.name for path in folder.iterdir()} == {MANIFEST, *shards}


def test_interrupted_build_writes_only_what_is_missing(tmp_path: Path) -> None:
    assert interrupted(tmp_path / "cut").written == [0, 1, 2]
    rest = Numbers(tmp_path / "cut")
    built = rest.build()
    assert (rest.written, built.written) == ([2, 3], 2)
    assert rest.messages == ["numbers: continues, 2 of 4 shards are there"]
    whole = Numbers(tmp_path / "whole").build().dataset
    assert contents(built.dataset.folder) == contents(whole.folder)
    assert built.dataset.layout == whole.layout
    assert built.dataset.fingerprint == whole.fingerprint


def test_build_that_fails_again_and_again_gets_through(tmp_path: Path) -> None:
    for shard in (1, 2, 3):
        assert interrupted(tmp_path, shard).written == list(range(max(0, shard - 1), shard + 1))
    assert values(Numbers(tmp_path).build().dataset) == list(range(TOTAL))


def test_interrupted_dataset_is_not_taken_for_whole(tmp_path: Path) -> None:
    folder = interrupted(tmp_path).folder
    with pytest.raises(StoreError, match="not complete; materialize it first") as error:
        Dataset(folder).read()
    assert str(folder) in str(error.value)
    with pytest.raises(StoreError, match="materialize it first"):
        Dataset(tmp_path / "never made").read()


def test_manifest_of_another_format_is_not_taken_for_whole(tmp_path: Path) -> None:
    folder = Numbers(tmp_path).build().dataset.folder
    manifest = folder / MANIFEST
    manifest.write_text(manifest.read_text().replace('"format_version": 1', '"format_version": 0'))
    with pytest.raises(StoreError, match="not complete"):
        Dataset(folder).read()
    again = Numbers(tmp_path)
    again.build()
    assert again.written == [0, 1, 2, 3]


def changes(root: Path) -> dict[str, dict[str, object]]:
    """Each way in which a result can become another, as what is given to `Numbers`."""
    return {
        "setting": {"settings": Settings(items_per_shard=3, seed=1)},
        "version": {"version": "2"},
        "input": {"inputs": {"other": dataset_of(root / "other", pl.DataFrame({"a": [1]}))}},
    }


@pytest.mark.parametrize("name", ["setting", "version", "input"])
@pytest.mark.parametrize("complete", [True, False])
def test_changed_build_starts_afresh_and_mixes_nothing(
    tmp_path: Path, name: str, complete: bool
) -> None:
    if complete:
        old = Numbers(tmp_path).build().dataset.fingerprint
    else:
        old = None
        interrupted(tmp_path)
    changed = Numbers(tmp_path, **changes(tmp_path)[name])  # type: ignore[arg-type]
    built = changed.build()
    assert changed.written == [0, 1, 2, 3]
    fresh = Numbers(tmp_path / "fresh", **changes(tmp_path)[name]).build()  # type: ignore[arg-type]
    assert contents(built.dataset.folder) == contents(fresh.dataset.folder)
    assert built.dataset.fingerprint == fresh.dataset.fingerprint != old


def test_input_with_the_same_name_and_other_content_starts_afresh(tmp_path: Path) -> None:
    one = dataset_of(tmp_path / "input", pl.DataFrame({"a": [1]}))
    assert one.fingerprint  # read before the folder holds something else
    Numbers(tmp_path, inputs={"input": one}).build()
    other = dataset_of(tmp_path / "input", pl.DataFrame({"a": [2]}))
    changed = Numbers(tmp_path, inputs={"input": other})
    changed.build()
    assert changed.written == [0, 1, 2, 3]


def test_setting_that_the_stage_does_not_read_changes_nothing(tmp_path: Path) -> None:
    Numbers(tmp_path).build()
    other = Numbers(tmp_path, settings=Settings(items_per_shard=3, seed=0, folds=3))
    assert other.build().reused


def test_layout_alone_does_not_rebuild_what_is_complete(tmp_path: Path) -> None:
    Numbers(tmp_path).build()
    assert Numbers(tmp_path, settings=Settings(items_per_shard=6, seed=0)).build().reused


@pytest.mark.parametrize(("size", "other", "shards"), [(3, 2, 6), (3, 6, 2), (8, 9, 2)])
def test_shards_of_another_layout_are_not_mixed_in(
    tmp_path: Path, size: int, other: int, shards: int
) -> None:
    interrupted(tmp_path, 1, settings=Settings(items_per_shard=size, seed=0))
    numbers = Numbers(tmp_path, settings=Settings(items_per_shard=other, seed=0))
    built = numbers.build()
    assert numbers.written == list(range(shards))
    assert values(built.dataset) == list(range(TOTAL))
    assert len(contents(built.dataset.folder)) == shards


def test_going_back_to_the_first_setting_does_not_find_the_second_ones_shards(
    tmp_path: Path,
) -> None:
    interrupted(tmp_path)
    interrupted(tmp_path, settings=Settings(items_per_shard=3, seed=1))
    back = Numbers(tmp_path)
    assert values(back.build().dataset) == list(range(TOTAL))
    assert back.written == [0, 1, 2, 3]


def delete(path: Path) -> None:
    path.unlink()


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


@pytest.mark.parametrize("harm", [delete, cut_short])
def test_harmed_shard_of_a_complete_dataset_is_noticed_and_made_again(tmp_path: Path, harm) -> None:
    folder = Numbers(tmp_path).build().dataset.folder
    before = contents(folder)
    harm(folder / "part-00002.parquet")
    again = Numbers(tmp_path)
    assert not again.build().reused
    assert 2 in again.written
    assert contents(folder) == before


@pytest.mark.parametrize("harm", [delete, cut_short])
def test_harmed_shard_of_an_interrupted_build_is_made_again(tmp_path: Path, harm) -> None:
    harm(interrupted(tmp_path, 3).folder / "part-00001.parquet")
    rest = Numbers(tmp_path)
    assert values(rest.build().dataset) == list(range(TOTAL))
    assert rest.written == [1, 3]


def test_build_killed_after_its_manifest_is_whole_and_is_continued_when_harmed(
    tmp_path: Path,
) -> None:
    folder = interrupted(tmp_path, 3).folder
    left = {path: path.read_bytes() for path in folder.glob("*.json")}
    Numbers(tmp_path).build()
    for path, content in left.items():  # as if nobody had cleaned up
        path.write_bytes(content)
    assert Numbers(tmp_path).build().reused
    cut_short(folder / "part-00001.parquet")
    rest = Numbers(tmp_path)
    assert rest.build().dataset.manifest.beside == {}
    assert rest.written == [1, 3]
    assert Numbers(tmp_path).build().reused


def test_shard_without_receipt_is_made_again(tmp_path: Path) -> None:
    folder = interrupted(tmp_path).folder
    (folder / f"part-00001.parquet{RECEIPT}").unlink()
    rest = Numbers(tmp_path)
    rest.build()
    assert rest.written == [1, 2, 3]


def test_leftover_of_a_half_written_file_is_never_read_and_removed(tmp_path: Path) -> None:
    folder = interrupted(tmp_path).folder
    for shard in range(4):
        (folder / f"part-{shard:05d}.parquet.123.tmp").write_bytes(b"half a file")
    (folder / f"{MANIFEST}.123.tmp").write_bytes(b'{"half')
    rest = Numbers(tmp_path)
    dataset = rest.build().dataset
    assert rest.written == [2, 3]
    assert values(dataset) == list(range(TOTAL))
    assert {path.suffix for path in folder.iterdir()} == {".parquet", ".json"}


def test_manifest_is_written_last(tmp_path: Path) -> None:
    folder = interrupted(tmp_path, 3).folder
    assert (folder / BUILDING).exists()
    assert not (folder / MANIFEST).exists()


KILLED = """
import os, signal, sys
from pathlib import Path
from otto_pipeline.settings import Settings
from otto_pipeline_tests.store.numbers import Numbers

def die():
    os.kill(os.getpid(), signal.SIGKILL)

root, shard = Path(sys.argv[1]), int(sys.argv[2])
settings = Settings(items_per_shard=2, seed=0)
numbers = Numbers(root, fails_in=shard, fail=die, settings=settings)
numbers.build()
print(numbers.written)
"""


def run_killed(root: Path, shard: int) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", KILLED, str(root), str(shard)]
    return subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, check=False)


def test_process_killed_in_the_middle_of_a_shard_is_continued_by_the_next(tmp_path: Path) -> None:
    died = run_killed(tmp_path / "cut", 3)
    assert died.returncode == -signal.SIGKILL, died.stderr
    folder = tmp_path / "cut" / "numbers"
    assert list(folder.glob("part-00003.parquet.*.tmp"))  # nobody could clean up
    assert (tmp_path / "cut" / ".writer").exists()
    second = run_killed(tmp_path / "cut", -1)
    assert second.stdout.strip() == "[3, 4, 5]", second.stderr
    whole = Numbers(tmp_path / "whole", settings=Settings(items_per_shard=2, seed=0)).build()
    assert contents(folder) == contents(whole.dataset.folder)
    assert values(Dataset(folder)) == list(range(TOTAL))


def write_with_pictures(
    _inputs: Inputs, shard: int, _settings: Settings, path: Path
) -> dict[str, int]:
    pl.DataFrame({"number": [shard]}).write_parquet(path)
    pictures = path.with_name("pictures")
    pictures.mkdir(exist_ok=True)
    (pictures / f"{shard}.png").write_bytes(b"a picture")
    return {}


@pytest.mark.parametrize("harm", [delete, cut_short])
def test_harmed_file_beside_the_shards_is_noticed_and_made_again(tmp_path: Path, harm) -> None:
    stage = Stage(write_with_pictures, shards=lambda _inputs, _settings: 2)

    def made() -> Built:
        return build(tmp_path, "drawn", stage, {}, Settings(), lambda _line: None)

    first = made()
    assert first.dataset.manifest.beside == {"pictures/0.png": 9, "pictures/1.png": 9}
    assert made().reused
    picture = tmp_path / "drawn/pictures/1.png"
    harm(picture)
    again = made()
    assert not again.reused
    assert picture.read_bytes() == b"a picture"
    assert again.dataset.manifest.beside == first.dataset.manifest.beside
    assert made().reused


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("artifact", ARTIFACTS, ids=lambda artifact: artifact.path)
def test_shard_functions_can_be_sent_to_another_process(artifact, scale: str) -> None:
    write = artifact.stage_for(scale).write
    assert pickle.dumps(pickle.loads(pickle.dumps(write))) == pickle.dumps(write)
