"""Budgets that will probably be used up before their period is over."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from models.anomaly.checks import SEVERITIES
from models.spend.budgets import BudgetOutlook
from models.spend.unusual.finding import Finding

PROBABLE = 0.8


def pace_findings(outlooks: Sequence[BudgetOutlook], as_of: datetime) -> list[Finding]:
    """Monthly budgets that are used up with a probability of 80 % and are not yet; those that are, alerts tell of."""
    found = []
    first = as_of.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    last = (first + timedelta(days=32)).replace(day=1)
    for one in outlooks:
        if one.budget.period != "month" or one.spent >= one.amount or one.probability < PROBABLE:
            continue
        over = one.expected - one.amount
        step = sum(over >= share * one.amount for share in (0.1, 0.5, 1.0))
        found.append(
            Finding(
                kind="budget pace",
                subject=f"budget={one.budget.id} {one.subject}",
                workspace=one.budget.workspace or None,
                start=first,
                end=last,
                ongoing=True,
                severity=SEVERITIES[step],
                score=one.probability,
                value=one.expected,
                expected=one.amount,
                unit="dollars a month",
                excess=over,
                words=one.summary,
                evidence=[one.to_dict()],
            )
        )
    return found
