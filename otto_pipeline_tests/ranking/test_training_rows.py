import polars as pl
import pytest

from otto_pipeline.ranking.training_rows import training_rows
from otto_pipeline.schemas import LABELS, TYPES
from otto_pipeline.settings import Settings
from otto_pipeline.store.dataset import Dataset
from otto_pipeline_tests.ranking.conftest import SMALL, of_all_lanes

CANDIDATES = pl.DataFrame(
    [(session, aid) for session in (0, 1) for aid in range(30)],
    schema={"session": pl.Int32, "aid": pl.Int32},
    orient="row",
)
SESSIONS = pl.LazyFrame(
    {"session": [0, 1], "hash": [11, 22]}, {"session": pl.Int32, "hash": pl.UInt64}
)
LABELLED = pl.LazyFrame(
    [(0, "clicks", 3), (0, "carts", 4), (0, "carts", 5), (1, "orders", 99)],
    schema=LABELS.empty().schema,
    orient="row",
)


def test_all_labels_and_a_sample_of_negatives_of_sessions_with_a_label() -> None:
    rows = training_rows(CANDIDATES, LABELLED, SESSIONS, Settings(negatives=5), is_cut=False)
    assert set(rows["session"]) == {0}  # the label of session 1 is not among its candidates
    clicks, carts = rows.filter("in_clicks"), rows.filter("in_carts")
    assert (clicks.height, clicks["label_clicks"].sum()) == (6, 1)
    assert (carts.height, carts["label_carts"].sum()) == (7, 2)
    assert not rows["in_orders"].any()


def test_negatives_follow_the_seed_and_not_the_order_of_candidates() -> None:
    one = training_rows(CANDIDATES, LABELLED, SESSIONS, Settings(negatives=5, seed=1), is_cut=False)
    same = training_rows(
        CANDIDATES.reverse(), LABELLED, SESSIONS, Settings(negatives=5, seed=1), is_cut=False
    )
    other = training_rows(
        CANDIDATES, LABELLED, SESSIONS, Settings(negatives=5, seed=2), is_cut=False
    )
    keys = ["session", "aid"]
    assert one.sort(keys).equals(same.sort(keys))
    assert not one.sort(keys).equals(other.sort(keys))


@pytest.mark.parametrize("name", TYPES)
def test_training_rows_of_a_log_are_its_candidates_with_their_labels(
    made: dict[str, Dataset], name: str
) -> None:
    rows = made["validation/training_rows"].read().filter(f"in_{name}")
    labels = of_all_lanes(made, "labels").filter(pl.col("type") == name)
    candidates = of_all_lanes(made, "candidates", "session", "aid")
    hit = candidates.join(labels, on=["session", "aid"], how="semi")
    positives = rows.filter(pl.col(f"label_{name}") == 1).select("session", "aid")
    assert positives.sort("session", "aid").equals(hit.sort("session", "aid"))
    negatives = rows.filter(pl.col(f"label_{name}") == 0).group_by("session").len()
    assert negatives["len"].max() <= SMALL["negatives"]
    assert rows.join(candidates, on=["session", "aid"], how="anti").height == 0


def test_training_features_are_those_of_the_training_rows_in_their_order(
    made: dict[str, Dataset],
) -> None:
    rows = made["validation/training_rows"]
    found = made["validation/training_features"].read()
    assert found.select("session", "aid").equals(rows.read("session", "aid"))
    expected = rows.read("session", "aid").join(
        of_all_lanes(made, "features", *found.columns), on=["session", "aid"], maintain_order="left"
    )
    assert found.equals(expected)


def test_rows_of_cut_sessions_say_so_and_share_no_session_with_the_others(
    made: dict[str, Dataset],
) -> None:
    rows = made["validation/training_rows"].read("session", "is_cut").unique()
    assert rows["session"].is_unique().all()
    cut = set(made["validation/cut_sessions"].read()["session"])
    assert set(rows.filter("is_cut")["session"]) <= cut
    assert rows["is_cut"].sum() > 50
    assert not set(rows.filter(~pl.col("is_cut"))["session"]) & cut
