"""Several metrics together: values that are usual one by one and have not been seen in this combination.

The residuals of the series of a group at one time are a point; turned and stretched so that what usually goes together
is one direction (principal axes of the points so far), an isolation forest says how isolated it is. Calls up by a
tenth are usual, energy down by a tenth too; both at once may not be.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from models.anomaly.forest import Forest
from models.anomaly.tails import Tail

Floats = np.ndarray[Any, np.dtype[np.float64]]

LEAST = 60
MEMORY = 400
_FAR = 8.0
_SMALL = 0.05  # of the largest axis: directions below it are rounding, not behaviour


class Together:
    """The isolation forest of one group of series.

    Parameters
    ----------
    size : number of series, at least 2.
    """

    def __init__(self, size: int, *, false_alarms: float, seed: int = 7) -> None:
        self.size, self.false_alarms, self.seed = size, false_alarms, seed
        self._points: list[Floats] = []
        self._tail = Tail()
        self._forest: Forest | None = None
        self._axes: Floats = np.empty((0, 0))
        self._seen, self._next = 0, LEAST

    def take(self, residuals: Sequence[float] | Floats) -> float:
        """Judge the residuals of one time, shape (size,), NaN where unknown, and learn from them.

        Returns
        -------
        The chance that usual residuals are as isolated; 1 while too few times were seen.
        """
        point = np.asarray(residuals, dtype=np.float64)
        if not np.isfinite(point).any():
            return 1.0
        point = np.clip(np.where(np.isfinite(point), point, 0.0), -_FAR, _FAR)
        chance = 1.0
        if self._forest is not None:
            score = self._forest.score(point @ self._axes)
            chance = self._tail.chance(score)
            self._tail.add(score, self._tail.score_at(0.1 * self.false_alarms))
        self._seen += 1
        if chance > self.false_alarms:
            self._points.append(point)
            del self._points[:-MEMORY]
        if self._seen >= self._next:
            self._grow()
            self._next = self._seen + min(self._seen, MEMORY // 2)
        return chance

    def _grow(self) -> None:
        points = np.array(self._points)
        spread, axes = np.linalg.eigh(points.T @ points / len(points))
        kept = spread > _SMALL**2 * max(float(spread[-1]), 1e-12)
        # A sign of its own for each axis: libraries differ in it, and results must not.
        axes = axes[:, kept] * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(len(axes))])[kept]
        self._axes = axes / np.sqrt(spread[kept])
        turned = points @ self._axes
        first = self._forest is None
        self._forest = Forest.grow(turned, self.seed + self._seen)
        if first:
            for point in turned:
                self._tail.add(self._forest.score(point), math.inf)


def groups_of(names: Sequence[str]) -> dict[str, list[str]]:
    """Series that are looked at together, by the name of the group.

    Names like `metric/part` form a group per part: the metrics of one region. Others form one group of all, up to 50.
    """
    parts: dict[str, list[str]] = {}
    for name in names:
        metric, slash, part = name.partition("/")
        parts.setdefault(part if slash and metric else "all series", []).append(name)
    return {part: members for part, members in parts.items() if 2 <= len(members) <= 50}
