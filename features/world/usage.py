"""Daily usage: a level per customer, moved by calendar, trend, engagement, price and incidents."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.world.business import LIST_PRICE, USAGE_PRICE_ELASTICITY, Array
from features.world.calendar import Calendar
from features.world.customers import Customers
from features.world.engagement import Engagement
from features.world.incidents import Incidents
from features.world.terms import Terms

CALLS_OF_KIND = np.array([35.0, 700.0, 4200.0])
CALLS_OF_PLAN = np.array([0.6, 1.0, 2.2, 6.0])
DISENGAGEMENT_EFFECT = 1.15
"""Fall of log API calls at full disengagement."""


@dataclass(frozen=True)
class Usage:
    """(customers, days) each; API calls and users are whole numbers held as float32."""

    api_calls: Array
    storage_gb: Array
    compute_hours: Array
    energy_kwh: Array
    active_users: Array


def usage(
    who: Customers,
    first: int,
    state: Engagement,
    deal: Terms,
    calendar: Calendar,
    events: Incidents,
    rng: np.random.Generator,
) -> Usage:
    """Draw usage of the days from `first` on, as if nobody left.

    log E[API calls] = level + calendar + trend + mood − 1.15 · disengaged + ε · log(price / LIST_PRICE) + incident,
    with ε = `USAGE_PRICE_ELASTICITY` and the price relative to the plan's list price of the first day.
    """
    n, days = state.mood.shape
    window = slice(first, first + days)
    columns = np.arange(days, dtype=np.float32)
    activity = calendar.activity[who.kind, who.country, window]
    seasonal_energy = calendar.energy[who.kind, who.country, window]

    def noise(spread: float) -> Array:
        drawn = rng.standard_normal((n, days), dtype=np.float32)
        drawn *= np.float32(spread)
        return drawn

    trend = (rng.normal(0.06, 0.12, (n,)) / 365.25).astype(np.float32)
    relative_price = np.log(deal.price / LIST_PRICE.astype(np.float32)[deal.plan])
    pull = state.mood - np.float32(DISENGAGEMENT_EFFECT) * state.disengaged
    pull += trend[:, None] * columns
    pull += np.float32(USAGE_PRICE_ELASTICITY) * relative_price
    incident = events.usage[who.region, window]
    level = np.log(CALLS_OF_KIND[who.kind] * CALLS_OF_PLAN[who.plan]) + rng.normal(0.0, 0.55, n)

    log_activity = pull + activity + incident
    calls = np.exp(log_activity + level.astype(np.float32)[:, None] + noise(0.22))

    seats = np.where(who.kind == 0, 1 + rng.poisson(1.2, n), np.ceil(who.employees * rng.uniform(0.05, 0.3, n)))
    share = np.float32(0.62) * np.exp(np.float32(0.55) * log_activity)
    there = np.minimum(share, 1) * seats.astype(np.float32)[:, None]
    users = np.rint(there + noise(0.45) * np.sqrt(there))

    hours = np.exp(np.log(0.004) + 0.9 * level + rng.normal(0.0, 0.4, n)).astype(np.float32)
    compute = hours[:, None] * np.exp(np.float32(0.85) * log_activity + noise(0.15))

    meter = np.exp(np.array([2.3, 4.6, 7.0])[who.kind] + rng.normal(0.0, 0.45, n)).astype(np.float32)
    energy = meter[:, None] * np.exp(
        seasonal_energy + np.float32(0.35) * pull + events.energy[who.region, window] + noise(0.10)
    )

    held = np.exp(0.7 * level - 0.5 + rng.normal(0.0, 0.6, n)).astype(np.float32)
    filling = (rng.gamma(2.0, 0.09, (n,)) / 365.25).astype(np.float32)
    age = (first - who.signup).astype(np.float32)[:, None] + columns
    storage = held[:, None] * (
        1 - np.float32(0.7) * np.exp(-np.maximum(age, 0) / np.float32(90)) - np.float32(0.12) * state.disengaged
    )
    storage *= np.exp(filling[:, None] * columns)
    return Usage(
        np.rint(calls),
        np.maximum(storage, 0),
        compute,
        energy,
        np.clip(users, 0, np.maximum(seats, 1).astype(np.float32)[:, None]),
    )
