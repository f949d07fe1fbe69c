"""Monthly invoices and when they are paid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.world.business import HISTORY_DAYS, Array, Span, add_months
from features.world.customers import Customers
from features.world.engagement import Engagement
from features.world.terms import Terms

DUE_DAYS = 14
WRITE_OFF_DAYS = 60


@dataclass(frozen=True)
class Invoices:
    """One entry per invoice, ordered by customer and period. Days are offsets of the span.

    Attributes
    ----------
    row : customer. `number` : running number of the invoice within the customer.
    period : first day billed. `due` : day by which it is to be paid.
    paid : day of payment; −1 where it never is.
    amount : EUR.
    """

    row: Array
    number: Array
    period: Array
    due: Array
    paid: Array
    amount: Array

    @property
    def late(self) -> Array:
        """Whether it was not paid in time."""
        return (self.paid < 0) | (self.paid > self.due)


def invoices(
    who: Customers, first: int, span: Span, state: Engagement, deal: Terms, rng: np.random.Generator
) -> Invoices:
    """Draw one invoice a month from the day of joining on, for periods that begin within the span."""
    n = len(who)
    joined = span.dates(who.signup)
    months = np.arange((HISTORY_DAYS + span.days) // 28 + 2)
    periods = span.offsets(add_months(joined[:, None], np.broadcast_to(months, (n, len(months)))))
    row, number = np.nonzero((periods >= max(first, 0)) & (periods < span.days))
    period = periods[row, number]
    due = period + DUE_DAYS
    sloppy = rng.beta(0.7, 11.0, n)
    gloom = state.disengaged[row, period - first]
    late = rng.random(len(row)) < np.minimum(sloppy[row] * np.exp(0.8 * gloom) + 0.12 * gloom, 0.9)
    punctual = period + rng.integers(1, DUE_DAYS + 1, len(row))
    delay = due + 1 + rng.exponential(11.0, len(row)).astype(np.int64)
    paid = np.where(late, delay, punctual)
    paid[late & ((rng.random(len(row)) < 0.03) | (delay > due + WRITE_OFF_DAYS))] = -1
    return Invoices(row, number, period, due, paid, deal.price[row, period - first].astype(np.float64).round(2))
