"""Options that say what a file of sales is: the same for `merit price` and `merit train pricing`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from store.errors import InvalidValue

if TYPE_CHECKING:
    from store.dataset import DatasetRef

Product = Annotated[str | None, typer.Option(help="Column that names the product.")]
Price = Annotated[str | None, typer.Option(help="Column with the price of a unit.")]
Quantity = Annotated[str | None, typer.Option(help="Column with the quantity sold.")]
Time = Annotated[str | None, typer.Option(help="Column with dates: the latest become the holdout.")]
Group = Annotated[str | None, typer.Option(help="Column with the store or other place that a row belongs to.")]
Control = Annotated[
    list[str] | None,
    typer.Option("--control", help="Column that moves price and demand, e.g. promotion; may be repeated."),
]
Competitor = Annotated[str | None, typer.Option(help="Column with the competitor's price.")]
Segment = Annotated[str | None, typer.Option(help="Column with kinds of customers or places, told apart.")]
Instrument = Annotated[
    list[str] | None,
    typer.Option("--instrument", help="Column that moves demand through the price alone; may be repeated."),
]


@dataclass(frozen=True)
class SalesColumns:
    """Names of the columns of a file of sales, as they were given; None where one was not."""

    product: str | None
    price: str | None
    quantity: str | None
    time: str | None
    group: str | None
    control: tuple[str, ...]
    cost: str | None
    competitor: str | None
    segment: str | None
    instrument: tuple[str, ...]

    def prepare(self, data: str, folder: Path) -> tuple[DatasetRef, tuple[str, ...]]:
        """The file as a data set, and what the user should know about it.

        Raises
        ------
        InvalidValue : a column that is needed was not named.
        DataError : the file does not fit; see `models.pricing.from_file.prepare`.
        """
        from models.pricing.from_file import prepare

        return prepare(
            data,
            folder,
            product=_required("product", self.product),
            price=_required("price", self.price),
            quantity=_required("quantity", self.quantity),
            time=self.time,
            group=self.group,
            controls=self.control,
            cost=self.cost,
            competitor=self.competitor,
            instruments=self.instrument,
            segment=self.segment,
        )

    def refuse(self) -> None:
        """There is no file.

        Raises
        ------
        InvalidValue : a column was named all the same.
        """
        for item in fields(self):
            if value := getattr(self, item.name):
                shown = ", ".join(value) if isinstance(value, tuple) else value
                raise InvalidValue(
                    f"--{item.name} {shown} goes with --data.",
                    remedy="Add --data FILE, or leave it out.",
                    field=item.name,
                )


def listed(given: Sequence[str] | None) -> tuple[str, ...]:
    """A repeated option whose values may hold several names with commas."""
    return tuple(part.strip() for one in given or () for part in one.split(",") if part.strip())


def _required(name: str, value: str | None) -> str:
    if value is None:
        raise InvalidValue(
            f"--{name} is missing.", remedy=f"With --data, name the column: --{name} COLUMN.", field=name
        )
    return value
