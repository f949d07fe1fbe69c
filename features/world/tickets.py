"""Support tickets: more of them, angrier and longer open when a customer loses interest or something is broken."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.world.business import Array
from features.world.customers import Customers
from features.world.engagement import Engagement
from features.world.incidents import Incidents

SEVERITIES = ("low", "medium", "high")
CATEGORIES = ("howto", "billing", "integration", "metering", "outage")
PER_MONTH = np.array([0.13, 0.30, 0.55])
"""Tickets per 30 days of a contented customer, by kind."""


@dataclass(frozen=True)
class Tickets:
    """One entry per ticket, ordered by customer and day.

    Attributes
    ----------
    row, column : customer and day (column) of opening.
    hour : hour of the day of opening.
    severity, category : codes.
    open_hours : hours until it was closed.
    satisfaction : 1–5, or 0 where the customer did not answer; given when the ticket is closed.
    """

    row: Array
    column: Array
    hour: Array
    severity: Array
    category: Array
    open_hours: Array
    satisfaction: Array

    def closed_column(self) -> Array:
        """Day (column) of closing."""
        return self.column + ((self.hour + self.open_hours) // 24).astype(np.int64)


def tickets(who: Customers, first: int, state: Engagement, events: Incidents, rng: np.random.Generator) -> Tickets:
    """Draw at most one ticket per customer and day."""
    n, days = state.disengaged.shape
    broken = events.tickets[who.region, first : first + days]
    rate = np.exp(np.float32(1.1) * state.disengaged + broken)
    rate *= (PER_MONTH[who.kind] / 30).astype(np.float32)[:, None]
    row, column = np.nonzero(rng.random((n, days), dtype=np.float32) < rate)
    count = len(row)
    gloom = state.disengaged[row, column]
    outage = broken[row, column]
    anger = gloom * 0.9 + outage * 0.5 + rng.normal(0.0, 0.8, count)
    severity = (anger > 0.35).astype(np.int8) + (anger > 1.25)
    category = rng.integers(0, 4, count)
    category[(outage > 0.5) & (rng.random(count) < 0.7)] = CATEGORIES.index("outage")
    mood = 4.3 - 1.1 * gloom - 0.35 * severity + rng.normal(0.0, 0.7, count)
    answered = rng.random(count) < 0.65
    return Tickets(
        row=row,
        column=column,
        hour=rng.uniform(6.0, 21.0, count),
        severity=severity,
        category=category,
        open_hours=rng.gamma(1.3, 14.0 * np.array([0.7, 1.0, 1.6])[severity]),
        satisfaction=np.where(answered, np.clip(np.rint(mood), 1, 5), 0).astype(np.int64),
    )
