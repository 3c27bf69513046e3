import numpy as np
import polars as pl
import pytest

from otto_pipeline.folds import ALL_SESSIONS
from otto_pipeline.ranking import blend
from otto_pipeline.ranking.blend import LIST, SCORED, Trial, choose, mixed, mixes, ordered_by
from otto_pipeline.schemas import TYPES
from otto_pipeline.store.dataset import Dataset

ASSUMED = 0
BY_LIST = blend.LIST_SHARES.index(1.0)
BY_RANKER = len(blend.LIST_SHARES)


def hits(sessions: int, **won: tuple[int, int]) -> np.ndarray:
    """No hits but those won by a mix in the first sessions: {name: (mix, sessions)}."""
    found = np.zeros((BY_RANKER + 1, sessions), np.int64)
    for mix, number in won.values():
        found[mix, :number] = 1
    return found


def test_without_evidence_the_assumed_mix_is_kept() -> None:
    assert choose(hits(50)) == ASSUMED
    assert choose(hits(50, ranker=(BY_RANKER, 3))) == ASSUMED


def test_many_sessions_choose_what_wins() -> None:
    assert choose(hits(50, ranker=(BY_RANKER, 30), other=(2, 20))) == BY_RANKER
    assert choose(hits(50, ranker=(BY_RANKER, 30), other=(2, 40))) == 2


def test_list_alone_takes_over_on_less_evidence_than_another_mix() -> None:
    assert choose(hits(50, list=(BY_LIST, 3))) == BY_LIST


@pytest.mark.parametrize("name", TYPES)
def test_weights_of_a_mix_sum_to_one(name: str) -> None:
    assert mixes(name).sum(axis=1) == pytest.approx(1)
    assert ordered_by(mixes(name)[ASSUMED]) == "blend"
    assert ordered_by(mixes(name)[BY_LIST]) == "list"
    assert ordered_by(mixes(name)[BY_RANKER]) == "ranker"


def test_mixed_score_is_the_weighted_sum() -> None:
    scores = {name: np.array([place, 1.0], np.float32) for place, name in enumerate(SCORED)}
    assert mixed(np.array([0.5, 0.25, 0.25, 0]), scores).tolist() == [0.75, 1.0]


def test_weights_of_a_fold_do_not_depend_on_its_sessions() -> None:
    generator = np.random.default_rng(1)
    fold = generator.integers(0, 3, 600)
    won = generator.integers(0, 2, (BY_RANKER + 1, 600))
    changed = np.where(fold == 1, won[::-1], won)
    one, other = (
        {row["fold"]: [row[name] for name in SCORED] for row in blend._rows("carts", trial)}
        for trial in (Trial(3, found, np.ones(600, np.int64), fold) for found in (won, changed))
    )
    assert one[1] == other[1]
    assert set(one) == {0, 1, 2, ALL_SESSIONS}


def test_recall_of_the_blend_is_that_of_the_predictions(made: dict[str, Dataset]) -> None:
    labels, predictions = made["validation/labels"].read(), made["validation/predictions"].read()
    table = made["validation/blend"].read()
    for name in TYPES:
        of_type = labels.filter(pl.col("type") == name)
        hit = of_type.join(predictions, on=["session", "type", "aid"], how="semi").height
        row = table.filter((pl.col("type") == name) & (pl.col("fold") == ALL_SESSIONS))
        assert row["recall_blend"].item() == pytest.approx(hit / of_type.height)


def test_list_and_ranker_recalls_are_their_own_orders(made: dict[str, Dataset]) -> None:
    labels = made["validation/labels"].read().filter(pl.col("type") == "clicks")
    table = made["validation/blend"].read()
    row = table.filter((pl.col("type") == "clicks") & (pl.col("fold") == ALL_SESSIONS))
    scores = made["validation/fold_scores/clicks"].read()
    by_score = scores.sort(["session", "score", "aid"], descending=[False, True, False])
    candidates = made["validation/candidates"].read("session", "aid", "list_score")
    by_list = candidates.sort(["session", "list_score", "aid"], descending=[False, True, False])
    for column, order in (("recall_ranker", by_score), ("recall_list", by_list)):
        top = order.group_by("session", maintain_order=True).head(20)
        hit = labels.join(top, on=["session", "aid"], how="semi").height
        assert row[column].item() == pytest.approx(hit / labels.height)


def test_target_without_ranker_has_the_weights_of_the_list() -> None:
    (row,) = blend._rows("orders", None)
    assert (row["fold"], row[LIST], row["orders"]) == (ALL_SESSIONS, 1.0, 0.0)
