"""A small shop's tables with their declaration, and what is made from them."""

import itertools
import json
from pathlib import Path

import polars as pl

from otto_pipeline.events.shop_log import Converted, convert_shop_log
from otto_pipeline.settings import Settings, load_settings

HOUR = 3_600_000
T0 = 1_600_000_000_000
TYPES = {"view": "clicks", "cart": "carts", "buy": "orders", "skip": "ignore"}
DECLARATION = {
    "files": "*.csv",
    "session": "user",
    "item": "product",
    "time": "at",
    "time_unit": "ms",
    "type": "kind",
    "types": TYPES,
}
COLUMNS = ("user", "product", "at", "kind")
Row = tuple[str, str, str, str]
GOOD_ROWS: list[Row] = [
    ("2", "10", str(T0 + 5), "view"),
    ("1", "11", str(T0), "view"),
    ("2", "12", str(T0 + 1), "cart"),
    ("1", "13", str(T0), "buy"),
    ("1", "14", str(T0), "skip"),
]


def declare(folder: Path, **changes: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    values = {key: value for key, value in {**DECLARATION, **changes}.items() if value is not None}
    (folder / "log.yaml").write_text("".join(f"{k}: {json.dumps(v)}\n" for k, v in values.items()))
    return folder


def csv_text(rows: list[Row], columns: tuple[str, ...] = COLUMNS, separator: str = ",") -> str:
    quoted = [
        [f'"{v}"' if separator in v or "\n" in v else v for v in row] for row in [columns, *rows]
    ]
    return "".join(f"{separator.join(row)}\n" for row in quoted)


def some_settings(store: Path = Path("store"), **values: object) -> Settings:
    given_values = {"store_dir": store, "memory_gb": 1, "threads": 2, **values}
    return load_settings({f"OTTO_{name.upper()}": str(v) for name, v in given_values.items()})


def convert(folder: Path) -> Converted:
    return convert_shop_log(folder, folder / "out", some_settings())


def sessions(converted: Converted) -> list[dict]:
    return [json.loads(line) for line in converted.train.read_text().splitlines()]


def rejected(converted: Converted) -> list[tuple[str, int, str]]:
    rows = pl.read_parquet(converted.rejected).rows()
    return [(Path(file).name, line, reason) for file, line, reason in rows]


def many_rows(n: int = 300) -> list[Row]:
    kinds = itertools.cycle(["view", "view", "view", "cart", "buy", "skip"])
    times = [T0 + (n * 7919 % 50) * HOUR for n in range(n)]
    return [(str(n % 17), str(n % 23), str(time), next(kinds)) for n, time in enumerate(times)]


def shop(folder: Path, rows: list[Row], **changes: object) -> Path:
    declare(folder, **changes)
    (folder / "log.csv").write_text(csv_text(rows))
    return folder
