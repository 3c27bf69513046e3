"""What a feature is: its name, type, meaning, the value that stands for missing, its expression."""

from dataclasses import dataclass

import polars as pl

from otto_pipeline.schemas import Column, Dtype

LARGEST: dict[Dtype, int] = {pl.Int8: 2**7 - 1, pl.UInt8: 2**8 - 1, pl.Int16: 2**15 - 1}
PARTS = 2**15 - 1
"""A share v of 0 to 1 is kept as √v in parts of this: fine where most values lie, near 0."""
THOUSANDTHS = 1000
"""An amount v ≥ 0 is kept as ln(1 + v) in these: to .1 %, up to 10^14."""


@dataclass(frozen=True)
class Feature:
    """One feature; `expression` is evaluated on the frame that its family's module describes.

    `missing` is what the ranker sees where the expression gives null or no row: a dense matrix
    costs XGBoost a quarter of the memory of one with NaN.
    """

    name: str
    description: str
    expression: pl.Expr
    dtype: Dtype = pl.Float32
    missing: float = -1

    @property
    def column(self) -> Column:
        """The feature as a column of the table of features."""
        return Column(self.name, self.dtype, f"{self.description} Missing: {self.missing:g}.")

    def of_rows(self) -> pl.Expr:
        """The expression under the feature's name."""
        return self.expression.alias(self.name)

    def filled(self) -> pl.Expr:
        """The feature's column with its type, and the sentinel where it is missing."""
        column = pl.col(self.name).fill_null(self.missing).fill_nan(self.missing)
        if self.dtype in LARGEST:  # a bot's session has more events than the type can count
            column = column.clip(upper_bound=LARGEST[self.dtype])
        return column.cast(self.dtype)


def share(name: str, description: str, expression: pl.Expr, missing: float = -1) -> Feature:
    """A feature of 0 to 1 in two bytes: √ in parts of `PARTS`. Trees see the order alone."""
    parts = (expression.clip(0, 1).sqrt() * PARTS).round()
    return Feature(name, f"{description[:-1]}; √ in parts of {PARTS}.", parts, pl.Int16, missing)


def amount(name: str, description: str, expression: pl.Expr, missing: float = -1) -> Feature:
    """A feature of 0 to ∞ in two bytes: ln(1 + it) in `THOUSANDTHS`. Trees see the order alone."""
    logarithm = (expression.clip(0).log1p() * THOUSANDTHS).round()
    return Feature(
        name, f"{description[:-1]}; ln(1 + it) in thousandths.", logarithm, pl.Int16, missing
    )


def ratio(numerator: pl.Expr, denominator: pl.Expr) -> pl.Expr:
    """A quotient; null where the denominator is zero."""
    return pl.when(denominator != 0).then(numerator / denominator)
