"""When a budget will be used up, how probably, and what would be a fitting amount."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np

from models.forecasting.crossing import SURE
from models.forecasting.model import Floats
from models.spend.months import forecast_whole, running_sums
from store.budgets import NANOS, Budget

ROOM = 95
"""Percent of the ways in which a month may go that a recommended amount has room for."""
TIGHT, LOOSE = 0.5, 2.0


@dataclass(frozen=True)
class Spending:
    """What is known of those whose spending a budget counts, in dollars.

    Attributes
    ----------
    draws : what may come, a column a day from today on, what is spent today already counted; shape (count, days).
    before : spent this month before today.
    today : spent today so far.
    """

    draws: Floats
    days: Sequence[datetime]
    before: float
    today: float


@dataclass(frozen=True)
class BudgetOutlook:
    """Where a budget is headed.

    Attributes
    ----------
    subject : whose spending it is: `workspace=support`, `total`, `user=engineering/ada`.
    spent : dollars in the present period.
    expected, low, high : dollars by its end, with an 80 % interval.
    probability : that the amount is reached in the present period.
    by : percent → the first day by which it is reached with that probability, in this period or a later one of the
        horizon; None where it is not.
    later : month → probability that it is reached in that month; months that the horizon covers whole.
    """

    budget: Budget
    subject: str
    spent: float
    expected: float
    low: float
    high: float
    probability: float
    by: Mapping[int, str | None] = field(default_factory=dict)
    later: Mapping[str, float] = field(default_factory=dict)

    @property
    def amount(self) -> float:
        return self.budget.amount / NANOS

    @property
    def summary(self) -> str:
        """One sentence for people."""
        whose, period = self.subject.partition("=")[2] or "all spending", self.budget.period
        head = f"{whose}: ${self.spent:,.2f} of ${self.amount:,.2f} a {period}"
        if self.spent >= self.amount:
            return f"{head}; it is used up."
        ends = f"about ${self.expected:,.2f} (${self.low:,.2f} – ${self.high:,.2f}) by the end of the {period}"
        dated = [f"{percent} % by {day}" for percent, day in self.by.items() if day is not None]
        when = f"; used up with {', '.join(dated)}" if dated else ""
        return f"{head}, {ends}; {self.probability:.0%} that it is used up{when}."

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; money in dollars."""
        return {
            "budget": self.budget.id,
            "scope": self.budget.scope,
            "subject": self.subject,
            "workspace": self.budget.workspace,
            "period": self.budget.period,
            "action": self.budget.action,
            "amount": self.amount,
            "spent": self.spent,
            "expected": self.expected,
            "low": self.low,
            "high": self.high,
            "probability": self.probability,
            **{f"by_{percent}": day for percent, day in self.by.items()},
            "later": dict(self.later),
            "summary": self.summary,
        }


def outlook_of(budget: Budget, subject: str, spending: Spending) -> BudgetOutlook:
    """Where a budget of a day or a month is headed."""
    amount = budget.amount / NANOS
    labels = [f"{day:%Y-%m-%d}" for day in spending.days]
    if budget.period == "day":
        spent = spending.today
        ends = spending.draws[:, 0]
        reached = spending.draws >= amount
        later: dict[str, float] = {}
    else:
        spent = spending.before + spending.today
        sums = running_sums(spending.draws, spending.days, spending.before)
        ends = sums[0][1][:, -1]
        reached = np.column_stack([part >= amount for _, part in sums])
        later = {
            month: float((part[:, -1] >= amount).mean()) for month, part in sums[1:] if forecast_whole(month, part)
        }
    low, high = np.percentile(ends, [10, 90])
    crossed = np.maximum.accumulate(reached, axis=1).mean(axis=0)
    by: dict[int, str | None] = {}
    for percent in SURE:
        there = np.flatnonzero(crossed >= percent / 100.0)
        by[percent] = labels[int(there[0])] if len(there) else None
    return BudgetOutlook(
        budget=budget,
        subject=subject,
        spent=spent,
        expected=float(ends.mean()),
        low=float(low),
        high=float(high),
        probability=float((ends >= amount).mean()),
        by=by,
        later=later,
    )


@dataclass(frozen=True)
class BudgetAdvice:
    """An amount for a month that fits what is expected, and why.

    Attributes
    ----------
    amount : dollars a month: a rounded quantile of the dearest whole month that is forecast.
    quantiles : percent → dollars, of that month.
    present : dollars of the budget there is; None where there is none.
    verdict : "none yet", "fits", "tight" or "loose".
    """

    subject: str
    month: str
    amount: float
    quantiles: Mapping[int, float]
    present: float | None
    verdict: str
    reasons: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "subject": self.subject,
            "month": self.month,
            "amount": self.amount,
            "quantiles": {str(percent): value for percent, value in self.quantiles.items()},
            "present": self.present,
            "verdict": self.verdict,
            "reasons": list(self.reasons),
        }


def advise(subject: str, spending: Spending, budget: Budget | None = None) -> BudgetAdvice | None:
    """A fitting amount for a month; None where no whole month is forecast.

    Parameters
    ----------
    budget : the monthly one there is.
    """
    sums = running_sums(spending.draws, spending.days, spending.before)
    whole = [(month, part[:, -1]) for month, part in sums if forecast_whole(month, part)]
    if not whole:
        return None
    month, ends = max(whole, key=lambda one: float(np.percentile(one[1], ROOM)))
    quantiles = {percent: float(np.percentile(ends, percent)) for percent in (50, 80, ROOM, 99)}
    amount = rounded_up(quantiles[ROOM])
    present = None if budget is None else budget.amount / NANOS
    reasons = [
        f"{month} is expected to cost ${quantiles[50]:,.2f}; in {ROOM} of 100 ways in which it may go it costs at most "
        f"${quantiles[ROOM]:,.2f}."
    ]
    chance = 0.0 if present is None else float((ends >= present).mean())
    verdict = "none yet"
    if present is not None and chance > TIGHT:
        verdict = "tight"
        reasons.append(f"The present ${present:,.2f} would be used up with a probability of {chance:.0%}.")
    elif present is not None and present > LOOSE * amount:
        verdict = "loose"
        reasons.append(f"The present ${present:,.2f} would let {present / quantiles[50]:.1f} times the usual pass.")
    elif present is not None:
        verdict = "fits"
        reasons.append(f"The present ${present:,.2f} is used up with a probability of {chance:.0%}.")
    return BudgetAdvice(subject, month, amount, quantiles, present, verdict, tuple(reasons))


def rounded_up(value: float) -> float:
    """To two digits, upwards: 10.31 → 11, 0.0471 → 0.048."""
    if value <= 0:
        return 0.01
    size = 10.0 ** (np.floor(np.log10(value)) - 1)
    return float(round(np.ceil(round(value / size, 9)) * size, 12))
