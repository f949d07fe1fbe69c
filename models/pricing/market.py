"""What is sold where, at which price it was last seen, and how much of it is expected in the weeks around the end of
the data if nothing changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from store.errors import InvalidValue, UnknownEntity

WEEKS_BACK = 26
WEEKS_AHEAD = 53
LONGEST_HORIZON = 365


@dataclass(frozen=True)
class Cell:
    """A product in one of its segments (in all of them, where the data know none).

    Attributes
    ----------
    price, competitor, unit_cost : last seen; None where the data hold none.
    lowest, highest : prices seen.
    rates : expected quantity a day at `price` and `competitor`, for each week from `Market.first`, float64.
    """

    product: str
    segment: str | None
    price: float
    competitor: float | None
    unit_cost: float | None
    lowest: float
    highest: float
    rates: NDArray[np.float64]

    @property
    def name(self) -> str:
        """ "product/segment", or the product alone."""
        return self.product if self.segment is None else f"{self.product}/{self.segment}"


@dataclass(frozen=True)
class Market:
    """All cells, the calendar of their rates, and how far outcomes lie from what is expected.

    Attributes
    ----------
    start : the day after the last one in the data.
    dispersion : variance of a quantity around its mean, per unit of the mean; 1 for Poisson counts.
    level_spread : standard deviation of the logarithm of a whole period's level, beyond that dispersion.
    """

    cells: tuple[Cell, ...]
    start: date
    dispersion: float
    level_spread: float

    @property
    def first(self) -> date:
        """First day of the rates."""
        return self.start - timedelta(weeks=WEEKS_BACK)

    @cached_property
    def _by_product(self) -> Mapping[str, tuple[Cell, ...]]:
        found: dict[str, list[Cell]] = {}
        for cell in self.cells:
            found.setdefault(cell.product, []).append(cell)
        return {product: tuple(cells) for product, cells in found.items()}

    @cached_property
    def products(self) -> Mapping[str, tuple[str, ...]]:
        """Product → its segments, empty where the data know none."""
        return {
            product: tuple(cell.segment for cell in cells if cell.segment is not None)
            for product, cells in self._by_product.items()
        }

    def select(self, product: str, segment: str | None) -> tuple[Cell, ...]:
        """The cells of a product, or the one of a segment.

        Raises
        ------
        UnknownEntity : the model does not know the product, or the product has no such segment.
        """
        of_product = self._by_product.get(product)
        if not of_product:
            raise UnknownEntity(
                f"The model knows no product {product!r}.",
                remedy=f"It knows {_listing(list(self.products))}.",
                field="product",
                value=product,
            )
        if segment is None:
            return of_product
        chosen = tuple(cell for cell in of_product if cell.segment == segment)
        if not chosen:
            known = [cell.segment for cell in of_product if cell.segment is not None]
            raise UnknownEntity(
                f"The product {product!r} has no segment {segment!r}.",
                remedy=f"It has {_listing(known)}." if known else "The data know no segments: leave it out.",
                field="segment",
                value=segment,
            )
        return chosen

    def days(self, horizon_days: int) -> tuple[date, ...]:
        """The days of a horizon.

        Raises
        ------
        InvalidValue : it is not within 1 and 365 days.
        """
        if not 1 <= horizon_days <= LONGEST_HORIZON:
            raise InvalidValue(
                f"horizon_days = {horizon_days} lies outside 1 to {LONGEST_HORIZON}.",
                remedy="Choose a horizon of at most a year.",
                field="horizon_days",
                value=horizon_days,
            )
        return tuple(self.start + timedelta(days=step) for step in range(horizon_days))

    def expected(self, cell: Cell, days: tuple[date, ...]) -> float:
        """Quantity over some days at the price and competitor's price last seen.

        Raises
        ------
        InvalidValue : a day lies outside the weeks that the model has rates for.
        """
        weeks = np.fromiter(((day - self.first).days // 7 for day in days), dtype=np.int64, count=len(days))
        outside = (weeks < 0) | (weeks >= len(cell.rates))
        if outside.any():
            day = days[int(np.flatnonzero(outside)[0])]
            last = self.first + timedelta(weeks=len(cell.rates), days=-1)
            raise InvalidValue(
                f"{day} lies outside the days that this model speaks of, {self.first} to {last}.",
                remedy="Leave the day out, or train again on newer data.",
                field="date",
                value=day.isoformat(),
            )
        return float(cell.rates[weeks].sum())

    def periods(self, horizon_days: int) -> Iterator[tuple[date, ...]]:
        """The horizon in weeks from its first day, or in calendar months where it is longer than 92 days."""
        days = self.days(horizon_days)
        if horizon_days <= 92:
            for begin in range(0, len(days), 7):
                yield days[begin : begin + 7]
            return
        month: list[date] = []
        for day in days:
            if month and day.month != month[-1].month:
                yield tuple(month)
                month = []
            month.append(day)
        yield tuple(month)

    def to_dict(self) -> dict[str, Any]:
        """Without the rates, which are kept as a table."""
        cells = [
            {
                "product": cell.product,
                "segment": cell.segment,
                "price": cell.price,
                "competitor": cell.competitor,
                "unit_cost": cell.unit_cost,
                "lowest": cell.lowest,
                "highest": cell.highest,
            }
            for cell in self.cells
        ]
        return {
            "start": self.start.isoformat(),
            "dispersion": self.dispersion,
            "level_spread": self.level_spread,
            "cells": cells,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], rates: NDArray[np.float64]) -> Market:
        """Reverse of `to_dict`.

        Parameters
        ----------
        rates : shape (cells, weeks).
        """
        cells = tuple(Cell(**one, rates=rates[at]) for at, one in enumerate(data["cells"]))
        return cls(cells, date.fromisoformat(data["start"]), data["dispersion"], data["level_spread"])


def _listing(names: list[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
