"""What all recommendations together came to: how many are where, what they promised, and what was earned.

Bounds of intervals are added up, as if every error were shared: the widest a sum can be, since one wrong elasticity
stands behind many recommendations.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from store.database import migrate, session
from store.recommendations import STATES, State, filtered
from store.settings import Settings
from store.tables.decisions import RecommendationRow

_ROW = RecommendationRow
_BOUNDS = ("value", "low", "high")


@dataclass(frozen=True)
class Sum:
    """A sum of numbers that each had an interval; `count` says of how many."""

    count: int = 0
    value: float = 0.0
    low: float = 0.0
    high: float = 0.0

    def __add__(self, other: Sum) -> Sum:
        return Sum(self.count + other.count, self.value + other.value, self.low + other.low, self.high + other.high)


@dataclass(frozen=True)
class Totals:
    """Figures of one product, or of all.

    Attributes
    ----------
    counts : state → number of recommendations.
    advised : how many of them named a price.
    open_revenue, open_margin : gain expected of proposals nobody has decided on, over the horizon each was asked for;
        of a product and segment that was asked about again only the newest counts.
    implemented_revenue, implemented_margin : gain that was expected of those implemented, measured or not.
    revenue : of those measured, in the measured days.
    expected_revenue : what was expected of them for the same days.
    gained_revenue : `revenue` less what was expected of the old price for the same days.
    verdicts : "above", "as expected", "below" → number of those measured.
    """

    counts: Mapping[State, int] = field(default_factory=lambda: dict.fromkeys(STATES, 0))
    advised: int = 0
    open_revenue: Sum = Sum()
    open_margin: Sum = Sum()
    implemented_revenue: Sum = Sum()
    implemented_margin: Sum = Sum()
    revenue: float = 0.0
    expected_revenue: Sum = Sum()
    gained_revenue: Sum = Sum()
    verdicts: Mapping[str, int] = field(default_factory=dict)

    @property
    def asked(self) -> int:
        """All recommendations, those that advise nothing included."""
        return sum(self.counts.values())


def totals(
    settings: Settings,
    *,
    model: str | None = None,
    version: int | None = None,
    product: str | None = None,
    caller: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> dict[str, Totals]:
    """Figures by product, in the order of their names; `since` and `until` as in `store.recommendations.page`."""
    migrate(settings)
    wanted = {"model": model, "version": version, "product": product, "caller": caller}
    gains = [*_numbers(_ROW.advice, "gain_revenue"), *_numbers(_ROW.advice, "gain_margin")]
    found = [*_numbers(_ROW.measured, "expected_revenue"), *_numbers(_ROW.measured, "gained_revenue")]
    measured = [_ROW.measured["revenue"].as_float(), _ROW.measured["verdict"].as_string()]
    columns = [_ROW.product, _ROW.segment, _ROW.state, _ROW.advice["advised"].as_boolean(), *gains, *found, *measured]
    query = filtered(sa.select(*columns), wanted, since, until).order_by(_ROW.product, _ROW.id.desc())
    with session(settings, readonly=True) as opened:
        by_product: dict[str, _Adding] = {}
        for row in opened.execute(query.execution_options(yield_per=1000)):
            name, segment, state, advised, *numbers = row
            by_product.setdefault(name, _Adding()).add(segment, state, bool(advised), numbers)
    return {name: adding.totals() for name, adding in by_product.items()}


def overall(parts: Iterable[Totals]) -> Totals:
    """All products together."""
    whole = Totals()
    for part in parts:
        whole = Totals(
            counts={state: whole.counts[state] + part.counts[state] for state in STATES},
            advised=whole.advised + part.advised,
            open_revenue=whole.open_revenue + part.open_revenue,
            open_margin=whole.open_margin + part.open_margin,
            implemented_revenue=whole.implemented_revenue + part.implemented_revenue,
            implemented_margin=whole.implemented_margin + part.implemented_margin,
            revenue=whole.revenue + part.revenue,
            expected_revenue=whole.expected_revenue + part.expected_revenue,
            gained_revenue=whole.gained_revenue + part.gained_revenue,
            verdicts={
                verdict: whole.verdicts.get(verdict, 0) + part.verdicts.get(verdict, 0)
                for verdict in sorted({*whole.verdicts, *part.verdicts})
            },
        )
    return whole


class _Adding:
    """Adds up the rows of one product, the newest first."""

    def __init__(self) -> None:
        self.counts: dict[State, int] = dict.fromkeys(STATES, 0)
        self.advised = 0
        self.sums = {name: Sum() for name in ("open_r", "open_m", "done_r", "done_m", "expected", "gained")}
        self.revenue = 0.0
        self.verdicts: dict[str, int] = {}
        self._asked_about: set[str | None] = set()

    def add(self, segment: str | None, state: State, advised: bool, numbers: Sequence[Any]) -> None:
        self.counts[state] += 1
        self.advised += advised
        revenue, margin = _sum(numbers[0:3]), _sum(numbers[3:6])
        if state == "proposed" and self._is_newest(segment):
            self._put("open_r", revenue)
            self._put("open_m", margin)
        elif state in ("implemented", "measured"):
            self._put("done_r", revenue)
            self._put("done_m", margin)
        if state == "measured":
            self._put("expected", _sum(numbers[6:9]))
            self._put("gained", _sum(numbers[9:12]))
            self.revenue += numbers[12] or 0.0
            verdict = str(numbers[13])
            self.verdicts[verdict] = self.verdicts.get(verdict, 0) + 1

    def totals(self) -> Totals:
        sums = self.sums
        return Totals(
            counts=self.counts,
            advised=self.advised,
            open_revenue=sums["open_r"],
            open_margin=sums["open_m"],
            implemented_revenue=sums["done_r"],
            implemented_margin=sums["done_m"],
            revenue=self.revenue,
            expected_revenue=sums["expected"],
            gained_revenue=sums["gained"],
            verdicts=self.verdicts,
        )

    def _put(self, name: str, more: Sum) -> None:
        self.sums[name] += more

    def _is_newest(self, segment: str | None) -> bool:
        """Whether nothing newer was proposed for the same customers: a price for all segments covers each of them."""
        if None in self._asked_about or segment in self._asked_about or (segment is None and self._asked_about):
            return False
        self._asked_about.add(segment)
        return True


def _numbers(column: Any, name: str) -> list[Any]:
    return [column[(name, bound)].as_float() for bound in _BOUNDS]


def _sum(numbers: Sequence[float | None]) -> Sum:
    value, low, high = numbers
    if value is None or low is None or high is None:
        return Sum()
    return Sum(1, value, low, high)
