"""What a series is made of: trend, seasons, remainder, and the breaks of its level.

Trend and seasons come from STL, for several seasons from MSTL, robust to single incidents; without a season the trend
is a local regression. The breaks are looked for in what is left when the seasons up to a week are taken off, see
`models.forecasting.change_points`.

References: Cleveland et al. 1990 (STL); Bandara, Hyndman and Bergmeir 2021 (MSTL); Wang, Smith and Hyndman 2006
(strength of trend and season).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.forecasting.change_points import Breaks, ChangePoint, find_breaks
from models.forecasting.series import Floats, Series

_LONGEST = 3_000  # last values that are looked at: minutes of a year are nobody's trend
_LEAST = 8  # values below which there is only a mean
_DAYS_FOR_A_BREAK = 28.0


@dataclass(frozen=True)
class Decomposition:
    """A series taken apart.

    Attributes
    ----------
    first : index in the series of the first value that was looked at.
    trend, remainder : shape (n,).
    seasonal : season length → what it adds, shape (n,). Trend, seasons and remainder add up to the series.
    trend_strength : from 0 (none) to 1.
    season_strengths : season length → strength from 0 to 1.
    breaks : lasting changes of level or growth, indices counted from `first`.
    """

    series: Series
    first: int
    trend: Floats
    seasonal: Mapping[int, Floats]
    remainder: Floats
    trend_strength: float
    season_strengths: Mapping[int, float]
    breaks: Breaks

    @property
    def stamps(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Time stamps of the values that were looked at."""
        return self.series.stamps(self.first, len(self.series))


def decompose(series: Series) -> Decomposition:
    """Take a series apart; every series can be, if only into its mean."""
    first = max(0, len(series) - _LONGEST)
    y = np.array(series.y[first:])
    seasons = [season for season in series.seasons if len(y) >= 2 * season]
    trend, seasonal = _components(y, seasons)
    remainder = y - trend - sum(seasonal.values(), np.zeros(len(y)))
    short = [part for season, part in seasonal.items() if not _is_year(series, season)]
    level = y - sum(short, np.zeros(len(y)))
    if y.min() > 0 and level.min() <= 0:
        level = np.maximum(level, 1e-3 * float(y.min()))  # a season that is taken off must not change the sign
    breaks = find_breaks(
        level, year=series.grid.per_year if series.grid.per_year >= 4 else 0.0, shortest=_least(series)
    )
    return Decomposition(
        series,
        first,
        trend,
        seasonal,
        remainder,
        _strength(remainder, trend),
        {season: _strength(remainder, part) for season, part in seasonal.items()},
        breaks,
    )


def _is_year(series: Series, season: int) -> bool:
    return series.grid.per_year > 0 and abs(season - series.grid.per_year) <= 0.02 * series.grid.per_year


def _least(series: Series) -> int:
    """Steps that a level must last: two seasons up to a week, four weeks of days, eight steps in any case."""
    season = max((s for s in series.seasons if not _is_year(series, s)), default=1)
    days = int(series.grid.per_year * _DAYS_FOR_A_BREAK / 365.25)
    return max(8, 2 * season, days)


