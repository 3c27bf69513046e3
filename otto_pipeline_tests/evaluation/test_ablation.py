import polars as pl
import pytest

from otto_pipeline.evaluation.ablation import EVERYTHING, ablation_table, differences
from otto_pipeline.evaluation.bootstrap import intervals
from otto_pipeline.evaluation.plots import ablation_plot


def rows(*counts: tuple[int, str, int, int]) -> pl.DataFrame:
    schema = {"session": pl.Int32, "type": pl.String, "hits": pl.Int64, "labels": pl.Int64}
    return pl.DataFrame(counts, schema, orient="row")


def hits() -> dict[str, pl.DataFrame]:
    """Without `a` ten of a hundred clicks are lost; without `b` nothing; nobody orders."""
    sessions = range(100)
    carts = [(s, "carts", 2, 4) for s in sessions]
    return {
        EVERYTHING: rows(*((s, "clicks", int(s < 50), 1) for s in sessions), *carts),
        "a": rows(*((s, "clicks", int(s < 40), 1) for s in sessions), *carts),
        "b": rows(*((s, "clicks", int(s < 50), 1) for s in sessions), *carts),
    }


def test_what_it_brings_is_the_recall_with_everything_less_that_without_it() -> None:
    found = differences(hits(), seed=1)
    brings = {(row["without"], row["type"]): row for row in found.iter_rows(named=True)}
    assert brings[EVERYTHING, "clicks"]["recall"] == pytest.approx(0.5)
    assert brings[EVERYTHING, "total"]["recall"] == pytest.approx((0.1 * 0.5 + 0.3 * 0.5) / 0.4)
    assert brings["a", "clicks"]["recall"] == pytest.approx(0.4)
    assert brings["a", "clicks"]["brings"] == pytest.approx(0.1)
    assert brings["a", "carts"]["brings"] == 0
    assert brings["a", "total"]["brings"] == pytest.approx(0.1 * 0.1 / 0.4)
    assert brings["a", "orders"]["recall"] is None
    assert all(brings["b", name]["brings"] == 0 for name in ("clicks", "carts", "total"))


def test_its_interval_is_paired_by_session() -> None:
    lost = rows(*((s, "clicks", int(40 <= s < 50), 1) for s in range(100)))
    low, high = intervals(lost, seed=1)["clicks"]
    found = differences(hits(), seed=1).filter(without="a", type="clicks")
    assert found["low"].to_list() == pytest.approx([low])
    assert found["high"].to_list() == pytest.approx([high])
    assert 0 < found["low"][0] < 0.1 < found["high"][0]


def test_table_has_a_line_for_each_of_what_is_left_out() -> None:
    found = differences(hits(), seed=1)
    _, _, whole, first, second = ablation_table(found).splitlines()
    assert whole.split() == [EVERYTHING, "0.5000", "0.5000", "–", "0.5000"]
    assert first.split()[:2] == ["a", "+0.1000"]
    zero = ["+0.0000", "(+0.0000", "…", "+0.0000)"]
    assert second.split() == ["b", *zero, *zero, "–", *zero]
    assert ablation_plot(found).startswith(b"\x89PNG")
