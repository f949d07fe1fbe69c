"""Which season lengths a series is forecast with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from features.frequency import Grid, default_seasons
from models.forecasting.series import Floats


def seasons_of(y: Floats, grid: Grid, asked: Sequence[int] | None) -> tuple[int, ...]:
    """Season lengths, shortest first, with at least two full cycles in the series.

    Parameters
    ----------
    asked : season lengths somebody gave, taken as they are (1 = none), except those too long for the series, see
        `too_long`; where that leaves none, and also for None: those usual on the grid, of which the
        data must show some sign when they are longer than a day's worth of steps, and for plain step numbers whatever
        `detect_season` finds.
    """
    n = len(y)
    if asked is not None:
        used = tuple(sorted({int(season) for season in asked if season > 1 and n >= 2 * season}))
        if used or not too_long(asked, n):
            return used
    if grid.kind == "integer":
        found = detect_season(y)
        return (found,) if found else ()
    usual = [season for season in default_seasons(grid) if n >= 2 * season]
    # A year of days, of business days or of weeks is easily imagined: keep it only where the data repeat.
    return tuple(season for season in usual if season <= 24 or season % 24 == 0 or seasonal_strength(y, season) > 0.3)


def too_long(asked: Sequence[int] | None, n: int) -> list[str]:
    """Of the season lengths somebody gave, those not used for n values, in words: two full cycles are needed."""
    return [f"season {season} needs {2 * season} values: not used" for season in asked or () if n < 2 * season > 2]


def seasonal_strength(y: Floats, season: int) -> float:
    """Autocorrelation at the season's lag, after removing a straight line; smoothed over a fiftieth of the season."""
    n = len(y)
    if n < season + 8:
        return 0.0
    index = np.arange(n, dtype=float)
    rest = y - np.polyval(np.polyfit(index, y, 1), index)
    width = max(1, season // 50)
    if width > 1:
        rest = np.convolve(rest, np.ones(width) / width, mode="valid")
    left, right = rest[:-season], rest[season:]
    spread = float(np.sqrt(np.sum(left**2) * np.sum(right**2)))
    return float(np.sum(left * right)) / spread if spread > 0 else 0.0


def detect_season(y: Floats, longest: int = 400) -> int:
    """The shortest season length that plain numbers show, or 0: the highest peak of the autocorrelation.

    The series is differenced once; a lag counts when it is a local peak above 0.3 and above the usual 95 % band, and
    at least four cycles were seen.
    """
    n = len(y)
    if n < 16:
        return 0
    rest = np.diff(y)
    rest = rest - rest.mean()
    power = float(np.dot(rest, rest))
    if power <= 0:
        return 0
    top = min(longest, n // 4)
    if top < 3:
        return 0
    size = 1 << int(np.ceil(np.log2(2 * len(rest))))
    spectrum = np.fft.rfft(rest, size)
    acf = np.fft.irfft(spectrum * np.conj(spectrum), size)[: top + 2] / power
    bound = max(0.3, 1.96 / np.sqrt(n))
    peaks = [k for k in range(2, top + 1) if acf[k] > bound and acf[k] >= acf[k - 1] and acf[k] >= acf[k + 1]]
    if not peaks:
        return 0
    best = max(acf[k] for k in peaks)
    # The shortest among the near-highest: multiples of a season peak too.
    return next(k for k in peaks if acf[k] >= 0.9 * best)
