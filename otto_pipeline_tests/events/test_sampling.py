from pathlib import Path

import pytest

from otto_pipeline.events.errors import LogError
from otto_pipeline_tests.building import (
    Artifacts,
    build_log,
    build_until,
    decoded,
    log_line,
    set_aside,
    write_log,
)


@pytest.fixture(scope="module")
def scales(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifacts]:
    """A log of 3000 sessions at every scale; the last event is in a session no sample has."""
    folder = tmp_path_factory.mktemp("scales")
    lines = [log_line(i, [(i % 50, 1000 + i, "clicks")]) for i in range(3000)]
    write_log(folder / "data", {"train.jsonl": lines[:2500], "test.jsonl": lines[2500:]})
    return {
        scale: build_until("log/events", folder / "store", folder / "data", scale)
        for scale in ("pct1", "pct10", "full")
    } | {"other seed": build_until("log/events", folder / "7", folder / "data", "pct10", seed=7)}


def sampled(made: Artifacts) -> list[int]:
    return made["log/sessions"].read()["session_id"].to_list()


def test_samples_lie_within_each_other(scales: dict[str, Artifacts]) -> None:
    assert sampled(scales["full"]) == list(range(3000))
    assert set(sampled(scales["pct1"])) < set(sampled(scales["pct10"]))


def test_samples_are_about_as_large_as_they_say(scales: dict[str, Artifacts]) -> None:
    assert 12 <= len(sampled(scales["pct1"])) <= 55  # 30 expected, deviation 5
    assert 225 <= len(sampled(scales["pct10"])) <= 375  # 300 expected, deviation 16


def test_sample_keeps_order_and_events(scales: dict[str, Artifacts]) -> None:
    ids = sampled(scales["pct10"])
    assert ids == sorted(ids)
    assert decoded(scales["pct10"]) == [(i, i % 50, 1000 + i, "clicks") for i in ids]
    assert scales["pct10"]["log/sessions"].read()["session"].to_list() == list(range(len(ids)))


def test_other_seed_takes_another_sample(scales: dict[str, Artifacts]) -> None:
    ours, other = set(sampled(scales["pct10"])), set(sampled(scales["other seed"]))
    assert 225 <= len(other) <= 375
    assert len(ours & other) < 70  # 30 expected of independent samples


def test_last_moment_is_that_of_the_whole_log_at_every_scale(scales: dict[str, Artifacts]) -> None:
    for scale in ("pct1", "pct10", "full"):
        parsed = scales[scale]["log/parsed"]
        assert [parsed.figures(shard)["last_ts"] for shard in range(2)] == [3499, 3999]
        assert parsed.total("lines") == 3000
    assert 2999 not in sampled(scales["pct10"])


def test_sample_keeps_every_malformed_line(tmp_path: Path) -> None:
    lines = [log_line(i, [(i, i, "clicks")]) for i in range(300)]
    lines[100:100] = ["oops"] * 3
    made = build_log(tmp_path, lines, scale="pct10", max_quarantined_share=0.01)
    assert set_aside(made) == [("train.jsonl", line) for line in (101, 102, 103)]
    assert made["log/quarantine"].figures()["share"] == 3 / 303
    assert len(sampled(made)) == made["log/parsed"].total("sessions")


def test_sample_of_string_ids(tmp_path: Path) -> None:
    lines = [log_line(f"s{i}", [("a", i, "clicks")]) for i in range(500)]
    made = build_log(tmp_path, lines, scale="pct10")
    assert 20 <= len(sampled(made)) <= 85


def test_sample_without_any_session_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LogError, match="1% of its 2 lines holds no session; use a larger scale"):
        build_log(tmp_path, [log_line(i, [(1, i, "clicks")]) for i in range(2)], scale="pct1")
