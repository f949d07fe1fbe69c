"""The bill of the coming days: by the promoted forecaster where it is there and young enough, else worked out now.

Either way it is a `ForecastModel`, so that whatever asks about budgets and months need not know which one it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from features.views.spend import SEPARATOR, TOTAL, midnight
from models.forecasting.dependence import Dependence
from models.forecasting.model import Floats, ForecastModel
from models.forecasting.options import ForecastOptions
from models.forecasting.panel_runs import forecast_all, model_of, panel_of, series_of
from store.errors import InvalidValue, UnknownEntity

BY = ("total", "workspace", "model")
QUICK = ("Theta", "Growth")
"""Members of what is worked out while somebody waits; see `models.forecasting.quick`."""
LEARNED = ("AutoETS", "DynamicOptimizedTheta", *QUICK)
"""Members of what is trained. On ledgers of the demo world MSTL and Prophet took most of the time and added nothing."""
MOST_DAYS = 365
# Days after its last one up to which a promoted forecaster is believed: what came since is in no forecast of its.
OLDEST = 8
LASTING = Dependence(share=0.3, memory=0.995, growth=0.0)
"""How errors of days hang together: what a month costs is off by more than thirty independent days would be, because a
level or a growth that is a little off stays so. Sums over two and four weeks are then covered by no less than stated:
on three worlds 90 to 96 % of them lie within 80 % (`benchmarks/spend_forecast.py`). The rolling origins of a short
ledger overlap too much to tell it of each series."""
_DAY = 86_400 * 10**9
_ROLES = {"entity": "unique_id", "time": "ds", "target": "y"}


@dataclass(frozen=True)
class Outlook:
    """A forecast of daily spending, in dollars.

    Attributes
    ----------
    model : its series are `total`, `workspace=NAME`, `model=ID`.
    as_of : the moment from which it looks ahead; today is the first day of it.
    version : of the promoted model; None where it was worked out now.
    notes : what the reader must know, one sentence each; of a promoted model they are on its card.
    """

    model: ForecastModel
    as_of: datetime
    version: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def today(self) -> datetime:
        """Midnight at the beginning of the first day that is forecast."""
        return midnight(self.as_of)

    @property
    def horizon(self) -> int:
        """Days that can be forecast, today among them."""
        return self.model.horizon - self._skip

    @property
    def _skip(self) -> int:
        """Days of the model's own that are over."""
        first = int(self.model.stamps[0, 0].astype("datetime64[ns]").astype(np.int64))
        return int((pd.Timestamp(self.today).as_unit("ns").value - first) // _DAY)

    def series(self, by: str) -> list[str]:
        """The series of a kind: of `total`, `workspace` or `model`.

        Raises
        ------
        InvalidValue : there is no such kind.
        """
        if by not in BY:
            raise InvalidValue(
                f"Spending is not forecast by {by[:40]!r}.", remedy=f"Use {', '.join(BY)}.", field="by", value=by[:40]
            )
        return [TOTAL] if by == TOTAL else [name for name in self.model.ids if name.startswith(f"{by}=")]

    def forecast(self, names: Sequence[str], days: int, levels: Sequence[float] = (80, 95)) -> pd.DataFrame:
        """Dollars a day from today on: unique_id, ds, model, forecast, lo-80, hi-80, ….

        Raises
        ------
        UnknownEntity : a series is not known. InvalidValue : more days than can be forecast.
        """
        steps = self._steps(days)
        found = self.model.forecast(names, steps, levels)
        place = found.groupby("unique_id", sort=False).cumcount()
        return found[place >= self._skip].reset_index(drop=True)

    def draws(self, name: str, days: int, count: int) -> Floats:
        """Dollars a day that may come, shape (count, days)."""
        return self.model.draws(name, count, self._steps(days), dependence=LASTING)[:, self._skip :]

    def days(self, count: int) -> list[datetime]:
        """The first days that are forecast."""
        return [self.today + timedelta(days=k) for k in range(count)]

    def knows(self, name: str) -> bool:
        return name in set(self.model.ids)

    def require(self, name: str) -> None:
        """
        Raises
        ------
        UnknownEntity : nothing was spent in that series, so that there is no forecast of it.
        """
        if not self.knows(name):
            raise UnknownEntity(
                f"Nothing is known of spending of {name[:80]!r}.",
                remedy=f"Ask for one of {', '.join(self.model.ids[:6])}.",
                field="series",
                value=name[:80],
            )

    def _steps(self, days: int) -> int:
        if not 1 <= days <= self.horizon:
            raise InvalidValue(
                f"{days} days cannot be forecast.",
                remedy=f"Ask for 1 to {self.horizon} days.",
                field="horizon",
                value=days,
            )
        return days + self._skip


def options(horizon: int, **more: object) -> dict[str, object]:
    """Options of the forecasting family for the bill: sums hold, and recent origins tell what a long horizon misses."""
    return {
        "horizon": horizon,
        "freq": "D",
        "hierarchy": SEPARATOR,
        "nonnegative": True,
        "recent_origins": True,
        **more,
    }


def worked_out(panel: pd.DataFrame, as_of: datetime, days: int, notes: Sequence[str] = ()) -> Outlook:
    """Forecast a panel now, in a few milliseconds a series.

    Parameters
    ----------
    panel : unique_id, ds, y up to the day before `as_of`.

    Raises
    ------
    InvalidValue : `days` lies outside 1 to 365.
    """
    if not 1 <= days <= MOST_DAYS:
        raise InvalidValue(
            f"{days} days cannot be forecast.", remedy=f"Ask for 1 to {MOST_DAYS} days.", field="horizon", value=days
        )
    chosen = ForecastOptions(**options(days, members=QUICK))  # type: ignore[arg-type]
    series = series_of(panel_of(panel, _ROLES, chosen), chosen)
    results = forecast_all(series, chosen)
    made = model_of(series, results, chosen, candidate="quick", selection=float("nan"))
    return Outlook(made, as_of, notes=tuple(notes))


def promoted(model: ForecastModel, version: int, as_of: datetime, days: int) -> Outlook | None:
    """A promoted forecaster as an outlook; None where it is too old, begins later, or does not reach far enough."""
    if not len(model.ids) or model.stamps.dtype.kind != "M":
        return None
    found = Outlook(model, as_of, version)
    return found if 0 <= found._skip <= OLDEST and days <= found.horizon else None