def _components(y: Floats, seasons: list[int]) -> tuple[Floats, dict[int, Floats]]:
    n = len(y)
    if n < _LEAST or np.all(y == y[0]):
        return np.full(n, float(y.mean())), {}
    if not seasons:
        return _smooth(y), {}
    from statsmodels.tsa.seasonal import STL

    seasonal = {season: np.zeros(n) for season in seasons}
    rest = y.copy()
    trend = y
    for _ in range(1 if len(seasons) == 1 else 2):
        for place, season in enumerate(seasons):
            rest = rest + seasonal[season]
            jump = max(1, season // 10)
            found = STL(
                rest, period=season, seasonal=11 + 4 * place, robust=True, seasonal_deg=0, seasonal_jump=jump,
                trend_jump=jump, low_pass_jump=jump,
            ).fit(inner_iter=2, outer_iter=3)  # fmt: skip
            seasonal[season] = np.asarray(found.seasonal, dtype=np.float64)
            rest = rest - seasonal[season]
            trend = np.asarray(found.trend, dtype=np.float64)
    return trend, seasonal


def _smooth(y: Floats) -> Floats:
    """Local regression over a quarter of the series, at least nine values."""
    from statsmodels.nonparametric.smoothers_lowess import lowess

    n = len(y)
    share = min(1.0, max(9 / n, 0.25))
    index = np.arange(n, dtype=float)
    found = np.asarray(lowess(y, index, frac=share, it=3, delta=0.01 * n, return_sorted=False), dtype=np.float64)
    return found if np.all(np.isfinite(found)) else np.polyval(np.polyfit(index, y, 1), index)


def _strength(remainder: Floats, part: Floats) -> float:
    """1 − Var(remainder) / Var(part + remainder), not below 0."""
    whole = float(np.var(part + remainder))
    return float(max(0.0, 1.0 - float(np.var(remainder)) / whole)) if whole > 0 else 0.0


def shown(point: ChangePoint, found: Decomposition, text: Any) -> dict[str, Any]:
    """A change point as a JSON-ready row.

    Parameters
    ----------
    text : index of a step in the decomposition → its time stamp as it is shown.
    """
    return {
        "at": text(point.at),
        "between": [text(point.low), text(point.high)],
        "kind": _kind(point),
        "jump": _interval(*point.jump),
        "growth_before": _per_year(point.before, found),
        "growth_after": _per_year(point.after, found),
    }


def _interval(value: float, low: float, high: float) -> dict[str, float]:
    return {"value": round(value, 6), "low": round(low, 6), "high": round(high, 6)}


def _kind(point: ChangePoint) -> str:
    if point.jump[1] <= 0 <= point.jump[2]:
        return "growth"
    return "level and growth" if point.growth_changed else "level"


def _per_year(growth: float, found: Decomposition) -> float:
    """Growth per step as growth per year; per step for plain step numbers."""
    steps = found.series.grid.per_year or 1.0
    if found.breaks.relative:
        # What rounding leaves of no growth is none: + 0.0 takes its sign as well.
        return round(float(np.expm1(np.clip(np.log1p(growth) * steps, -50, 50))), 9) + 0.0
    return float(growth * steps) + 0.0


def report(found: Decomposition, text: Any) -> dict[str, Any]:
    """The findings, JSON-ready: strengths, growth, seasons' sizes, change points, and all of it in words."""
    breaks = found.breaks
    growth = [_per_year(value, found) for value in breaks.growth] if len(found.trend) >= _LEAST else []
    points = [shown(point, found, text) for point in breaks.points]
    sizes = {}
    for season, part in found.seasonal.items():
        last = part[-season:]
        sizes[str(season)] = {
            "strength": round(found.season_strengths[season], 4),
            "highest": {"at": text(len(part) - season + int(last.argmax())), "adds": round(float(last.max()), 6)},
            "lowest": {"at": text(len(part) - season + int(last.argmin())), "adds": round(float(last.min()), 6)},
        }
    return {
        "unique_id": found.series.name,
        "values": len(found.trend),
        "from": text(0),
        "to": text(len(found.trend) - 1),
        "measure": "share" if breaks.relative else "units",
        "growth_per": "year" if found.series.grid.per_year else "step",
        "growth": _interval(*growth) if growth else None,
        "trend_strength": round(found.trend_strength, 4),
        "seasons": sizes,
        "change_points": points,
        "penalty": breaks.penalty,
        "summary": _in_words(found, growth, points, sizes),
    }


def _in_words(
    found: Decomposition, growth: list[float], points: list[dict[str, Any]], sizes: Mapping[str, dict[str, Any]]
) -> list[str]:
    per = "a year" if found.series.grid.per_year else "a step"

    def said(value: float) -> str:
        return f"{value:+.1%}" if found.breaks.relative else f"{value:+.4g}"

    since = f" since {points[-1]['at']}" if points else ""
    lines = [f"{len(found.trend)} values are too few to tell growth; {_LEAST} are needed."]
    if growth:
        flat = growth[1] <= 0 <= growth[2]
        lines = [
            f"Growth{since}: {said(growth[0])} {per} (95 %: {said(growth[1])} to {said(growth[2])})"
            + (", not told from none." if flat else ".")
        ]
    for season, one in sizes.items():
        lines.append(
            f"Season of {season} steps, strength {one['strength']:.2f}: highest at {one['highest']['at']} "
            f"({one['highest']['adds']:+.4g}), lowest at {one['lowest']['at']} ({one['lowest']['adds']:+.4g})."
        )
    for one in points:
        jump = one["jump"]
        lines.append(
            f"Break at {one['at']} (95 %: {one['between'][0]} to {one['between'][1]}), {one['kind']}: level "
            f"{said(jump['value'])} (95 %: {said(jump['low'])} to {said(jump['high'])}), growth "
            f"{said(one['growth_before'])} before and {said(one['growth_after'])} {per} after."
        )
    if not points:
        lines.append("No lasting break of level or growth.")
    elif len(found.trend) < found.series.grid.per_year:
        lines.append("Less than a year of data: a season of the year would look like a change of growth.")
    return lines
