"""The forecasting methods, each behind one small interface.

A member is fitted once on the first observations of a series and then forecasts from any later origin with the
parameters it has ("forward"), which makes rolling origins cheap. Those that cannot are fitted again at each origin.

References
----------
AutoETS, AutoARIMA: Hyndman and Khandakar 2008. DynamicOptimizedTheta: Fiorucci et al. 2016. AutoCES: Svetunkov and
Kourentzes 2022. MSTL: Bandara, Hyndman and Bergmeir 2021. Prophet: Taylor and Letham 2018.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.forecasting import quick
from models.forecasting.series import Floats, Series

Path = Callable[[int, int], Floats]  # (first n observations, horizon) → forecast of shape (horizon,)
Fit = Callable[[Series, int, int], Path]  # (series, n to fit on, horizon) → Path

LONGEST_STATE_SEASON = 24  # above, state space and ARIMA models take minutes: decompose instead
_MEMORY = 1_500  # observations the classical models look back
_DAY = 86_400 * 10**9


@dataclass(frozen=True)
class Member:
    """A forecasting method.

    Attributes
    ----------
    fit : fits on the first n observations.
    least : observations it needs, whatever the season, one rolling origin included; two full seasons in any case.
    seconds : usual time of a fit, a constant part and one per observation (of the last 1,500), for the budget only.
    by_season : whether the time grows with the season length, too.
    only_seasonal : whether it cannot do without a season.
    absent : why it cannot be used here, e.g. what is not installed; "" where it can. Nothing is imported for a member
        before it is fitted.
    """

    name: str
    fit: Fit
    least: int
    seconds: tuple[float, float]
    by_season: bool = False
    only_seasonal: bool = False
    absent: Callable[[], str] = str

    def shortest(self, season: int) -> int:
        """Observations it needs with a season length."""
        return max(self.least, 2 * season) if self.least > 1 else 1

    def cost(self, n: int, season: int) -> float:
        """Rough seconds of one fit on n observations."""
        constant, each = self.seconds
        return constant + each * min(n, _MEMORY) * (season if self.by_season else 1)


def _season(series: Series) -> int:
    """The longest season that state space models can carry; 1 when none."""
    return max((season for season in series.seasons if season <= LONGEST_STATE_SEASON), default=1)


def _statsforecast() -> Any:
    # Compiled once and kept beside the library (or in the user's cache), else 15 s at every start.
    os.environ.setdefault("NIXTLA_NUMBA_CACHE", "1")
    os.environ.setdefault("NIXTLA_ID_AS_COL", "1")
    with _quiet():
        import statsforecast.models

    return statsforecast.models


def _forwarded(build: Callable[[Any, int], Any]) -> Fit:
    """A statsforecast model as a member: fitted once, moved forward to later origins."""

    def fit(series: Series, n: int, h: int) -> Path:
        with _quiet():
            start = max(0, n - _MEMORY)
            # Copies: numba compiles again, or fails, for read-only views.
            model = build(_statsforecast(), _season(series)).fit(np.array(series.y[start:n]))

        del h

        def path(upto: int, steps: int) -> Floats:
            with _quiet():
                if upto == n:
                    return np.asarray(model.predict(steps)["mean"], dtype=np.float64)
                return np.asarray(model.forward(np.array(series.y[start:upto]), steps)["mean"], dtype=np.float64)

        return path

    return fit


def _arima_fit(series: Series, n: int, h: int) -> Path:
    known = series.covariates
    if known is None:
        return _forwarded(_arima)(series, n, h)
    from models.forecasting.covariates import Design

    start = max(0, n - _MEMORY)
    seen = known.values[start:n]
    design = Design.on(seen)
    with _quiet():
        model = _arima(_statsforecast(), _season(series)).fit(np.array(series.y[start:n]), design(seen))

    def path(upto: int, steps: int) -> Floats:
        ahead = design(known.values[upto : upto + steps])
        with _quiet():
            if upto == n:
                found = model.predict(steps, X=ahead)
            else:
                before = design(known.values[start:upto])
                found = model.forward(np.array(series.y[start:upto]), steps, X=before, X_future=ahead)
        return np.asarray(found["mean"], dtype=np.float64)

    return path


def _seasonal_naive(series: Series, n: int, h: int) -> Path:
    del n, h

    def path(upto: int, steps: int) -> Floats:
        # The week rather than the day for hours; a year of days says less than the last week.
        season = max((s for s in series.seasons if s <= 400 and s * 2 <= upto and s not in (261, 365)), default=1)
        last = series.y[max(0, upto - season) : upto]
        return np.asarray(np.resize(last, steps), dtype=np.float64)

    return path


def _mstl(series: Series, n: int, h: int) -> Path:
    del h
    models = _statsforecast()
    seasons = [season for season in series.seasons if n >= 2 * season]
    if not seasons:
        raise ValueError("it needs a season, and the series has none")
    start = max(0, n - max(2_000, 12 * seasons[-1]))
    # LOESS at every few points and straight lines between, as in R: 15 times faster at the same error.
    jump = max(1, seasons[0] // 4, min(seasons[0] // 2, seasons[-1] // 40))
    smooth = {"trend_jump": jump, "low_pass_jump": jump}

    def path(upto: int, steps: int) -> Floats:
        # The decomposition is made anew at each origin: it is cheap, and a seasonal pattern moves.
        with _quiet():
            trend = models.AutoARIMA(season_length=1, approximation=True, max_p=3, max_q=3)
            model = models.MSTL(season_length=list(seasons), trend_forecaster=trend, stl_kwargs=smooth)
            model.fit(np.array(series.y[start:upto]))
            return np.asarray(model.predict(steps)["mean"], dtype=np.float64)

    return path


def _prophet(series: Series, n: int, h: int) -> Path:
    del n, h
    import pandas as pd

    if series.grid.kind == "integer":
        raise ValueError("Prophet needs dates")

    def path(upto: int, steps: int) -> Floats:
        with _quiet():
            from prophet import Prophet

            # Importing it sets the level that `_quiet` had set.
            logging.getLogger("prophet").setLevel(logging.ERROR)
            logging.getLogger("cmdstanpy").disabled = True
            start = max(0, upto - 6_000)
            years = (upto - start) / series.grid.per_year
            day = series.grid.per_year > 370
            model = Prophet(
                yearly_seasonality=(10 if years >= 2 else 5) if years >= 1.4 and series.grid.per_year > 4 else False,
                weekly_seasonality="auto" if series.grid.per_year > 200 else False,
                daily_seasonality="auto" if day else False,
                uncertainty_samples=0,
                holidays=_holidays(series, start, upto, steps),
            )
            regressors = series.covariates.own if series.covariates else 0
            for k in range(regressors):
                model.add_regressor(f"x{k}")
            known = pd.DataFrame({"ds": series.stamps(start, upto).astype("datetime64[ns]"), "y": series.y[start:upto]})
            ahead = pd.DataFrame({"ds": series.stamps(upto, upto + steps).astype("datetime64[ns]")})
            for k in range(regressors):
                assert series.covariates is not None
                known[f"x{k}"] = series.covariates.values[start:upto, k]
                ahead[f"x{k}"] = series.covariates.values[upto : upto + steps, k]
            model.fit(known)
            return np.asarray(model.predict(ahead)["yhat"], dtype=np.float64)

    return path


def _holidays(series: Series, start: int, upto: int, steps: int) -> Any:
    """Holidays in Prophet's form, each with the day before and after it; None when there are none.

    By name where two years were seen, so that each came twice; else all are one.
    """
    import pandas as pd

    if series.covariates is None or not series.covariates.holidays:
        return None
    first, last, end = (int(series.stamps(k, k + 1)[0]) // _DAY for k in (start, upto - 1, upto + steps - 1))
    around = [(day, name) for day, name in series.covariates.holidays if first - 1 <= day <= end + 1]
    if not any(day <= last for day, _ in around):
        return None
    named = last - first >= 2 * 365
    return pd.DataFrame(
        {
            "ds": pd.to_datetime([day * _DAY for day, _ in around]),
            "holiday": [name if named else "holiday" for _, name in around],
            "lower_window": -1,
            "upper_window": 1,
        }
    )


def _boosting(series: Series, n: int, h: int) -> Path:
    from models.forecasting.boosting import Booster

    if not series.seasons:
        raise ValueError("it needs a season, and the series has none")
    return Booster(series, n, h).path


class _quiet:  # noqa: N801
    """No warnings about convergence and no progress lines: what matters shows in the backtest."""

    def __enter__(self) -> None:
        self._warnings = warnings.catch_warnings()
        self._warnings.__enter__()
        warnings.simplefilter("ignore")
        self._errors = np.seterr(all="ignore")

    def __exit__(self, *details: object) -> None:
        np.seterr(**self._errors)
        self._warnings.__exit__(*details)  # type: ignore[arg-type]


def _ets(models: Any, season: int) -> Any:
    return models.AutoETS(season_length=season)


def _dot(models: Any, season: int) -> Any:
    return models.DynamicOptimizedTheta(season_length=season)


def _theta(models: Any, season: int) -> Any:
    return models.AutoTheta(season_length=season)


def _arima(models: Any, season: int) -> Any:
    return models.AutoARIMA(season_length=season, approximation=True)


def _ces(models: Any, season: int) -> Any:
    return models.AutoCES(season_length=season)


MEMBERS: Mapping[str, Member] = {
    member.name: member
    for member in (
        Member("SeasonalNaive", _seasonal_naive, 1, (0.0, 0.0)),
        Member("AutoETS", _forwarded(_ets), 9, (0.0, 6e-4)),
        Member("DynamicOptimizedTheta", _forwarded(_dot), 7, (0.0, 1e-4)),
        Member("AutoTheta", _forwarded(_theta), 7, (0.0, 4e-4)),
        Member("AutoARIMA", _arima_fit, 8, (0.1, 1.5e-4), by_season=True),
        Member("AutoCES", _forwarded(_ces), 9, (0.0, 2e-4)),
        Member("MSTL", _mstl, 9, (0.0, 5e-4), only_seasonal=True),
        Member("Prophet", _prophet, 20, (0.1, 2e-4)),
        Member("Boosting", _boosting, 60, (0.4, 0.0), only_seasonal=True),
        Member("SeasonalMean", quick.seasonal_mean, 4, (0.0, 1e-6)),
        Member("Theta", quick.theta, 7, (0.0, 3e-6)),
        Member("Growth", quick.growth, 7, (0.0, 1e-5)),
    )
}
