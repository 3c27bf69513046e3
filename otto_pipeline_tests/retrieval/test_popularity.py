import polars as pl
from hypothesis import given, settings

from otto_pipeline.retrieval.popularity import WEEK_SECONDS, _count
from otto_pipeline.schemas import TYPES
from otto_pipeline_tests.logs import N_ITEMS, log_of, random_events


@given(events=random_events())
@settings(max_examples=40, deadline=None)
def test_counts_equal_group_bys(events: pl.DataFrame) -> None:
    log = log_of(events)
    start = log.last_second - WEEK_SECONDS
    counts, week, sessions_week, last_seen = _count(
        log.session_start, log.aid, log.ts, log.type, log.n_items, start
    )
    rows = events.with_columns(second=pl.col("ts") // 1000)
    recent = rows.filter(pl.col("second") >= start)
    for aid in range(N_ITEMS):
        of_item, lately = rows.filter(pl.col("aid") == aid), recent.filter(pl.col("aid") == aid)
        for code, name in enumerate(TYPES):
            assert counts[aid, code] == (of_item["type"] == name).sum()
            assert week[aid, code] == (lately["type"] == name).sum()
        assert sessions_week[aid] == lately["session"].n_unique()
        assert last_seen[aid] == (of_item["second"].max() if of_item.height else -1)
