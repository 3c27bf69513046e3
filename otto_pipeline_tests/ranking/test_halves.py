"""What rankers learn from cut sessions does not know how these went on."""

import json
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from otto_pipeline.events.generate import generate_log
from otto_pipeline.events.halves import HALVES
from otto_pipeline.events.split import DAY_MS
from otto_pipeline.features.table import FEATURE_NAMES
from otto_pipeline.orchestration.artifact import Artifact
from otto_pipeline.orchestration.assets import ARTIFACTS
from otto_pipeline.schemas import EVENTS
from otto_pipeline.settings import Settings
from otto_pipeline.store.dataset import Dataset, Figures
from otto_pipeline.store.stage import Inputs, Stage
from otto_pipeline_tests import pipeline
from otto_pipeline_tests.building import log_line, write_log
from otto_pipeline_tests.pipeline import build_until

TRAINED, VALIDATED = 300, 24
SHOP_ITEMS = 30
"""The first dense items are those of the shop."""
OWN_ITEMS = 1000
"""Items from this on are in one training session: even ones seen, the next ordered."""
SETTINGS = {"max_candidates": 40, "validation_days": 7, "threads": 2}


def betraying_log(folder: Path) -> Path:
    """A log in which a session's own events say what it orders, and no other's do.

    A session clicks an item of the shop and an item of its own, once to three times. Five in six
    training sessions then order another item of their own, which is beside the first in that
    session alone; the others, and all that are validated, order the item of the shop. Behind them
    are sessions of one event, which no lane sees.
    """
    lines = []
    for session in range(2 * TRAINED + VALIDATED):
        of_shop, own = session % SHOP_ITEMS, OWN_ITEMS + 2 * session
        ordered = of_shop if session % 6 == 0 else own + 1
        start = session * DAY_MS // 15
        if session >= TRAINED:
            start, own = 25 * DAY_MS + session * DAY_MS // 200, own - 2 * VALIDATED
            ordered = of_shop
        clicks = [(aid, "clicks") for _ in range(1 + session % 7 % 3) for aid in (of_shop, own)]
        events = [
            (aid, start + i, kind) for i, (aid, kind) in enumerate([*clicks, (ordered, "orders")])
        ]
        lines.append(log_line(session, events[: 1 if session >= TRAINED + VALIDATED else None]))
    return write_log(folder, {"train.jsonl": lines})


def leaky(artifact: Artifact) -> Artifact:
    """The events of a half with its cut sessions whole among them, under numbers that are free."""
    honest = artifact.stage
    assert isinstance(honest, Stage)
    half = artifact.path.removeprefix("half_").removesuffix("/events")

    def write(inputs: Inputs, shard: int, settings: Settings, path: Path) -> Figures:
        figures = honest.write(inputs, shard, settings, path)
        cut = inputs["cut_sessions"].read().filter(half=half).select("session")
        numbers = cut.with_row_index("number", TRAINED + VALIDATED)
        whole = inputs["events"].read().join(numbers, on="session", maintain_order="left")
        copies = whole.with_columns(session=pl.col("number").cast(pl.Int32)).select(EVENTS.names())
        seen = pl.concat([pl.read_parquet(path), copies]).sort("session", maintain_order=True)
        seen.write_parquet(path)
        return figures

    return replace(artifact, stage=replace(honest, write=write))


def best_by_ranker(made: dict[str, Dataset]) -> pl.DataFrame:
    """What the ranker of orders puts first, in each validated session that shows its own item."""
    scores = made["validation/fold_scores/orders"].read()
    seen = made["validation/events"].read().filter(pl.col("aid") >= SHOP_ITEMS)
    best = scores.sort("score", "aid", descending=[True, False]).unique("session", keep="first")
    queries = made["validation/sessions"].read().filter("query")
    return best.join(queries, on="session", how="semi").join(seen, on="session", how="semi")


def share_right(made: dict[str, Dataset]) -> float:
    """Share of these sessions in which that item is ordered."""
    best = best_by_ranker(made)
    orders = made["validation/labels"].read().filter(pl.col("type") == "orders")
    assert best.height > 10
    return best.join(orders, on=["session", "aid"], how="semi").height / best.height


def own_labels(made: dict[str, Dataset]) -> pl.DataFrame:
    """Training rows of cut sessions whose label no session but their own holds."""
    rows = made["validation/training_rows"].read()
    return rows.filter("is_cut", pl.col("label_orders") == 1, pl.col("aid") >= SHOP_ITEMS)


def test_ranker_does_not_learn_what_only_a_sessions_own_events_betray(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, last = betraying_log(tmp_path / "log"), "validation/fold_scores/orders"
    made = build_until(last, tmp_path / "store", log, **SETTINGS)
    assert made["validation/cut_sessions"].figures()["cut_for_orders"] > 100
    events = ("half_a/events", "half_b/events")
    changed = [leaky(one) if one.path in events else one for one in ARTIFACTS]
    monkeypatch.setattr(pipeline, "ARTIFACTS", changed)
    betrayed = build_until(last, tmp_path / "leaky", log, **SETTINGS)
    cut = made["validation/cut_sessions"].read()
    assert cut.equals(betrayed["validation/cut_sessions"].read())
    assert own_labels(made).is_empty()
    assert own_labels(betrayed).height > 50
    assert share_right(made) > 0.9
    assert share_right(betrayed) < 0.8


def other_items_after(log: Path, cuts: dict[int, int]) -> str:
    """The log with other items after the cuts; times and types stay, so the cuts do."""
    sessions = [json.loads(line) for line in log.read_text().splitlines()]
    items = sorted({event["aid"] for one in sessions for event in one["events"]})
    for number, cut in cuts.items():
        for place, event in enumerate(sessions[number]["events"][cut:]):
            event["aid"] = items[(number * 31 + place * 7) % len(items)]
    return "".join(json.dumps(one) + "\n" for one in sessions)


@pytest.mark.parametrize("half", HALVES)
def test_changing_a_cut_sessions_future_changes_none_of_its_features(
    tmp_path: Path, half: str
) -> None:
    log = tmp_path / "one" / "train.jsonl"
    log.parent.mkdir()
    generate_log(log.parent, sessions=1200, test_sessions=10, items=80, seed=3)
    (log.parent / "test.jsonl").unlink()
    paths = [f"half_{half}/{name}" for name in ("candidates", "features", "labels")]
    one = build_until(paths[1], tmp_path / "store_one", log.parent, max_candidates=30)
    cuts = one["validation/cut_sessions"].read().filter(pl.col("half") == half)
    changed = tmp_path / "two"
    changed.mkdir()
    of_half = dict(cuts.select("session", "cut").iter_rows())
    (changed / "train.jsonl").write_text(other_items_after(log, of_half))
    two = build_until(paths[1], tmp_path / "store_two", changed, max_candidates=30)
    assert cuts.height > 50
    assert not one[paths[2]].read().equals(two[paths[2]].read())
    assert one[paths[0]].read().equals(two[paths[0]].read())
    columns = ["session", "aid", *FEATURE_NAMES]
    assert one[paths[1]].read(*columns).equals(two[paths[1]].read(*columns))
