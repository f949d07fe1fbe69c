"""Lifetime value of buyers: expected purchases (BG/NBD) times expected spend (Gamma-Gamma), discounted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.segmentation.value.bgnbd import BgNbd, fit_bgnbd
from models.segmentation.value.gamma_gamma import GammaGamma, fit_gamma_gamma
from models.segmentation.value.likelihood import Floats
from models.segmentation.value.terms import Terms, Worth

COLUMNS = ("repeats", "last_days", "age_days", "repeat_mean", "mean_amount")
FEWEST = 10
_WEEK = 7.0
_STEP_DAYS = 30.0


@dataclass(frozen=True)
class TransactionValue:
    """What buyers are worth.

    Where fewer than ten customers bought twice, differences between customers cannot be told apart from chance: then
    everybody buys at one pooled rate and spends the mean amount, and the notes say so.

    Attributes
    ----------
    purchases : None where there are too few repeat purchases; time is in weeks.
    spend : None where there are too few amounts.
    rate : repeat purchases per day of all customers together, half a purchase added (Jeffreys).
    mean_spend : mean amount of a purchase.
    """

    purchases: BgNbd | None
    spend: GammaGamma | None
    rate: float
    mean_spend: float
    terms: Terms
    notes: tuple[str, ...] = ()

    kind = "transactions"
    columns = COLUMNS

    def worth(self, columns: Mapping[str, Floats]) -> Worth:
        """Value within `terms`, purchases within its horizon, and the probability of still being a customer.

        Parameters
        ----------
        columns : `COLUMNS`, one value per customer; NaN counts as nothing known: a customer of today.
        """
        known = {name: np.nan_to_num(np.asarray(columns[name], dtype=np.float64)) for name in COLUMNS}
        x = np.maximum(known["repeats"], 0.0)
        age = np.maximum(known["age_days"], 0.0)
        last = np.clip(known["last_days"], 0.0, age)
        ends = np.append(np.arange(_STEP_DAYS, self.terms.value_days, _STEP_DAYS), self.terms.value_days)
        all_ends = np.append(ends, self.terms.horizon_days)
        bought, alive = self._purchases(x, last, age, all_ends)
        steps = np.diff(bought[:, :-1], axis=1, prepend=0.0)
        middle = ends - np.diff(ends, prepend=0.0) / 2
        spend = self._spend(x, known["repeat_mean"])
        value = self.terms.margin * spend * (steps @ self.terms.factor(middle))
        return Worth(value, bought[:, -1], alive)

    def outlook(self, columns: Mapping[str, Floats], days: float) -> tuple[Floats, Floats]:
        """Purchases and amount expected within `days`, not discounted and without margin."""
        known = {name: np.nan_to_num(np.asarray(columns[name], dtype=np.float64)) for name in COLUMNS}
        bought, _ = self._purchases(known["repeats"], known["last_days"], known["age_days"], np.array([days]))
        return bought[:, 0], bought[:, 0] * self._spend(known["repeats"], known["repeat_mean"])

    def _purchases(self, x: Floats, last: Floats, age: Floats, ends: Floats) -> tuple[Floats, Floats]:
        if self.purchases is None:
            return np.outer(np.full(len(x), self.rate), ends), np.ones(len(x))
        week = (x, last / _WEEK, age / _WEEK)
        return self.purchases.expected_purchases(*week, ends / _WEEK), self.purchases.p_alive(*week)

    def _spend(self, x: Floats, mean: Floats) -> Floats:
        if self.spend is None:
            return np.full(len(x), self.mean_spend)
        return self.spend.expected_spend(np.where(mean > 0, x, 0.0), mean)

    def to_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "purchases": self.purchases.to_dict() if self.purchases else None,
            "spend": self.spend.to_dict() if self.spend else None,
            "rate_per_day": self.rate,
            "mean_spend": self.mean_spend,
            "unit_of_time": "weeks",
            "terms": self.terms.to_dict(),
            "notes": list(self.notes),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TransactionValue:
        return cls(
            purchases=BgNbd.from_dict(data["purchases"]) if data["purchases"] else None,
            spend=GammaGamma.from_dict(data["spend"]) if data["spend"] else None,
            rate=data["rate_per_day"],
            mean_spend=data["mean_spend"],
            terms=Terms(**data["terms"]),
            notes=tuple(data["notes"]),
        )


def fit_transactions(columns: Mapping[str, Floats], terms: Terms) -> TransactionValue:
    """Fit both models to customers, each once.

    Parameters
    ----------
    columns : `COLUMNS` without missing values, one value per customer.

    Raises
    ------
    TrainingError : a likelihood is finite nowhere.
    """
    x, last, age, mean = (np.asarray(columns[name], dtype=np.float64) for name in COLUMNS[:4])
    rate = (float(x.sum()) + 0.5) / max(float(age.sum()), 1.0)
    amounts = np.asarray(columns["mean_amount"], dtype=np.float64)
    paid = amounts[amounts > 0]
    mean_spend = float(paid.mean()) if len(paid) else 0.0
    repeaters = int((x > 0).sum())
    notes = []
    purchases, spend = None, None
    if repeaters >= FEWEST:
        purchases = fit_bgnbd(x, last / _WEEK, age / _WEEK)
        if not purchases.identified:
            notes.append("BG/NBD: a parameter ran to its bound, so its intervals are not known.")
    else:
        who = "Nobody" if not repeaters else "One customer" if repeaters == 1 else f"Only {repeaters} customers"
        notes.append(f"{who} bought on a second day: all customers are expected to buy at one common rate.")
    worthy = (x > 0) & (mean > 0)
    if int(worthy.sum()) >= FEWEST and len(np.unique(mean[worthy])) > 1:
        spend = fit_gamma_gamma(x, mean)
    elif repeaters >= FEWEST:
        notes.append("Amounts do not tell customers apart: everybody is expected to spend the mean amount.")
    return TransactionValue(purchases, spend, rate, mean_spend, terms, tuple(notes))
