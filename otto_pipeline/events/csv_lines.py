"""Which line of a CSV file a row is, as an editor counts: from 1, the header, blank lines and
lines inside of a value included.

In go the numbers of rows (from 0, as a CSV reader counts them) and the places of lines that are
no row, out come their lines. The file is read once, and only where there is something to name.
"""

import gzip
import itertools
from collections.abc import Iterator
from io import BufferedReader

import polars as pl

from otto_pipeline.events.shop_declaration import Source


def csv_lines(source: Source, bad: pl.DataFrame, unreadable: pl.DataFrame) -> pl.DataFrame:
    """Lines (line, reason), in their order, of rows and lines of a CSV file.

    `bad` has the rows (row, reason), `unreadable` the lines that are no row (offset, reason,
    taken): `offset` is a byte of the line or the line break before it; `taken` are the lines that
    a quotation mark without an end takes, the line itself included, each of which is named; 0
    where there is no such mark.
    """
    if bad.is_empty() and unreadable.is_empty():
        return pl.DataFrame(schema={"line": pl.Int64, "reason": pl.String})
    wanted = dict(bad.iter_rows())
    reasons = iter(
        [
            reason
            for reason, taken in unreadable.select("reason", "taken").iter_rows()
            for _ in range(max(taken, 1))
        ]
    )
    found = [
        (line, next(reasons) if row is None else wanted[row])
        for line, row in _rows_of_lines(source, unreadable.select("offset", "taken").rows())
        if row is None or row in wanted
    ]
    return pl.DataFrame(found, {"line": pl.Int64, "reason": pl.String}, orient="row")


def line_at(source: Source, offset: int) -> int:
    """The line in which a byte lies."""
    with _opened(source) as file:
        ends = itertools.accumulate(map(len, file))
        return 1 + sum(1 for _ in itertools.takewhile(lambda end: end <= offset, ends))


def _rows_of_lines(
    source: Source, unreadable: list[tuple[int, int]]
) -> Iterator[tuple[int, int | None]]:
    """Each line on which a row begins, with the row's number from 0; None for a line left out."""
    assert source.delimiter is not None
    row, inside, position, still_taken = -1, False, 0, 0
    left_out = iter([*unreadable, (-1, 0)])
    offset, taken = next(left_out)
    with _opened(source) as file:
        for line, text in enumerate(file, start=1):
            if position <= offset < position + len(text):
                yield line, None
                inside = not taken and _ends_inside(text, False, source.delimiter)
                still_taken = taken - 1
                offset, taken = next(left_out)
            elif still_taken > 0:
                yield line, None
                still_taken -= 1
            elif inside or text.strip(b"\r\n"):
                if not inside:
                    if row >= 0:  # row -1 is the header
                        yield line, row
                    row += 1
                inside = _ends_inside(text, inside, source.delimiter)
            position += len(text)


def _opened(source: Source) -> gzip.GzipFile | BufferedReader:
    return gzip.open(source.path) if source.path.suffix == ".gz" else source.path.open("rb")


def _ends_inside(line: bytes, inside: bool, delimiter: str) -> bool:
    """Whether a quoted value goes on after this line; `inside`: one goes on before it."""
    opening = f'{delimiter}"'.encode()
    rest = line.replace(b'""', b"")  # a quotation mark of the text itself
    rest = rest if inside else delimiter.encode() + rest
    while True:
        if not inside:
            _, opened, rest = rest.partition(opening)
            if not opened:
                return False
        _, closed, rest = rest.partition(b'"')
        if not closed:
            return True
        inside = False
