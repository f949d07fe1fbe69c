"""What is known in advance about a series: columns of the user and public holidays, on its own steps.

A member forecasting from an origin uses the rows before it to learn and the rows of the horizon to apply what it
learned, never a later one. At a rolling origin the values that came are used, since they were known in advance by
definition: whoever gives a weather *forecast* for the future and *measured* weather for the past will find the rolling
errors, and the intervals made from them, too good.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from features.holiday_calendar import FLAGS, days_of, holiday_days, holiday_flags
from features.panel_exog import values_on
from models.forecasting.series import Covariates, Floats, Series

Table = Mapping[str, pd.DataFrame]  # series → rows with column `ds` (integers) and the exogenous columns
_RANK = 1e-6


def with_covariates(
    series: Series, table: Table | None, names: tuple[str, ...], holidays: str | None, horizon: int
) -> Series:
    """The series with what is known about its steps and the `horizon` after them.

    Raises
    ------
    InvalidValue : a value is missing, see `features.panel_exog`.
    """
    n = len(series)
    columns = [np.empty((n + horizon, 0))]
    notes: list[str] = []
    days: Mapping[int, str] = {}
    if names:
        rows = (table or {})[series.name]
        places = series.grid.position(rows["ds"].to_numpy(np.int64))[0] - series.first
        values = rows[list(names)].to_numpy(np.float64)
        found, notes = values_on(places, values, names, series.name, n, horizon, series.grid, series.first)
        columns.append(found)
        for k, name in enumerate(names):
            if np.all(found[:n, k] == found[0, k]):
                notes.append(f"{name}: always {found[0, k]:g} in the past, so that nothing can be learned from it")
    if holidays is not None:
        stamps = series.stamps(0, n + horizon)
        day = days_of(stamps)
        days = holiday_days(holidays, int(day[0]) - 7, int(day[-1]) + 7)
        columns.append(holiday_flags(stamps, days, series.grid))
    known = Covariates(
        (*names, *(FLAGS if holidays is not None else ())),
        np.concatenate(columns, axis=1),
        len(names),
        tuple(days.items()),
        tuple(notes),
    )
    return Series(series.name, series.y, series.seasons, series.grid, series.first, known)


@dataclass(frozen=True)
class Design:
    """Columns that a linear model can be fitted on, standardised as they were where it is fitted.

    Attributes
    ----------
    columns : which of the covariates; those that never change there, or repeat others, are left out.
    centre, spread : mean and standard deviation of each, shape (len(columns),).
    """

    columns: tuple[int, ...]
    centre: Floats
    spread: Floats

    @classmethod
    def on(cls, values: Floats) -> Design:
        """The design for the rows that a model is fitted on, shape (n, k)."""
        centre, spread = values.mean(axis=0), values.std(axis=0)
        kept: list[int] = []
        basis = np.empty((len(values), 0))
        for k in range(values.shape[1]):
            if spread[k] <= 1e-12 * max(1.0, abs(float(centre[k]))):
                continue
            column = (values[:, k] - centre[k]) / spread[k]
            rest = column - basis @ (basis.T @ column)
            size = float(np.linalg.norm(rest))
            if size < _RANK * np.sqrt(len(values)):
                continue
            basis = np.column_stack((basis, rest / size))
            kept.append(k)
        return cls(tuple(kept), centre[kept], spread[kept])

    def __call__(self, values: Floats) -> np.ndarray[Any, np.dtype[np.float64]] | None:
        """Rows for the model, shape (m, len(columns)); None when no column is left."""
        if not self.columns:
            return None
        return np.ascontiguousarray((values[:, self.columns] - self.centre) / self.spread)
