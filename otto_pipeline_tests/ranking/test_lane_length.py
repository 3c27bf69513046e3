"""No feature differs in distribution only because one lane's log is longer than the other's."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from otto_pipeline.events.generator.shop import DAY_MS, START_MS
from otto_pipeline.features.feature import amount
from otto_pipeline.features.table import FEATURES
from otto_pipeline.ranking.drift import LARGE_DRIFT, NOTEWORTHY_DRIFT, drift, lane_drift
from otto_pipeline.schemas import TYPES
from otto_pipeline.store.dataset import Dataset
from otto_pipeline_tests.building import log_line, write_log
from otto_pipeline_tests.pipeline import build_until

Event = tuple[int, int, str]
LANES = ("validation", "submission")
TRAIN_DAYS, DAYS = 21, 28
"""The submission lane sees 28 days, the validation lane 21, each with a week of cut sessions."""
SESSIONS_A_DAY, ITEMS, TOPIC = 250, 500, 50
"""Items lie in a circle, and a session's so many items or less from its topic, most of them."""
REVISITED = 0.3


def stationary_sessions(rng: np.random.Generator) -> Iterator[tuple[int, list[Event]]]:
    """Day and events of sessions of which all are alike: any day has the same items, and the same
    sessions but for chance.
    """
    popularity = rng.lognormal(0, 0.4, ITEMS)
    for number in range(DAYS * SESSIONS_A_DAY):
        day, topic = number // SESSIONS_A_DAY, rng.integers(0, ITEMS)
        distance = np.abs((np.arange(ITEMS) - topic + ITEMS // 2) % ITEMS - ITEMS // 2)
        weight = popularity * np.exp(-((distance / TOPIC) ** 2))
        size = 2 + rng.geometric(0.2)
        aids = rng.choice(ITEMS, size, p=weight / weight.sum())
        earlier = (rng.random(size) * np.arange(size)).astype(int)
        aids = np.where(rng.random(size) < REVISITED, aids[earlier], aids)
        kinds = rng.choice(TYPES, size, p=(0.8, 0.12, 0.08))
        seconds = rng.integers(0, 82_800) + np.cumsum(rng.integers(1, 120, size))
        times = START_MS + day * DAY_MS + 1000 * seconds
        yield day, list(zip(aids.tolist(), times.tolist(), kinds.tolist(), strict=True))


@pytest.fixture(scope="module")
def lanes(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Dataset]]:
    """Popularity and features of both lanes of a stationary log."""
    folder: Path = tmp_path_factory.mktemp("stationary")
    rng = np.random.default_rng(0)
    files: dict[str, list[str]] = {"train.jsonl": [], "test.jsonl": []}
    for number, (day, events) in enumerate(stationary_sessions(rng)):
        if day < TRAIN_DAYS:
            files["train.jsonl"].append(log_line(number, events))
        else:
            visible = events[: rng.integers(1, len(events))]
            files["test.jsonl"].append(log_line(number, visible))
    log = write_log(folder / "log", files)
    return [
        {name: made[f"{lane}/{name}"] for name in ("popularity", "features")}
        for lane in LANES
        for made in [build_until(f"{lane}/features", folder / "store", log)]
    ]


def test_no_feature_drifts_with_the_length_of_the_lane(lanes: list[dict[str, Dataset]]) -> None:
    found = lane_drift(*(lane["features"] for lane in lanes), seed=0)
    assert sorted(found["feature"]) == sorted(feature.name for feature in FEATURES)
    assert found.filter(pl.col("psi") >= NOTEWORTHY_DRIFT / 2).rows() == []


def test_counts_over_the_whole_log_would_drift(lanes: list[dict[str, Dataset]]) -> None:
    count = amount("item_events", "Events of the item in the whole log.", pl.col("events"))
    tables = [
        lane["popularity"].read("aid", "events").select("aid", count.of_rows(), session="aid")
        for lane in lanes
    ]
    assert drift([count], *tables)["psi"].item() > LARGE_DRIFT
