"""Compile ahead what a forecast would compile when it is first needed: `python -m models.forecasting.compiled`.

Complex exponential smoothing is Python that numba compiles, a quarter of a minute for every process that comes first.
What is compiled is kept beside the library.
"""

from __future__ import annotations

import numpy as np

from features.frequency import Grid
from models.forecasting.members import MEMBERS
from models.forecasting.series import Series


def compile_all() -> None:
    """Fit such a model, forecast from the end and from an earlier moment, with a season and without."""
    y = np.cos(np.arange(24) * np.pi / 2) + np.arange(24.0)
    for seasons in ((), (4,)):
        path = MEMBERS["AutoCES"].fit(Series("compiled", y, seasons, Grid("integer", 1)), 20, 4)
        path(20, 4)
        path(24, 4)


if __name__ == "__main__":
    compile_all()
