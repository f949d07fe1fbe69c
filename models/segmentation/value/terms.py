"""In which terms value is told, and the answer."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from models.segmentation.value.likelihood import Floats


@dataclass(frozen=True)
class Terms:
    """How far value looks and what money is worth.

    Attributes
    ----------
    horizon_days : for expected purchases.
    value_days : for value.
    discount : share by which money a year away is worth less: a factor (1 + discount)^(−years).
    margin : share of the amount that counts.
    """

    horizon_days: float
    value_days: float
    discount: float = 0.1
    margin: float = 1.0

    def factor(self, days: Floats) -> Floats:
        """What one unit of money that comes after `days` is worth today."""
        return np.asarray((1.0 + self.discount) ** (-np.asarray(days) / 365.0))

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Worth:
    """What customers are worth, one entry per customer.

    Attributes
    ----------
    value : discounted, within the terms' `value_days`, in the unit of the amounts.
    expected_purchases : purchases, or monthly payments, within the horizon.
    p_alive : probability of being a customer now (buyers) or at the end of the horizon (subscribers).
    low, high : 95 % interval of the *expected* value, where it is known; not of what one customer will bring.
    """

    value: Floats
    expected_purchases: Floats
    p_alive: Floats
    low: Floats | None = None
    high: Floats | None = None
