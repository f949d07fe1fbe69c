"""Product events: a row per customer, week and name with a count; visits to the downgrade page singly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.world.business import KINDS, Array
from features.world.customers import Customers
from features.world.engagement import Engagement
from features.world.incidents import Incidents
from features.world.terms import Terms

NAMES = ("login", "export", "invite", "api_key", "automation", "error", "downgrade_page")
PER_WEEK = np.array(
    [[1.6, 0.05, 0.01, 0.005, 0.03, 0.05], [6.0, 0.30, 0.05, 0.03, 0.15, 0.15], [14.0, 0.60, 0.07, 0.06, 0.30, 0.25]]
)
"""Mean events per week of a contented customer: kinds × the first six names."""

RESPONSE = np.array([-0.9, -0.8, -1.5, -0.8, -0.8, 0.5])
"""Change of the log rate at full disengagement."""

DOWNGRADE_PER_DAY = 0.0008


@dataclass(frozen=True)
class Events:
    """One entry per row of the table.

    Attributes
    ----------
    row, column : customer and the day (column) it is dated; a week's count is dated its Sunday.
    name : code into `NAMES`.
    count : how many.
    """

    row: Array
    column: Array
    name: Array
    count: Array


def product_events(
    who: Customers,
    first: int,
    weekday: Array,
    state: Engagement,
    deal: Terms,
    incidents: Incidents,
    rng: np.random.Generator,
) -> Events:
    """Draw events.

    Parameters
    ----------
    weekday : weekday of each column, 0 = Monday.
    """
    assert len(KINDS) == len(PER_WEEK)
    n, days = state.disengaged.shape
    sundays = np.flatnonzero(weekday == 6)
    sundays = sundays[sundays >= 6]
    gloom = state.disengaged[:, sundays]
    errors = np.exp(incidents.errors[:, first : first + days])
    totals = np.cumsum(np.pad(errors, ((0, 0), (1, 0))), axis=1)
    weekly_errors = (totals[:, sundays + 1] - totals[:, sundays - 6]) / 7

    parts = []
    for code in range(len(RESPONSE)):
        rate = PER_WEEK[who.kind, code][:, None] * np.exp(RESPONSE[code] * gloom)
        if NAMES[code] == "error":
            rate = rate * weekly_errors[who.region]
        drawn = rng.poisson(rate)
        row, week = np.nonzero(drawn)
        parts.append((row, sundays[week], np.full(len(row), code, dtype=np.int8), drawn[row, week]))

    # Those who lose interest, or whose price has just risen, look at the downgrade page.
    month_ago = np.maximum(np.arange(days) - 30, 0)
    rise = np.maximum(np.log(deal.price / deal.price[:, month_ago]), 0) * (deal.plan == deal.plan[:, month_ago])
    rate = np.float32(DOWNGRADE_PER_DAY) * np.exp(np.float32(2.6) * state.disengaged + np.float32(16.0) * rise)
    row, column = np.nonzero(rng.random((n, days), dtype=np.float32) < rate)
    code = NAMES.index("downgrade_page")
    parts.append((row, column, np.full(len(row), code, dtype=np.int8), rng.integers(1, 4, len(row))))
    row, column, name, count = (np.concatenate(values) for values in zip(*parts, strict=True))
    order = np.lexsort((name, column, row))
    return Events(row[order], column[order], name[order], count[order])
