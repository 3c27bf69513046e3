"""Recall@k and its weighted total."""

import polars as pl
import pytest

from otto_pipeline.metrics import Recall, hits_by_session, recalls, scores, weighted_total
from otto_pipeline.schemas import EVENT_TYPE

LABELS = {"session": pl.Int32, "type": EVENT_TYPE, "aid": pl.Int32}
PREDICTIONS = {**LABELS, "rank": pl.UInt8}
NONE = Recall(0, 0)


def labels(*rows: tuple[int, str, int]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=LABELS, orient="row")


def predictions(*rows: tuple[int, str, int, int]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=PREDICTIONS, orient="row")


def test_session_without_prediction_stays_in_the_denominator() -> None:
    by_session = hits_by_session(
        labels((1, "carts", 5), (2, "carts", 5)), predictions((1, "carts", 5, 1))
    )
    assert by_session.rows() == [(1, "carts", 1, 1), (2, "carts", 0, 1)]


def test_prediction_without_labels_is_ignored() -> None:
    by_session = hits_by_session(labels((1, "carts", 5)), predictions((2, "carts", 5, 1)))
    assert by_session.rows() == [(1, "carts", 0, 1)]


def test_label_of_one_type_is_not_hit_by_a_prediction_of_another() -> None:
    by_session = hits_by_session(labels((1, "carts", 5)), predictions((1, "orders", 5, 1)))
    assert by_session.rows() == [(1, "carts", 0, 1)]


def test_items_after_place_k_do_not_count() -> None:
    wanted = labels((1, "clicks", 7))
    predicted = predictions((1, "clicks", 5, 1), (1, "clicks", 6, 2), (1, "clicks", 7, 3))
    assert hits_by_session(wanted, predicted, k=2)["hits"].item() == 0
    assert hits_by_session(wanted, predicted, k=3)["hits"].item() == 1


def test_repeated_item_is_one_hit() -> None:
    by_session = hits_by_session(
        labels((1, "orders", 5)), predictions((1, "orders", 5, 1), (1, "orders", 5, 2))
    )
    assert by_session.rows() == [(1, "orders", 1, 1)]


def test_denominator_is_at_most_k() -> None:
    wanted = labels(*((1, "orders", item) for item in range(11)))
    assert hits_by_session(wanted, predictions(), k=10)["labels"].item() == 10
    assert hits_by_session(wanted, predictions(), k=20)["labels"].item() == 11


def test_recalls_sum_over_sessions() -> None:
    by_session = hits_by_session(
        labels((1, "carts", 5), (1, "carts", 6), (2, "carts", 5), (2, "clicks", 1)),
        predictions((1, "carts", 5, 1), (2, "clicks", 1, 1)),
    )
    assert recalls(by_session) == {"clicks": Recall(1, 1), "carts": Recall(1, 3), "orders": NONE}


def test_type_without_labels_has_no_recall() -> None:
    assert NONE.value is None
    assert Recall(0, 4).value == 0


def test_total_weighs_the_types() -> None:
    by_type = {"clicks": Recall(1, 2), "carts": Recall(1, 4), "orders": Recall(3, 4)}
    assert weighted_total(by_type) == 0.1 * 0.5 + 0.3 * 0.25 + 0.6 * 0.75


def test_weights_of_the_types_present_are_scaled_to_one() -> None:
    by_type = {"clicks": Recall(1, 2), "carts": NONE, "orders": Recall(3, 4)}
    assert weighted_total(by_type) == pytest.approx((0.1 * 0.5 + 0.6 * 0.75) / 0.7)
    assert weighted_total({**by_type, "orders": NONE}) == pytest.approx(0.5)


def test_no_labels_at_all_have_no_total() -> None:
    nothing = recalls(hits_by_session(labels(), predictions()))
    assert scores(nothing) == {"clicks": None, "carts": None, "orders": None, "total": None}
