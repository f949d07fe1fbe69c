"""Which parts an anomaly of a total comes from.

Series are called `metric/total` and `metric/dimension=value`; the parts of a dimension add up to the total. What a part
is above or below its own expectation while the total alarms is its contribution. The dimension that is told is the one
in which the contributions differ most from the parts' usual shares: an outage of one region is a matter of regions,
however it spreads over kinds of customers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

Floats = np.ndarray[Any, np.dtype[np.float64]]

TOTAL = "total"
_TOLD = 4


@dataclass(frozen=True)
class Cause:
    """One part of a total.

    Attributes
    ----------
    excess : what it was above (or below) what was expected of it, summed over the alarms.
    share : of the excess of all parts of its dimension; can be above 1, or negative where it went the other way.
    usual : its usual share of the total.
    """

    series: str
    excess: float
    share: float
    usual: float

    def __str__(self) -> str:
        return f"{self.series.partition('/')[2]} {self.excess:+,.4g} ({self.share:.0%} of it, usually {self.usual:.0%})"


def causes_of(name: str, start: int, end: int, checks: Mapping[str, pd.DataFrame]) -> tuple[Cause, ...]:
    """The parts that an event of `metric/total` comes from, largest contribution first; () where there are none.

    Parameters
    ----------
    start, end : time stamps of the first and the last alarm.
    checks : series → its checks (`Detector.scan`).
    """
    metric, slash, part = name.partition("/")
    if not slash or part != TOTAL:
        return ()
    dimensions: dict[str, list[str]] = {}
    for other in checks:
        prefix, _, rest = other.partition("/")
        if prefix == metric and "=" in rest:
            dimensions.setdefault(rest.partition("=")[0], []).append(other)
    told: tuple[float, tuple[Cause, ...]] = (-1.0, ())
    for members in dimensions.values():
        found = _of_dimension(members, start, end, checks)
        if found:
            apart = max(abs(cause.share - cause.usual) for cause in found)
            told = max(told, (apart, found), key=lambda one: one[0])
    return told[1][:_TOLD]


def _of_dimension(members: list[str], start: int, end: int, checks: Mapping[str, pd.DataFrame]) -> tuple[Cause, ...]:
    values = {}
    for member in members:
        rows = checks[member]
        rows = rows[(rows["at"] >= start) & (rows["at"] <= end)]
        expected = rows["expected"].to_numpy(np.float64)
        known = np.isfinite(expected)
        # A part without a value added nothing to the total.
        actual = np.where(np.isfinite(rows["value"]), rows["value"], 0.0)
        values[member] = float(np.sum((actual - expected)[known])), float(np.sum(expected[known]))
    whole, usual = sum(one for one, _ in values.values()), sum(one for _, one in values.values())
    if whole == 0 or usual == 0:
        return ()
    found = [Cause(member, excess, excess / whole, level / usual) for member, (excess, level) in values.items()]
    return tuple(sorted(found, key=lambda cause: -abs(cause.excess)))
