"""Session events and labels in, the JSON lines of OTTO's file format out, one line a session.

The lines equal Python's ``json.dumps`` byte for byte, so they can be compared with the files that
the dataset repository's own scripts write (https://github.com/otto-de/recsys-dataset).
"""

import json

import polars as pl

# what json.dumps escapes: quote, backslash and all but printable ASCII
NEEDS_ESCAPE = r'["\\]|[^ -~]'


def session_lines(events: pl.DataFrame) -> pl.Series:
    """Return one line per session, in order of appearance.

    ``events`` has one row per event: session and aid (integers or strings), ts (ms) and type
    ("clicks", "carts", "orders"). The rows of a session follow each other; their order is kept.
    """
    # the braces and the key "aid" stand between the events, so that joining writes them
    event = pl.format('{}, "ts": {}, "type": "{}', _json(pl.col("aid")), "ts", "type")
    return (
        events.select("session", event=event)
        .group_by("session", maintain_order=True)
        .agg("event")
        .select(
            line=pl.concat_str(
                pl.lit('{"session": '),
                _json(pl.col("session")),
                pl.lit(', "events": [{"aid": '),
                pl.col("event").list.join('"}, {"aid": '),
                pl.lit('"}]}'),
            )
        )
        .to_series()
    )


def label_lines(labels: pl.DataFrame) -> pl.Series:
    """Return one line per row; a label that is null or an empty list leaves its key out.

    ``labels`` has one row per session: session, clicks (the next click's item or null), carts and
    orders (lists of items, may be null).
    """
    return labels.select(
        line=pl.concat_str(
            pl.lit('{"session": '),
            _json(pl.col("session")),
            pl.lit(', "labels": {'),
            pl.concat_str(
                pl.lit('"clicks": ') + _json(pl.col("clicks")),
                _list_entry("carts"),
                _list_entry("orders"),
                separator=", ",
                ignore_nulls=True,
            ),
            pl.lit("}}"),
        )
    ).to_series()


def _list_entry(key: str) -> pl.Expr:
    items = pl.col(key).cast(pl.List).list.eval(_json(pl.element())).list.join(", ")
    return pl.when(pl.col(key).list.len() > 0).then(pl.lit(f'"{key}": [') + items + pl.lit("]"))


def _json(value: pl.Expr) -> pl.Expr:
    return value.map_batches(_json_values, return_dtype=pl.String)


def _json_values(values: pl.Series) -> pl.Series:
    """Write integers as they are and strings in quotes, null as null."""
    if values.dtype != pl.String:
        return values.cast(pl.String)
    # ids are nearly always plain, so that only the few distinct others pass through Python
    special = values.filter(values.str.contains(NEEDS_ESCAPE)).unique().to_list()
    escaped = [json.dumps(value)[1:-1] for value in special]
    plain = values.replace(special, escaped) if special else values
    return '"' + plain + '"'
