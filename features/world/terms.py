"""Plan and price of every customer on every day: contracts, renewals, price reviews, changes of plan."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.world.business import CONTRACT_MONTHS, HISTORY_DAYS, PLANS, Array, Span, add_months
from features.world.customers import Customers
from features.world.prices import PriceBook

NEVER = 10**6
PLAN_CHANGES_PER_DAY = 1 / 2400
UPGRADE_SHARE = 0.68


@dataclass(frozen=True)
class Terms:
    """Contracts as they would run if nobody left.

    Attributes
    ----------
    price : (customers, days) EUR per month.
    plan : (customers, days) code of the plan.
    days_left : (customers, days) days to the end of the contract term; 0 on monthly contracts.
    change_row, change_day : where plan or price changed, in order; includes day of joining. Days may be negative.
    change_plan, change_price : the state from that day on.
    """

    price: Array
    plan: Array
    days_left: Array
    change_row: Array
    change_day: Array
    change_plan: Array
    change_price: Array


def terms(who: Customers, first: int, span: Span, book: PriceBook, rng: np.random.Generator) -> Terms:
    """Follow each contract from joining to the last day of the span.

    Monthly contracts pay the new list price from the day of a review; longer ones from their next anniversary. One
    change to a neighbouring plan may happen, at the list price of that day.

    Parameters
    ----------
    first : first day of interest; the columns are days first … last.
    """
    n, last = len(who), span.days
    months = np.array(CONTRACT_MONTHS)[who.term]
    joined = span.dates(who.signup)

    # Days on which the price is set anew, one column each; NEVER where it does not happen.
    width = len(book.reviews)
    rounds = (HISTORY_DAYS + span.days) // 365 + 2
    moments = np.full((n, max(width, rounds) + 2), NEVER)
    moments[:, 0] = who.signup
    monthly = who.term == 0
    moments[monthly, 1 : width + 1] = book.reviews
    terms_of = np.where(monthly, 1200, months)
    for k in range(1, rounds):
        at = span.offsets(add_months(joined, k * terms_of))
        moments[~monthly, k] = at[~monthly]
    swap = np.maximum(who.signup, first) + 30 + rng.exponential(1 / PLAN_CHANGES_PER_DAY, n).astype(np.int64)
    target = who.plan + np.where(rng.random(n) < UPGRADE_SHARE, 1, -1)
    # A household does not move to an enterprise plan, nor industry to the basic one.
    highest = np.array([1, 3, 3])[who.kind]
    lowest = np.array([0, 0, 1])[who.kind]
    swaps = (target <= highest) & (target >= lowest) & (target < len(PLANS)) & (target >= 0) & (swap < last)
    moments[:, -1] = np.where(swaps, swap, NEVER)
    moments[(moments <= who.signup[:, None]) & (np.arange(moments.shape[1]) > 0)] = NEVER
    moments[moments >= last] = NEVER
    moments.sort(axis=1)

    swap = np.where(swaps, swap, NEVER)
    plan = np.where(moments >= swap[:, None], target[:, None], who.plan[:, None])
    real = moments < NEVER
    at = np.where(real, moments, 0)
    price = book.listed[np.where(real, plan, 0), who.region[:, None], at + HISTORY_DAYS]
    price[:, 0] = who.price
    # An experiment's price is guaranteed until the contract's first anniversary or a review raises the list price.
    changed = real.copy()
    changed[:, 1:] &= (price[:, 1:] != price[:, :-1]) | (plan[:, 1:] != plan[:, :-1])

    days = np.arange(first, last)
    current = np.zeros((n, len(days)), dtype=np.int8)
    for k in range(1, moments.shape[1]):
        begun = moments[:, k] < NEVER
        if begun.any():
            current[begun] += (days >= moments[begun, k, None]).astype(np.int8)
    # `current` counts the moments passed: the column that holds.
    rows = np.arange(n)[:, None]
    price_path = price.astype(np.float32)[rows, current]
    plan_path = plan.astype(np.int8)[rows, current]

    days_left = np.zeros((n, len(days)), dtype=np.float32)
    term = np.flatnonzero(~monthly)
    if len(term):
        ends = np.stack([span.offsets(add_months(joined[term], k * months[term])) for k in range(1, rounds)], axis=1)
        left = np.full((len(term), len(days)), NEVER, dtype=np.int64)
        for k in range(ends.shape[1] - 1, -1, -1):
            ahead = ends[:, k, None] - days
            left = np.where(ahead > 0, ahead, left)
        days_left[term] = left

    row, column = np.nonzero(changed)
    return Terms(price_path, plan_path, days_left, row, moments[row, column], plan[row, column], price[row, column])
