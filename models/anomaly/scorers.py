"""The detectors: each gives one number of 0 or more for the next value, higher for the more unusual.

How rare a score is, and so what an alarm is, its own past scores say; see `models.anomaly.tails`.

==============  ======================================================================================================
zscore          distance from the median of the last seasons, in median absolute deviations
iqr             change against a season ago, in interquartile ranges of such changes (Tukey 1977, around the median)
seasonal        residual against level and season, in usual residuals
shift           exponentially weighted mean of these residuals: small, but for days on one side (Roberts 1959)
forest          isolation forest over residual, residual before, mean and roughness of the last season
autoencoder     error of reconstructing the last two seasons (extra `deep` for learning it)
==============  ======================================================================================================
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from models.anomaly.forest import SAMPLE, Forest
from store.errors import InvalidValue

Floats = np.ndarray[Any, np.dtype[np.float64]]
USUAL = ("zscore", "iqr", "seasonal", "shift", "forest")
ALL = (*USUAL, "autoencoder")
WEIGHTS = {"zscore": 0.5, "iqr": 1.0, "seasonal": 8.0, "shift": 2.0, "forest": 0.5, "autoencoder": 1.0}
"""How much each counts in the ensemble: what knows the season counts most."""
_SHIFT_RATE = 0.25
_CALM = 4.0  # residuals count at most so much in the shift, so that one spike is no shift


@dataclass(frozen=True)
class View:
    """The next value and what came before it, as every detector sees it.

    Attributes
    ----------
    value : on the scale that the detector works on (logarithms where all values are positive).
    before : what was usual on that scale, oldest first: alarms replaced by what was expected; NaN where missing.
    residual : of the value, in usual residuals.
    residuals : of the values before, NaN where missing; as long as `before`.
    season : 1 for none.
    """

    value: float
    before: Floats
    residual: float
    residuals: Floats
    season: int


class Scorer(Protocol):
    """One detector."""

    name: str

    def learn(self, before: Floats, residuals: Floats, season: int, seed: int) -> None:
        """Learn anew from the past, where there is something to learn."""

    def score(self, view: View) -> float:
        """0 or more; NaN where it has no opinion yet."""

    def state(self) -> dict[str, Any]:
        """JSON-ready."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` gave."""


class _Stateless:
    name = ""

    def learn(self, before: Floats, residuals: Floats, season: int, seed: int) -> None:
        """Nothing: all it needs is in the view."""

    def state(self) -> dict[str, Any]:
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Nothing was kept."""


class ZScore(_Stateless):
    name = "zscore"

    def score(self, view: View) -> float:
        recent = _known(view.before[-max(4 * view.season, 28) :])
        if len(recent) < 4:
            return math.nan
        middle = float(np.median(recent))
        return abs(view.value - middle) / _spread(np.abs(recent - middle), middle)


class Iqr(_Stateless):
    name = "iqr"

    def score(self, view: View) -> float:
        lag = view.season
        if len(view.before) < lag + 8 or not math.isfinite(view.before[-lag]):
            return math.nan
        recent = view.before[-max(9 * lag, 56) :]
        changes = _known(recent[lag:] - recent[:-lag])
        if len(changes) < 8:
            return math.nan
        low, middle, high = np.percentile(changes, [25, 50, 75])
        change = view.value - float(view.before[-lag])
        apart = _spread(np.abs(changes - middle), view.value)
        return abs(change - float(middle)) / max(float(high - low), apart)


class Seasonal(_Stateless):
    name = "seasonal"

    def score(self, view: View) -> float:
        return abs(view.residual)


class Shift(_Stateless):
    name = "shift"

    def score(self, view: View) -> float:
        recent = view.residuals[-16:]
        recent = np.clip(np.where(np.isfinite(recent), recent, 0.0), -_CALM, _CALM)
        now = min(max(view.residual, -_CALM), _CALM)
        weights = (1.0 - _SHIFT_RATE) ** np.arange(len(recent), 0, -1)
        return abs(_SHIFT_RATE * (now + float(np.dot(weights, recent))))


class Isolation:
    """Forest over what the last residuals look like; the points it grew from are what is kept of it."""

    name = "forest"

    def __init__(self) -> None:
        self._points: Floats | None = None
        self._seed = 0
        self._forest: Forest | None = None

    def learn(self, before: Floats, residuals: Floats, season: int, seed: int) -> None:
        del before
        span = max(season, 7)
        places = [k for k in range(span, len(residuals)) if math.isfinite(residuals[k])]
        if len(places) < 16:
            return
        chosen = np.sort(np.random.default_rng(seed).permutation(len(places))[: 2 * SAMPLE])
        self._grow(np.array([_shape(residuals[: places[k] + 1], span) for k in chosen]), seed)

    def score(self, view: View) -> float:
        if self._forest is None:
            return math.nan
        span = max(view.season, 7)
        return self._forest.score(_shape(np.append(view.residuals[-span:], view.residual), span))

    def state(self) -> dict[str, Any]:
        return {} if self._points is None else {"points": self._points.tolist(), "seed": self._seed}

    def restore(self, state: Mapping[str, Any]) -> None:
        if state:
            self._grow(np.array(state["points"], dtype=np.float64), int(state["seed"]))

    def _grow(self, points: Floats, seed: int) -> None:
        self._points, self._seed = points, seed
        self._forest = Forest.grow(points, seed)


def _shape(residuals: Floats, span: int) -> Floats:
    """What the end of a series of residuals looks like: last, last but one, mean and roughness of the last season."""
    last = residuals[-span:]
    last = np.clip(np.where(np.isfinite(last), last, 0.0), -8.0, 8.0)
    rough = float(np.abs(np.diff(last)).mean()) if len(last) > 1 else 0.0
    return np.array([last[-1], last[-2] if len(last) > 1 else 0.0, float(last.mean()), math.log(rough + 0.05)])


def _known(values: Floats) -> Floats:
    return values[np.isfinite(values)]


def _spread(distances: Floats, level: float) -> float:
    """Median absolute deviation as a standard deviation, never 0: a constant's is a thousandth of its level.

    Of small counts, most are the median itself: three quarters of what the mean deviation says is then the least.
    """
    return max(1.4826 * float(np.median(distances)), 0.94 * float(distances.mean()), 1e-3 * abs(level), 1e-9)


def scorers(names: Sequence[str]) -> list[Scorer]:
    """The detectors of those names, in order.

    Raises
    ------
    InvalidValue : there is none of a name, none was named, or one twice.
    """
    known: dict[str, type[Any]] = {kind.name: kind for kind in (ZScore, Iqr, Seasonal, Shift, Isolation)}
    found: list[Scorer] = []
    for name in names:
        if name == "autoencoder":
            from models.anomaly.autoencoder import Autoencoder

            found.append(Autoencoder())
        elif name in known:
            found.append(known[name]())
        else:
            raise InvalidValue(
                f"There is no detector {name!r}.", remedy=f"Choose among {', '.join(ALL)}.", field="detectors",
                value=name,
            )  # fmt: skip
    if not found or len(set(names)) < len(names):
        raise InvalidValue(
            f"detectors={list(names)}: {'a name occurs twice' if found else 'none is named'}.",
            remedy=f"Name each once, among {', '.join(ALL)}.",
            field="detectors",
            value=list(names),
        )
    return found
