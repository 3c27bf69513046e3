import numpy as np
import polars as pl

from otto_pipeline.evaluation.segments import PARTS, item_segments, session_segments
from otto_pipeline.events.event_log import event_log_of
from otto_pipeline.schemas import EVENT_TYPE


def test_sessions_are_divided_by_their_events_and_the_type_of_the_last() -> None:
    sizes = [1, 4, 5, 60]
    session = np.repeat(np.arange(4), sizes).astype(np.int32)
    kinds = ["clicks"] * len(session)
    kinds[0], kinds[4] = "carts", "orders"
    events = pl.DataFrame(
        {"session": session, "aid": np.zeros(len(session), np.int32), "ts": 0, "type": kinds},
        {"session": pl.Int32, "aid": pl.Int32, "ts": pl.Int64, "type": EVENT_TYPE},
    )
    log = event_log_of(events, n_sessions=4, n_items=1, first_ts=0)
    found = session_segments(log, pl.Series([0, 1, 2, 3], dtype=pl.Int32))
    assert found["events"].to_list() == ["1", "2-4", "5-9", "50 or more"]
    assert found["last event"].to_list() == ["carts", "orders", "clicks", "clicks"]


def test_items_are_divided_into_thirds_of_the_weeks_events() -> None:
    counts = [1, 50, 0, 30, 9, 10]
    popularity = pl.DataFrame(
        {"aid": range(6), "clicks_week": counts, "carts_week": 0, "orders_week": 0}
    )
    found = dict(item_segments(popularity).iter_rows())
    head, middle, tail, unseen = PARTS
    assert found == {1: head, 3: middle, 5: tail, 4: tail, 0: tail, 2: unseen}
