"""One regular series as the members see it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from features.frequency import Grid

Floats = np.ndarray[Any, np.dtype[np.float64]]
Ints = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Covariates:
    """What is known in advance on the steps of a series and on those ahead; see `models.forecasting.covariates`.

    Attributes
    ----------
    names : columns of `values`: the user's, then whether a step is a holiday, the day before one, the day after one.
    values : shape (n + horizon, k), finite.
    own : how many columns are the user's.
    holidays : days since 1970 and names of the holidays around.
    notes : what was filled, and what cannot be learned from.
    """

    names: tuple[str, ...]
    values: Floats
    own: int
    holidays: tuple[tuple[int, str], ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Series:
    """A series without holes.

    Attributes
    ----------
    name : its id.
    y : values, shape (n,), finite.
    seasons : season lengths in steps, shortest first, each with at least two full cycles in `y`; may be empty.
    grid : what the time stamps lie on.
    first : place of `y[0]` on the grid.
    covariates : what is known in advance; None when nothing is.
    """

    name: str
    y: Floats
    seasons: tuple[int, ...]
    grid: Grid
    first: int = 0
    covariates: Covariates | None = None

    def __len__(self) -> int:
        return len(self.y)

    @property
    def season(self) -> int:
        """The shortest season length; 1 when there is none."""
        return self.seasons[0] if self.seasons else 1

    def stamps(self, start: int, stop: int) -> Ints:
        """Time stamps of the steps `start` to `stop` (exclusive), which may lie past the end."""
        return self.grid.at(np.arange(self.first + start, self.first + stop))

    def head(self, n: int) -> Series:
        """The first `n` observations."""
        return replace(self, y=self.y[:n])


def naive_scale(y: Floats, season: int) -> float:
    """Mean absolute error in sample of the seasonal naive forecast: the denominator of MASE (Hyndman and Koehler 2006).

    Falls back to the naive forecast where the series is shorter than two steps past a season, or repeats itself
    exactly; 0 for a constant or a single value.
    """
    for lag in dict.fromkeys((season, 1)):
        if len(y) > lag:
            value = float(np.mean(np.abs(y[lag:] - y[:-lag])))
            if value > 1e-12 * float(np.abs(y).max()):
                return value
    return 0.0


def persistence(y: Floats, season: int) -> float:
    """How long deviations last, from 0 (noise around a level, trend or season) to 1 (a random walk).

    The first autocorrelation of the seasonal differences, or of what a straight line leaves where there is no season,
    cut at 0; 0 for a constant and for fewer than four values.
    """
    n = len(y)
    if season > 1 and n >= season + 8:
        rest = y[season:] - y[:-season]
    elif n >= 4:
        index = np.arange(n, dtype=float)
        rest = y - np.polyval(np.polyfit(index, y, 1), index)
    else:
        return 0.0
    rest = rest - rest.mean()
    largest = float(np.abs(rest).max())
    if largest <= 1e-12 * float(np.abs(y).max()):
        return 0.0
    rest = rest / largest
    return min(1.0, max(0.0, float(np.sum(rest[1:] * rest[:-1]) / np.sum(rest * rest))))
