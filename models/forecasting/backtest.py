"""Rolling origins: what a member would have forecast at earlier moments, and what came."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from models.forecasting.members import Member, Path
from models.forecasting.series import Floats, Series

MOST_ORIGINS = 6
_MANY = 400  # observations from which more than three origins are affordable and worth it


@dataclass(frozen=True)
class MemberRun:
    """One member on one series.

    Attributes
    ----------
    path : forecast from the end of the series, shape (h,).
    origins : numbers of observations known at the rolling origins, ascending, shape (k,).
    paths : forecasts from the rolling origins, shape (k, h).
    seconds : wall clock of all of it.
    """

    path: Floats
    origins: tuple[int, ...]
    paths: Floats
    seconds: float = 0.0


def origins_of(n: int, h: int, season: int) -> tuple[int, ...]:
    """Rolling origins for a series of n observations, ascending; empty when too short for any.

    Half a horizon apart, the last one a full horizon before the end. Three where at least two seasons (eight
    observations) remain to fit on; from 400 observations on up to six, as long as the first keeps 60 % of the series.
    A series too short for a full horizon gets one origin whose later steps have not been seen yet.
    """
    least = max(2 * season, 8)
    stride = max(1, h // 2)
    wanted = max(3, 1 + int((0.4 * n - h) // stride)) if n >= _MANY else 3
    origins = [n - h - k * stride for k in range(min(wanted, MOST_ORIGINS))]
    kept = tuple(sorted(origin for origin in origins if origin >= least))
    if kept:
        return kept
    if n > least:
        return (max(least, n - h),)
    return (n - max(1, min(h, n // 2)),) if n >= 4 else ()


def recent_origins(n: int, season: int) -> tuple[int, ...]:
    """Up to six rolling origins close to the end, ascending: for horizons about as long as the series itself.

    A season apart, or without one a twelfth of the series; at least half of the series, and four seasons (eight
    observations), remain to fit on. Later steps of the horizon have not been seen from any of them.
    """
    stride = season if season > 1 else max(n // 12, 1)
    least = max(n // 2, 4 * season, 8)
    return tuple(sorted(n - k * stride for k in range(1, MOST_ORIGINS + 1) if n - k * stride >= least))


def actuals(y: Floats, origins: Sequence[int], h: int) -> Floats:
    """What came after each origin, shape (k, h); NaN where the series had ended."""
    seen = np.full((len(origins), h), np.nan)
    for row, origin in enumerate(origins):
        after = y[origin : origin + h]
        seen[row, : len(after)] = after
    return seen


def run_member(
    member: Member, series: Series, h: int, origins: Sequence[int], known: Mapping[int, Floats] | None = None
) -> MemberRun:
    """Forecast from the end of the series and from its rolling origins.

    The member is fitted twice: at the first rolling origin, moved forward from there without a new fit (parameters
    older than they need be, never younger), and at the end.

    Parameters
    ----------
    known : paths already computed for this very series, by origin; they need no second fit.

    Raises
    ------
    ValueError : the member gave something that is not finite. Whatever else the member raises passes through.
    """
    started = time.perf_counter()
    n = len(series)
    done = dict(known or {})
    missing = [origin for origin in origins if origin not in done]
    if missing:
        path: Path = member.fit(series, missing[0], h)
        done |= {origin: path(origin, h) for origin in missing}
    final = done[n] if n in done else member.fit(series, n, h)(n, h)
    paths = np.array([done[origin] for origin in origins]).reshape(len(origins), h)
    if final.shape != (h,) or not np.all(np.isfinite(final)) or not np.all(np.isfinite(paths)):
        raise ValueError(f"{member.name} gave a forecast that is not finite")
    return MemberRun(final, tuple(origins), paths, time.perf_counter() - started)
