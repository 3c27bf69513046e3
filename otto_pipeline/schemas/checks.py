"""Tables → pandera schemas, which the blocking checks apply."""

from collections.abc import Sequence
from functools import lru_cache

import pandera.polars as pa
import polars as pl

from otto_pipeline.schemas.table import Column, Table


@lru_cache
def pandera_schema(table: Table) -> pa.DataFrameSchema:
    """The pandera schema of a table: columns, types, nulls, value ranges, uniqueness, order."""
    return pa.DataFrameSchema(
        {
            column.name: pa.Column(
                None if isinstance(column.dtype, tuple) else column.dtype,
                checks=[*_value_checks(column)],
                nullable=column.nullable,
                description=column.description,
            )
            for column in table.columns
        },
        checks=[_order_check(table.order)] if table.order else None,
        unique=list(table.unique) or None,
        strict=True,
        ordered=True,
        description=table.row,
    )


def _value_checks(column: Column) -> Sequence[pa.Check]:
    checks = []
    if column.ge is not None:
        checks.append(pa.Check.ge(column.ge))
    if column.le is not None:
        checks.append(pa.Check.le(column.le))
    if isinstance(column.dtype, tuple):
        allowed = column.dtype
        checks.append(
            pa.Check(
                lambda data: data.lazyframe.select(
                    pl.lit(data.lazyframe.collect_schema()[data.key] in allowed)
                ),
                error=f"type is one of {', '.join(str(dtype) for dtype in allowed)}",
            )
        )
    return checks


def _order_check(columns: Sequence[str]) -> pa.Check:
    *first, last = columns
    keeps, ties = pl.lit(False), pl.lit(True)
    for name in first:
        keeps |= ties & (pl.col(name) > pl.col(name).shift())
        ties &= pl.col(name) == pl.col(name).shift()
    keeps |= ties & (pl.col(last) >= pl.col(last).shift())
    return pa.Check(
        lambda data: data.lazyframe.select(keeps.all().alias(last)),
        error=f"ordered by {', '.join(columns)}",
    )
