"""When something was sold, as the column says it: by date, or by the number of a period."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.dates import read_dates
from features.parsing import dates_as_numbers
from models.pricing.panel import complete

_UNIX: Mapping[Literal["s", "ms", "us", "ns"], float] = {"s": 1e11, "ms": 1e14, "us": 1e17, "ns": np.inf}
"""Unit of Unix time → what its numbers stay below."""


def read_periods(series: pd.Series, notes: list[str]) -> pd.Series:
    """Days (`datetime64[us]`, midnight), or the numbers of periods (float64).

    Dates may be written in any of the ways that `features.dates.read_dates` reads, and as the numbers 20260131, 202601,
    2026 and Unix time.

    Parameters
    ----------
    series : none missing.
    notes : what had to be assumed is added to it.

    Raises
    ------
    InvalidValue : a value is no date, or a number is missing or infinite.
    """
    name = str(series.name)
    if pd.api.types.is_numeric_dtype(series) and not pd.api.types.is_bool_dtype(series):
        values = complete(series, "time")
        # Its role says that it is a time, whatever its name.
        form = "years" if _are_years(values) else dates_as_numbers("time", values)
        if not form:
            return pd.Series(values, index=series.index)
        notes.append(f"{name} was read as {form}.")
        if form == "Unix time":
            unit = next(unit for unit, most in _UNIX.items() if values.max() < most)
            read = pd.to_datetime(pd.Series(values.astype(np.int64), index=series.index), unit=unit)
        else:
            texts = pd.Series(values.astype(np.int64).astype(str), index=series.index)
            read = pd.to_datetime(texts, format={"YYYYMMDD": "%Y%m%d", "YYYYMM": "%Y%m", "years": "%Y"}[form])
    else:
        read = read_dates(series, name, notes)
    days: pd.Series = read.astype("datetime64[us]").dt.normalize()
    return days


def _are_years(values: NDArray[np.float64]) -> bool:
    """Whether numbers are years rather than numbers of periods, which begin at zero or one."""
    return bool(np.all((values >= 1950) & (values <= 2100) & (values == np.round(values))))
