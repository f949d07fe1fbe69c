"""When who calls for what: days with growth, weeks and hours, tasks by workspace, and one user who does not stop."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np

from features.world.business import MICROSECONDS_PER_DAY, Array
from features.world.llm.happenings import Runaway
from features.world.llm.task import COMPLEXITIES
from features.world.llm.tasks import DOMAINS
from features.world.llm.workspaces import WORKSPACES, Habits, user_name

DAY_SPREAD = 0.08
"""Standard deviation of the logarithm of a workspace's calls on a day, beside chance."""

RUNAWAY_FACTOR = 1.2
"""Calls of the runaway user on a day, relative to those of everybody."""


@dataclass(frozen=True)
class Traffic:
    """One entry per call, in the order of time.

    Attributes
    ----------
    at : microseconds since 1970.
    workspace, domain, complexity : numbers into `WORKSPACES`, `DOMAINS`, `COMPLEXITIES`.
    user, asked : names.
    embeds : whether vectors are asked for.
    runs_away : whether it is one of the runaway user's.
    """

    at: Array
    workspace: Array
    user: Array
    asked: Array
    domain: Array
    complexity: Array
    embeds: Array
    runs_away: Array

    def __len__(self) -> int:
        return len(self.at)


def traffic(start: date, days: int, calls_per_day: float, runaway: Runaway, rng: np.random.Generator) -> Traffic:
    """Draw the calls of a period.

    Parameters
    ----------
    calls_per_day : expected over the period, without those of the runaway user.
    """
    number = np.arange(days)
    weekday = (start.weekday() + number) % 7
    rates = np.stack([_rates(one, number, weekday, days, rng) for one in WORKSPACES])
    rates *= calls_per_day * days / rates.sum()
    first = (start - date(1970, 1, 1)).days * MICROSECONDS_PER_DAY
    parts = []
    for place, one in enumerate(WORKSPACES):
        counts = rng.poisson(rates[place])
        day = np.repeat(number, counts)
        parts.append(_calls(place, one, first + day * MICROSECONDS_PER_DAY, rng))
    parts.append(_runaway(runaway, calls_per_day, rng))
    merged = {name: np.concatenate([getattr(part, name) for part in parts]) for name in Traffic.__dataclass_fields__}
    order = np.argsort(merged["at"], kind="stable")
    return Traffic(**{name: values[order] for name, values in merged.items()})


def _rates(one: Habits, number: Array, weekday: Array, days: int, rng: np.random.Generator) -> Array:
    rate = one.share * one.growth ** (number / 90)
    rate = rate * np.where(weekday >= 5, one.weekend * np.where(weekday == 6, 0.8, 1.0), 1.0)
    rate = rate * np.array([1.0, 1.06, 1.04, 1.0, 0.88, 1.0, 1.0])[weekday]
    rate = rate * np.exp(rng.normal(0.0, DAY_SPREAD, days))
    begun: Array = np.where(number >= round(one.begins * days), rate, 0.0)
    return begun


def _calls(place: int, one: Habits, midnight: Array, rng: np.random.Generator) -> Traffic:
    count = len(midnight)
    hours = np.array(one.hours, dtype=float)
    hour = rng.choice(24, count, p=hours / hours.sum())
    at = midnight + hour * 3_600_000_000 + rng.integers(0, 3_600_000_000, count)
    weights = 1.0 / (1.0 + np.arange(one.users)) ** 0.8
    users = np.array([user_name(one, number) for number in range(one.users)])
    names = np.array(list(one.asks))
    domains = np.array([DOMAINS.index(name) for name in one.tasks])
    shares = np.array(list(one.tasks.values()))
    asks = np.array(list(one.asks.values()))
    embeds = rng.random(count) < one.embeddings
    asked = np.where(embeds, "simulated/embed", names[rng.choice(len(names), count, p=asks / asks.sum())])
    return Traffic(
        at=at,
        workspace=np.full(count, place),
        user=users[rng.choice(one.users, count, p=weights / weights.sum())],
        asked=asked.astype(object),
        domain=domains[rng.choice(len(domains), count, p=shares / shares.sum())],
        complexity=rng.choice(len(COMPLEXITIES), count, p=one.complexity),
        embeds=embeds,
        runs_away=np.zeros(count, dtype=bool),
    )


def _runaway(runaway: Runaway, calls_per_day: float, rng: np.random.Generator) -> Traffic:
    """The same hard question about code, all day and all night."""
    length = runaway.ends - runaway.begins
    count = int(rng.poisson(RUNAWAY_FACTOR * calls_per_day * length / MICROSECONDS_PER_DAY))
    place = next(number for number, one in enumerate(WORKSPACES) if one.name == runaway.workspace)
    return Traffic(
        at=np.sort(runaway.begins + rng.integers(0, length, count)),
        workspace=np.full(count, place),
        user=np.full(count, runaway.user),
        asked=np.full(count, runaway.model, dtype=object),
        domain=np.full(count, DOMAINS.index("code")),
        complexity=np.full(count, COMPLEXITIES.index("complex")),
        embeds=np.zeros(count, dtype=bool),
        runs_away=np.ones(count, dtype=bool),
    )
