"""One gradient boosting model for all series of a panel: mlforecast and LightGBM.

Each series is differenced by its season (by one step where it has none) and scaled by its own mean and standard
deviation, so that series of any size are learned from together. A row's target is the next value; its features are the
last values, the values one to four seasons back, rolling means over one season, four and thirteen, what the calendar
says of the step, and what is known in advance. Steps ahead are forecast one after the other, each from the forecasts
before it (recursively). One thread and a fixed seed: the same data give the same model.

References: Montero-Manso and Hyndman 2021 (why one model for many series wins); Makridakis et al. 2022 (M5, where
global boosting did).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from models.forecasting.series import Floats, Series

if TYPE_CHECKING:
    import pandas as pd

    from models.forecasting.panel_members import Known

_MEMORY = 2_200  # observations of each series that are learned from: three years of months or six of days
_LONGEST_LAG = 24
_SETTINGS: dict[str, Any] = {
    "objective": "l1", "n_estimators": 100, "learning_rate": 0.05, "num_leaves": 15, "min_child_samples": 50,
    "colsample_bytree": 0.7, "subsample": 0.8, "subsample_freq": 1, "reg_lambda": 1.0, "n_jobs": 1,
    "deterministic": True, "force_row_wise": True, "verbosity": -1,
}  # fmt: skip


class GlobalBooster:
    """Fitted on the first observations of every series of a panel; `paths` forecasts from any later origin."""

    def __init__(self, known: Sequence[Known], h: int, *, seed: int = 7) -> None:
        del h
        import lightgbm

        with warnings.catch_warnings():
            # Its date features are named as pandas 3 will not name them; none of them is used here.
            warnings.simplefilter("ignore")
            from mlforecast import MLForecast
            from mlforecast.lag_transforms import RollingMean
            from mlforecast.target_transforms import Differences, LocalStandardScaler

            # The season that most of them have, of those that a lag can reach.
            seasons = [max((s for s in one.seasons if s <= _LONGEST_LAG), default=1) for one, _ in known]
            self.season = int(np.bincount(seasons).argmax())
            lags = sorted({*range(1, self.season + 1), *(k * self.season for k in (2, 3, 4))} | {1, 2, 3})
            widths = [width for width in (self.season, 4 * self.season, 13 * self.season) if width > 1]
            self.model = MLForecast(
                models={"y": lightgbm.LGBMRegressor(**_SETTINGS, random_state=seed)},
                freq=1,
                lags=lags,
                lag_transforms={1: [RollingMean(width, min_samples=1) for width in widths or (4, 13)]},
                target_transforms=[Differences([self.season]), LocalStandardScaler()],
            )
            self.model.fit(_rows(known, 0, self.season), static_features=[], dropna=False)

    def paths(self, known: Sequence[Known], h: int) -> list[Floats]:
        """Forecast of the `h` steps after the first observations of each series; none depends on the others."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            past, ahead = _rows(known, 0, self.season), _rows(known, h, self.season)
            found = self.model.predict(h, new_df=past, X_df=ahead if len(ahead.columns) > 2 else None)
        values = found["y"].to_numpy(np.float64).reshape(len(known), h)
        return [values[place] for place in range(len(known))]


def _rows(known: Sequence[Known], h: int, season: int) -> pd.DataFrame:
    """The observations as mlforecast reads them, or for h > 0 what is known of the h steps after them."""
    import pandas as pd

    parts = []
    for place, (one, n) in enumerate(known):
        start, stop = (max(0, n - _MEMORY), n) if h == 0 else (n, n + h)
        columns: dict[str, Any] = {"unique_id": np.full(stop - start, place), "ds": np.arange(start, stop)}
        if h == 0:
            columns["y"] = one.y[start:stop]
        columns |= calendar(one, start, stop)
        if one.covariates is not None:
            # The target is a difference to a season earlier: so is what explains it.
            values = one.covariates.values
            before = values[np.maximum(np.arange(start, stop) - season, 0)]
            columns |= {f"known{k}": own for k, own in enumerate(values[start:stop].T)}
            columns |= {f"change{k}": own for k, own in enumerate((values[start:stop] - before).T)}
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


def calendar(series: Series, start: int, stop: int) -> dict[str, Floats]:
    """What the calendar says of the steps from `start` to `stop` (exclusive): the place in the day, the week and the
    month, and the year as two waves; only what a series on this grid can know of.
    """
    grid = series.grid
    if grid.kind == "integer":
        place = np.arange(series.first + start, series.first + stop)
        return {f"phase{season}": (place % season).astype(float) for season in series.seasons[:1]}
    stamps = series.stamps(start, stop).astype("datetime64[ns]")
    day = stamps.astype("datetime64[D]")
    found: dict[str, Floats] = {}
    if grid.per_year > 370:
        found["hour"] = (stamps - day).astype("timedelta64[m]").astype(float) / 60.0
    if grid.per_year > 200:
        found["weekday"] = ((day.astype(np.int64) + 3) % 7).astype(float)
        found["day"] = (day - day.astype("datetime64[M]")).astype(float) + 1.0
    if grid.per_year > 1:
        along = (day - day.astype("datetime64[Y]").astype("datetime64[D]")).astype(float) / 365.25
        for wave in (1, 2):
            found[f"sin{wave}"] = np.sin(2 * np.pi * wave * along)
            found[f"cos{wave}"] = np.cos(2 * np.pi * wave * along)
    return found
