"""The stated hazard: the chance to leave today, from what the tables showed last night, plus a little nobody sees.

For customer i on day d, given that they are still there,

    h = min(0.5, exp(BASE + x(d − 1) · COEFFICIENTS + plan + tenure + contract + weekday + frailty))

a discrete-time proportional hazard (Singer and Willett, 1993, J. Educational Statistics 18). x are trailing aggregates
of the very rows that the tables hold, so a model that sees the tables can come close to the truth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.world.business import Array
from features.world.customers import Customers
from features.world.events import NAMES, Events
from features.world.invoices import Invoices
from features.world.terms import Terms
from features.world.tickets import Tickets
from features.world.usage import Usage

BASE = -7.05
COEFFICIENTS = {
    "api_calls_fall": 2.1,
    "active_users_fall": 1.0,
    "tickets_30d": 0.30,
    "high_tickets_90d": 0.40,
    "dissatisfaction_90d": 0.45,
    "late_invoices_90d": 0.50,
    "price_rise_90d": 7.0,
    "competitor_gap": 1.6,
    "downgrade_visits_28d": 0.55,
}
PLAN_EFFECT = (0.30, 0.05, -0.15, -0.40)
TENURE_EFFECT = -0.28
"""Times log(1 + tenure in days / 60)."""

CONTRACT_RUNNING = -1.7
CONTRACT_ENDING = 1.0
ENDING_DAYS = 30
WEEKDAY_EFFECT = (0.15, 0.12, 0.10, 0.08, 0.05, -0.40, -0.40)
FRAILTY_SPREAD = 0.30
GRACE_DAYS = 14
"""Nobody leaves earlier than this after joining."""

HORIZON = 30


@dataclass(frozen=True)
class Hazard:
    """(customers, days) each.

    Attributes
    ----------
    daily : probability to leave on that day, given that the customer is still there.
    expected : probability to leave within the `HORIZON` days that begin with that day, as far as it can be told from
        observable rows of the days before: behaviour stays as it was, contract and tenure run on, frailty is average.
    drivers : the x above, by name.
    """

    daily: Array
    expected: Array
    drivers: dict[str, Array]


def hazard(
    who: Customers,
    first: int,
    weekday: Array,
    measured: Usage,
    deal: Terms,
    cases: Tickets,
    clicks: Events,
    bills: Invoices,
    competitor: Array,
    frailty: Array,
) -> Hazard:
    """The hazard of every customer and day, as if nobody left.

    Parameters
    ----------
    competitor : (plans, regions, days) the competitor's price from day `first` on.
    frailty : (customers,) the unobserved part of the log hazard.
    """
    n, days = deal.price.shape
    joined = who.signup - first
    shape = (n, days)
    high = cases.severity == 2
    answered = cases.satisfaction > 0
    closed = cases.closed_column()
    visits = clicks.name == NAMES.index("downgrade_page")
    overdue = bills.late
    gap = np.log(deal.price / competitor.astype(np.float32)[deal.plan, who.region[:, None], np.arange(days)])
    quarter = np.maximum(np.arange(days) - 90, 0)
    quarter = np.maximum(quarter[None, :], np.clip(joined, 0, days - 1)[:, None])
    rows = np.arange(n)[:, None]
    rise = np.log(deal.price / deal.price[rows, quarter]) * (deal.plan == deal.plan[rows, quarter])

    drivers = {
        "api_calls_fall": _fall(measured.api_calls, joined),
        "active_users_fall": _fall(measured.active_users + np.float32(0.2), joined),
        "tickets_30d": np.minimum(_trailing(cases.row, cases.column, None, shape, 30), 5),
        "high_tickets_90d": np.minimum(_trailing(cases.row[high], cases.column[high], None, shape, 90), 4),
        "dissatisfaction_90d": np.minimum(
            _trailing(
                cases.row[answered],
                closed[answered],
                np.maximum(3 - cases.satisfaction[answered], 0).astype(np.float32),
                shape,
                90,
            ),
            3,
        ),
        "late_invoices_90d": np.minimum(
            _trailing(bills.row[overdue], bills.due[overdue] + 1 - first, None, shape, 90), 3
        ),
        "price_rise_90d": np.clip(rise, 0, 0.3),
        "competitor_gap": np.clip(_yesterday(gap), -0.4, 0.4),
        "downgrade_visits_28d": np.minimum(
            _trailing(clicks.row[visits], clicks.column[visits], clicks.count[visits].astype(np.float32), shape, 28), 5
        ),
    }
    behaviour = np.array(PLAN_EFFECT, dtype=np.float32)[deal.plan]
    for name, values in drivers.items():
        behaviour += np.float32(COEFFICIENTS[name]) * values

    age = np.maximum(np.arange(days, dtype=np.float32) - joined[:, None].astype(np.float32), 0)
    clock = np.float32(TENURE_EFFECT) * np.log1p(age / np.float32(60)) + np.array(WEEKDAY_EFFECT, np.float32)[weekday]
    under_contract = (who.term > 0)[:, None]
    ending = deal.days_left <= ENDING_DAYS
    clock += np.where(under_contract, np.where(ending, np.float32(CONTRACT_ENDING), np.float32(CONTRACT_RUNNING)), 0)

    risk = np.exp(clock)
    risk *= age >= GRACE_DAYS
    behaviour += np.float32(BASE)
    daily = np.minimum(np.exp(behaviour + frailty.astype(np.float32)[:, None]) * risk, np.float32(0.5))

    # Contract and tenure beyond the last column are unknown here: the mean of what is left stands for them.
    summed = np.cumsum(np.pad(risk, ((0, 0), (1, 0))), axis=1, dtype=np.float64)
    until = np.minimum(np.arange(days) + HORIZON, days)
    ahead = (summed[:, until] - summed[:, :-1]) * (HORIZON / np.maximum(until - np.arange(days), 1))
    mean_frailty = np.exp(FRAILTY_SPREAD**2 / 2)
    expected = -np.expm1(-np.exp(behaviour) * mean_frailty * ahead)
    return Hazard(daily, expected.astype(np.float32), drivers)


def last_days(chance: Array, joined: Array, rng: np.random.Generator) -> Array:
    """Column of the day each customer decides to leave; the number of columns where they stay to the end."""
    n, days = chance.shape
    leaves = rng.random((n, days), dtype=np.float32) < chance
    leaves &= np.arange(days) >= joined[:, None]
    column: Array = np.where(leaves.any(axis=1), leaves.argmax(axis=1), days)
    return column


def _yesterday(values: Array) -> Array:
    return np.concatenate([values[:, :1], values[:, :-1]], axis=1)


def _trailing(row: Array, column: Array, weight: Array | None, shape: tuple[int, int], window: int) -> Array:
    """Sum of events over the `window` days before each day."""
    n, days = shape
    inside = (column >= 0) & (column < days)
    at = row[inside] * days + column[inside]
    counts = np.bincount(at, None if weight is None else weight[inside], minlength=n * days)
    total = np.zeros((n, days + 1), dtype=np.float32)
    np.cumsum(counts.reshape(n, days), axis=1, out=total[:, 1:], dtype=np.float32)
    begin = np.maximum(np.arange(days) - window, 0)
    return total[:, :-1] - total[:, begin]


def _fall(values: Array, joined: Array) -> Array:
    """−log of the mean of the last 28 days over the mean of the 56 days before; 0 until both windows are filled."""
    n, days = values.shape
    total = np.zeros((n, days + 1))
    np.cumsum(values, axis=1, out=total[:, 1:], dtype=np.float64)
    begun = np.maximum(joined, 0)[:, None]
    day = np.arange(days)
    recent = np.maximum(day - 28, 0)
    before = np.maximum(day[None, :] - 84, begun)
    before = np.minimum(before, recent[None, :])
    rows = np.arange(n)[:, None]
    now = (total[:, :-1] - total[:, recent]) / 28
    past = (total[:, recent] - total[rows, before]) / np.maximum(recent - before, 1)
    ready = (recent - before >= 14) & (recent >= begun) & (past > 0)
    ratio = np.divide(now, past, out=np.ones_like(now), where=ready)
    fall: Array = np.clip(-np.log(np.maximum(ratio, 0.05)), -0.4, 1.6).astype(np.float32)
    return fall
