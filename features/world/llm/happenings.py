"""What happens to the models of the demo world: prices that change, outages, a quality that drops in silence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np

from features.world.business import MICROSECONDS_PER_DAY, Array
from features.world.llm.workspaces import RUNAWAY_MODEL, RUNAWAY_USER, RUNAWAY_WORKSPACE


@dataclass(frozen=True)
class Happening:
    """One thing that happens to a model.

    Attributes
    ----------
    kind : "price" (factor until it begins; the model's own price from then on), "outage" and "overload" (share of calls
        that fail), "slow" (factor to all times), "quality" (logits added to the skill).
    size : see `kind`.
    begins, ends : microseconds since 1970.
    """

    kind: str
    model: str
    size: float
    begins: int
    ends: int

    def when(self, at: Array) -> Array:
        """Which of some moments it concerns."""
        within: Array = (at >= self.begins) & (at < self.ends)
        return within

    def told(self) -> dict[str, Any]:
        moments = {name: _iso(getattr(self, name)) for name in ("begins", "ends")}
        return {**asdict(self), **moments}


@dataclass(frozen=True)
class Runaway:
    """A user whose program calls in a loop."""

    workspace: str
    user: str
    model: str
    begins: int
    ends: int

    def told(self) -> dict[str, Any]:
        return {**asdict(self), "begins": _iso(self.begins), "ends": _iso(self.ends)}


@dataclass(frozen=True)
class Happenings:
    """Everything that happens within the period."""

    listed: Sequence[Happening]
    runaway: Runaway

    def price(self, model: str, at: Array) -> Array:
        """Factor to the model's own price at each moment."""
        return self._product("price", model, at)

    def slower(self, model: str, at: Array) -> Array:
        """Factor to all times of the model."""
        return self._product("slow", model, at)

    def shift(self, model: str, at: Array) -> Array:
        """Logits added to the model's skill."""
        shift = np.zeros(len(at))
        for one in self._of("quality", model):
            shift[one.when(at)] += one.size
        return shift

    def failing(self, model: str, at: Array, normal: float) -> Array:
        """Share of calls that fail at each moment."""
        share = np.full(len(at), normal)
        for kind in ("outage", "overload"):
            for one in self._of(kind, model):
                share[one.when(at)] = one.size
        return share

    def _product(self, kind: str, model: str, at: Array) -> Array:
        factor = np.ones(len(at))
        for one in self._of(kind, model):
            factor[one.when(at)] *= one.size
        return factor

    def _of(self, kind: str, model: str) -> list[Happening]:
        return [one for one in self.listed if one.kind == kind and one.model == model]


# kind, model, size, begins and ends as shares of the period. The last fifth is quiet but for the prices, so that what
# is forecast for it can be.
_PLAN: Sequence[tuple[str, str, float, float, float]] = (
    ("price", "simulated/medium", 1.45, 0.0, 0.45),
    ("price", "simulated/coder", 0.70, 0.0, 0.62),
    ("outage", "simulated/large", 0.75, 0.30, 0.304),
    ("slow", "simulated/medium", 3.5, 0.52, 0.545),
    ("quality", "simulated/medium", -1.8, 0.55, 0.72),
    ("overload", "simulated/small", 0.35, 0.78, 0.785),
    ("slow", "simulated-local/large", 1.6, 0.40, 0.44),
)
_RUNAWAY = (0.66, 0.69)


def happenings(start: date, days: int) -> Happenings:
    """The happenings of a period. Outages begin at ten in the morning, everything else at midnight."""
    first = (start - date(1970, 1, 1)).days

    def moment(share: float, hour: int = 0) -> int:
        return (first + round(share * days)) * MICROSECONDS_PER_DAY + hour * 3_600_000_000

    listed = []
    for kind, model, size, begins, ends in _PLAN:
        if kind in ("outage", "overload"):
            begin = moment(begins, hour=10)
            hours = round((ends - begins) * 90 * 24)
            listed.append(Happening(kind, model, size, begin, begin + max(hours, 4) * 3_600_000_000))
        else:
            listed.append(Happening(kind, model, size, moment(begins), max(moment(ends), moment(begins, hour=24))))
    begin = moment(_RUNAWAY[0])
    length = max(moment(_RUNAWAY[1]) - begin, 2 * MICROSECONDS_PER_DAY)
    return Happenings(listed, Runaway(RUNAWAY_WORKSPACE, RUNAWAY_USER, RUNAWAY_MODEL, begin, begin + length))


def _iso(microseconds: int) -> str:
    return (datetime(1970, 1, 1) + timedelta(microseconds=microseconds)).isoformat()
