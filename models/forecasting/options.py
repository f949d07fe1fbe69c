"""What a forecast may be told; everything has a default that suits strangers' data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from features.holiday_calendar import check_country
from models.forecasting.hierarchy import check_separator
from store.errors import InvalidValue


@dataclass(frozen=True)
class ForecastOptions:
    """Options of a forecast and of the forecasting family. JSON-ready: lists become tuples.

    Attributes
    ----------
    horizon : steps ahead.
    freq : frequency of the series, e.g. "h", "30min", "D", "MS", 1; None to infer it.
    seasons : season lengths in steps, e.g. (24, 168); None for what is usual and visible; () or (1,) for none.
    levels : levels of the intervals, in percent.
    members : names of members to use; None for those that suit the series.
    also : names of members to use besides the usual ones.
    nonnegative : whether forecasts and intervals stop at zero; None: where no value of the series is negative.
    seconds_per_series : time budget. Members whose usual cost does not fit are left out from the start, and none is
        begun once it is spent; the seasonal naive forecast always is.
    threads : processes that work on series in parallel.
    holdout : how many of the last steps the family judges on; None for the horizon.
    cache : folder that keeps member forecasts between runs; None for none.
    fill : how holes are filled: "interpolate" or "zero".
    exog : numeric or boolean columns that are known over the horizon, too; see `features.panel_exog`.
    hierarchy : character between the parts of an id, e.g. "/", where series are sums of others: their forecasts
        then add up, see `models.forecasting.hierarchy`; None to leave them as they are.
    recent_origins : whether rolling origins lie close to the end, rather than a horizon before it, so that a horizon
        about as long as the series leaves some to learn from; see `models.forecasting.backtest`.
    holidays : country whose public holidays matter, and perhaps a part of it: "DE", "DE-BY"; for days and finer steps.
    """

    horizon: int = 90
    freq: str | int | None = None
    seasons: tuple[int, ...] | None = None
    levels: tuple[float, ...] = (80, 95)
    members: tuple[str, ...] | None = None
    also: tuple[str, ...] = ()
    nonnegative: bool | None = None
    seconds_per_series: float = 60.0
    threads: int = 1
    holdout: int | None = None
    cache: str | None = None
    fill: str = "interpolate"
    exog: tuple[str, ...] = ()
    holidays: str | None = None
    hierarchy: str | None = None
    recent_origins: bool = False

    def __post_init__(self) -> None:
        for name in ("seasons", "levels", "members", "also", "exog"):
            value = getattr(self, name)
            if isinstance(value, Sequence) and not isinstance(value, tuple | str):
                object.__setattr__(self, name, tuple(value))
        if not 1 <= self.horizon <= 10_000:
            raise InvalidValue(
                f"horizon={self.horizon} is not possible.", remedy="Use 1 to 10000 steps.", field="horizon",
                value=self.horizon,
            )  # fmt: skip
        for level in self.levels:
            check_level(level)
        for season in self.seasons or ():
            if season < 1 or season != int(season):
                raise InvalidValue(
                    f"season={season} is not possible.", remedy="Give whole numbers of steps.", field="seasons",
                    value=season,
                )  # fmt: skip
        if self.holdout is not None and self.holdout < 1:
            raise InvalidValue(
                f"holdout={self.holdout} is not possible.", remedy="Give at least one step.", field="holdout",
                value=self.holdout,
            )  # fmt: skip
        if self.holidays is not None:
            check_country(self.holidays)
        if self.hierarchy is not None:
            check_separator(self.hierarchy)


def check_level(level: float) -> None:
    """Raise InvalidValue unless the level of an interval lies between 0 and 100, exclusive."""
    if not 0 < float(level) < 100:
        raise InvalidValue(
            f"level={level} is not possible.",
            remedy="Give levels in percent between 0 and 100, e.g. 80,95.",
            field="levels",
            value=level,
        )


def level_name(level: float) -> str:
    """80 → "80", 99.5 → "99.5": the suffix of the interval columns `lo-80`, `hi-80`."""
    return f"{float(level):g}"
