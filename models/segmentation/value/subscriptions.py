"""Lifetime value of subscribers: price × margin × probability of still being there × discount, added up by period.

What is known now says much about the next weeks and little about next year: each sign of behaviour has one effect that
fades with the distance from the moment (half of it in two periods) and one that stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.segmentation.value.survival import Floats, Hazard, fit_hazard
from models.segmentation.value.terms import Terms, Worth

PERIOD_DAYS = 30.0
MONTH_DAYS = 365.25 / 12
MOST_ROWS = 150_000
_HALVED_AFTER = 2.0
_Z = 1.959964
_ROWS_AT_ONCE = 2_000

STATE = ("tenure_days", "monthly_price", "contract_months", "days_to_contract_end")
SIGNS: Mapping[str, tuple[float, float, bool]] = {
    # name → lowest, highest, whether log(1 + x)
    "api_calls_trend_28d": (-1.6, 0.7, False),
    "active_users_trend_28d": (-1.6, 0.7, False),
    "idle_days_28d": (0.0, 1.0, False),
    "logins_28d": (0.0, 1e6, True),
    "tickets_90d": (0.0, 1e3, True),
    "late_invoices_90d": (0.0, 1e3, True),
}
COLUMNS = (*STATE, *SIGNS)
NAMES = (
    "constant",
    "log tenure",
    "log price",
    "contract running",
    "contract ending",
    *(f"{name}, fading" for name in SIGNS),
    *(f"{name}, lasting" for name in SIGNS),
)


@dataclass(frozen=True)
class SubscriptionValue:
    """What subscribers are worth.

    Attributes
    ----------
    fill : what stands in for a missing value of each column: the median of the training rows.
    """

    hazard: Hazard
    fill: Mapping[str, float]
    terms: Terms
    notes: tuple[str, ...] = ()

    kind = "subscriptions"
    columns = COLUMNS

    def worth(self, columns: Mapping[str, Floats], *, intervals: bool = True) -> Worth:
        """Value, monthly payments within the horizon, probability of being there at its end, interval of the value.

        The interval (delta method) is of the expected value: it tells how well the hazards are known.
        """
        known = self._known(columns)
        periods = max(1, round(self.terms.value_days / PERIOD_DAYS))
        ahead = max(1, round(self.terms.horizon_days / PERIOD_DAYS))
        parts = [
            self._part({name: values[start : start + _ROWS_AT_ONCE] for name, values in known.items()}, periods, ahead,
                       intervals)
            for start in range(0, len(known["tenure_days"]), _ROWS_AT_ONCE)
        ]  # fmt: skip
        if not parts:
            return Worth(np.empty(0), np.empty(0), np.empty(0), np.empty(0), np.empty(0))
        value, paid, there, low, high = (np.concatenate(column) for column in zip(*parts, strict=True))
        return Worth(value, paid, there, low, high) if intervals else Worth(value, paid, there)

    def outlook(self, columns: Mapping[str, Floats], days: float) -> tuple[Floats, Floats]:
        """Monthly payments and amount expected within `days`, not discounted and without margin."""
        known = self._known(columns)
        staying = self.survival(columns, max(1, round(days / PERIOD_DAYS)))
        # Days that do not make whole periods count as the part of them that they are.
        scale = days / (staying.shape[1] * PERIOD_DAYS)
        months = _share(staying).sum(axis=1) * scale * PERIOD_DAYS / MONTH_DAYS
        return months, months * known["monthly_price"]

    def survival(self, columns: Mapping[str, Floats], periods: int) -> Floats:
        """Probability of still being there after each period of 30 days, shape (customers, periods)."""
        gone = np.exp(self.hazard.log_cumulative(self._ahead(self._known(columns), periods)))
        return np.asarray(np.exp(-np.cumsum(gone, axis=1)))

    def _part(
        self, known: Mapping[str, Floats], periods: int, ahead: int, intervals: bool
    ) -> tuple[Floats, Floats, Floats, Floats, Floats]:
        longest = max(periods, ahead)
        columns = self._ahead(known, longest)
        gone = np.exp(self.hazard.log_cumulative(columns))
        staying = np.exp(-np.cumsum(gone, axis=1))
        share = _share(staying)
        middle = (np.arange(periods, dtype=np.float64) + 0.5) * PERIOD_DAYS
        factor = self.terms.factor(middle) * self.terms.margin * PERIOD_DAYS / MONTH_DAYS
        months = share[:, :periods] @ factor
        value = known["monthly_price"] * months
        paid = share[:, :ahead].sum(axis=1) * PERIOD_DAYS / MONTH_DAYS
        low = high = value
        if intervals:
            slope = -staying[:, :, None] * np.cumsum(gone[:, :, None] * self.hazard.scaled(columns), axis=1)
            slope = slope[:, :periods]
            before = np.concatenate([np.zeros_like(slope[:, :1]), slope[:, :-1]], axis=1)
            by_beta = np.einsum("ijk,j->ik", (slope + before) / 2, factor)
            error = np.sqrt(np.maximum(np.einsum("ij,jk,ik->i", by_beta, self.hazard.covariance, by_beta), 0.0))
            # On the logarithm: value is positive.
            ratio = np.exp(_Z * error / np.maximum(months, 1e-12))
            low, high = value / ratio, value * ratio
        return value, paid, staying[:, ahead - 1], low, high

    def _ahead(self, known: Mapping[str, Floats], periods: int) -> Floats:
        """Columns of the hazard in every period to come, shape (customers, periods, len(NAMES))."""
        size = len(known["tenure_days"])
        tiled = {name: np.repeat(values, periods) for name, values in known.items()}
        return design(tiled, np.tile(np.arange(periods), size)).reshape(size, periods, len(NAMES))

    def _known(self, columns: Mapping[str, Floats]) -> dict[str, Floats]:
        known = {}
        for name in COLUMNS:
            values = np.asarray(columns[name], dtype=np.float64)
            known[name] = np.where(np.isnan(values), self.fill[name], values)
        known["monthly_price"] = np.maximum(known["monthly_price"], 0.0)
        return known

    def to_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "hazard": self.hazard.to_dict(),
            "fill": dict(self.fill),
            "period_days": PERIOD_DAYS,
            "terms": self.terms.to_dict(),
            "notes": list(self.notes),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> SubscriptionValue:
        return cls(Hazard.from_dict(data["hazard"]), data["fill"], Terms(**data["terms"]), tuple(data["notes"]))


def design(known: Mapping[str, Floats], period: NDArray[np.int64]) -> Floats:
    """Columns of the hazard in the `period`-th 30 days from now (0 is the next), shape (rows, len(NAMES))."""
    begin = period * PERIOD_DAYS
    tenure = np.maximum(known["tenure_days"], 0.0) + begin
    term = np.maximum(known["contract_months"], 1.0) * MONTH_DAYS
    bound = known["contract_months"] > 1
    # Days to the end of the term that runs when the period begins.
    ending = bound & (np.mod(known["days_to_contract_end"] - begin, term) <= PERIOD_DAYS)
    fading = 0.5 ** (period / _HALVED_AFTER)
    signs = []
    for name, (low, high, log) in SIGNS.items():
        held = np.clip(known[name], low, high)
        signs.append(np.log1p(held) if log else held)
    return np.column_stack(
        [
            np.ones(len(tenure)),
            np.log1p(tenure / 60.0),
            np.log(np.maximum(known["monthly_price"], 1.0)),
            (bound & ~ending).astype(np.float64),
            ending.astype(np.float64),
            *(fading * sign for sign in signs),
            *signs,
        ]
    )


@dataclass(frozen=True)
class Followed:
    """How long customers were followed from a moment on.

    Attributes
    ----------
    observed : days until the customer left or was last seen.
    left : 1 where they left, 0 where they were still there.
    limit : days until they would have been lost from sight in any case.
    """

    observed: Floats
    left: Floats
    limit: Floats

    def periods(self) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Number of periods that were watched to their end, and whether the customer left in the last of them.

        The last period counts for nobody where it was not watched to its end: to count those who left in the part that
        was seen, and not those who stayed, would make everybody look shorter-lived.
        """
        whole = np.floor(self.limit / PERIOD_DAYS + 1e-9)
        until = np.floor(self.observed / PERIOD_DAYS)
        gone = (self.left > 0) & (until < whole)
        return np.where(gone, until + 1, np.minimum(until, whole)).astype(np.int64), gone


def fit_subscriptions(
    columns: Mapping[str, Floats], seen: Followed, who: NDArray[np.intp], terms: Terms, *, seed: int = 0
) -> SubscriptionValue:
    """Fit the hazard to customers seen at one or more moments.

    Parameters
    ----------
    columns : `COLUMNS`, one value per customer and moment; NaN where not known.
    who : code of the customer.

    Raises
    ------
    TrainingError : no period was observed to its end.
    """
    fill = {name: _median(np.asarray(columns[name], dtype=np.float64)) for name in COLUMNS}
    draft = SubscriptionValue(_NOTHING, fill, terms)
    known = draft._known(columns)
    periods, left = seen.periods()
    rows, places = _periods(periods, seed)
    stacked = design({name: values[rows] for name, values in known.items()}, places)
    gone = left[rows] & (places == periods[rows] - 1)
    codes = np.unique(who[rows], return_inverse=True)[1]
    hazard = fit_hazard(NAMES, stacked, gone.astype(np.float64), codes)
    notes = []
    if hazard.events < 10:
        notes.append(f"Only {hazard.events} customers left: how long the others stay is hardly known.")
    return SubscriptionValue(hazard, fill, terms, tuple(notes))


def _periods(count: NDArray[np.int64], seed: int) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """Row and number of every observed period; a random part of the customers' moments where there are too many."""
    order: NDArray[np.intp] = np.arange(len(count))
    if count.sum() > MOST_ROWS:
        order = np.random.default_rng(seed).permutation(len(count))
        order = np.sort(order[: max(1, int(np.searchsorted(np.cumsum(count[order]), MOST_ROWS)))])
    repeated = count[order]
    rows = np.repeat(order, repeated)
    places = np.arange(len(rows)) - np.repeat(np.cumsum(repeated) - repeated, repeated)
    return rows, places


def _median(values: Floats) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else 0.0


def _share(staying: Floats) -> Floats:
    """Share of each period that is stayed, from the probabilities of being there at the ends."""
    before = np.concatenate([np.ones((len(staying), 1)), staying[:, :-1]], axis=1)
    return np.asarray((before + staying) / 2)


_EMPTY = np.empty(0)
_NOTHING = Hazard((), _EMPTY, _EMPTY, _EMPTY, _EMPTY, events=0, rows=0)
