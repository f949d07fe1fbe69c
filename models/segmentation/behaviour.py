"""Which behaviour divides customers, in which words it is told, and what of it is looked at one period later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from store.errors import MissingColumn

Scale = Literal["log", "plain", "ratio"]


@dataclass(frozen=True)
class Trait:
    """One column of behaviour.

    Attributes
    ----------
    concept : what it is a sign of; traits of one concept share one weight.
    scale : "log" for what spans orders of magnitude (log(1 + x)), "ratio" for log ratios, told as a change in percent,
        "plain" for the rest.
    label, unit : for people: "12 logins a month".
    """

    name: str
    concept: str
    scale: Scale
    label: str
    unit: str = ""


@dataclass(frozen=True)
class Concept:
    """A side of behaviour and the words for much and little of it; "" where little of it is not worth a word."""

    name: str
    high: str
    low: str


@dataclass(frozen=True)
class Behaviour:
    """A kind of customers.

    Attributes
    ----------
    entity : column with the customer's id.
    traits : what segments are made from.
    concepts : in the order in which a name tells them.
    worth : the trait by which segments are put in order.
    ahead : traits whose value one period later segments are judged by: columns `next_<name>`.
    rfm : recency, frequency and money, each with −1 where less is better: the reference that segments must beat.
    slices : columns whose levels must not fare worse, each for itself.
    """

    name: str
    entity: str
    traits: tuple[Trait, ...]
    concepts: tuple[Concept, ...]
    worth: str
    ahead: tuple[str, ...]
    rfm: tuple[tuple[str, float], ...]
    slices: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(trait.name for trait in self.traits)

    @property
    def targets(self) -> tuple[str, ...]:
        return tuple(f"next_{name}" for name in self.ahead)


SUBSCRIBERS = Behaviour(
    name="subscribers",
    entity="customer_id",
    traits=(
        Trait("monthly_price", "size", "log", "monthly price", "EUR"),
        Trait("billed_90d", "size", "log", "billed in 90 days", "EUR"),
        Trait("api_calls_28d", "usage", "log", "API calls a day"),
        Trait("compute_hours_28d", "usage", "log", "compute hours a day"),
        Trait("energy_kwh_28d", "usage", "log", "kWh a day"),
        Trait("active_users_28d", "engagement", "log", "active users a day"),
        Trait("active_days_90d", "engagement", "plain", "active days of 90"),
        Trait("recency_days", "engagement", "log", "days since last active"),
        Trait("logins_28d", "engagement", "log", "logins in 28 days"),
        Trait("exports_28d", "features", "log", "exports in 28 days"),
        Trait("automations_28d", "features", "log", "automations in 28 days"),
        Trait("api_calls_trend_28d", "trend", "ratio", "API calls against the 56 days before"),
        Trait("active_users_trend_28d", "trend", "ratio", "active users against the 56 days before"),
        Trait("tickets_90d", "support", "log", "tickets in 90 days"),
        Trait("tenure_days", "tenure", "log", "days a customer"),
    ),
    concepts=(
        Concept("size", "large", "small"),
        Concept("engagement", "active", "quiet"),
        Concept("usage", "heavy usage", "light usage"),
        Concept("trend", "rising usage", "falling usage"),
        Concept("features", "many automations", "few automations"),
        Concept("support", "many tickets", "few tickets"),
        Concept("tenure", "long-standing", "new"),
    ),
    worth="monthly_price",
    ahead=("api_calls_28d", "active_users_28d", "logins_28d", "monthly_price"),
    rfm=(("recency_days", -1.0), ("active_days_90d", 1.0), ("monthly_price", 1.0)),
    slices=("plan", "kind"),
)

BUYERS = Behaviour(
    name="buyers",
    entity="entity",
    traits=(
        Trait("recency_days", "recency", "log", "days since the last purchase"),
        Trait("orders", "frequency", "log", "purchases"),
        Trait("orders_recent", "frequency", "log", "purchases in the last period"),
        Trait("mean_amount", "basket", "log", "a purchase"),
        Trait("spent", "spending", "log", "spent in all"),
        Trait("tenure_days", "tenure", "log", "days since the first purchase"),
    ),
    concepts=(
        Concept("spending", "high spending", "low spending"),
        Concept("recency", "long away", "recent"),
        Concept("frequency", "frequent", "rare"),
        Concept("basket", "large baskets", "small baskets"),
        Concept("tenure", "long-standing", "new"),
    ),
    worth="spent",
    ahead=("orders", "spent"),
    rfm=(("recency_days", -1.0), ("orders", 1.0), ("mean_amount", 1.0)),
    slices=("buyer",),
)

BEHAVIOURS: Mapping[str, Behaviour] = {one.name: one for one in (SUBSCRIBERS, BUYERS)}

# Signs that say less the more there is of them: many days since the last activity mean little engagement.
REVERSED: frozenset[tuple[str, str]] = frozenset({("subscribers", "recency_days")})


def behaviour_of(frame: pd.DataFrame) -> Behaviour:
    """The kind of customers that a frame describes.

    Raises
    ------
    MissingColumn : it fits none; names what is missing of the one that fits best.
    """
    absent = {
        one.name: [name for name in (one.entity, *one.columns) if name not in frame] for one in (SUBSCRIBERS, BUYERS)
    }
    for name, missing in absent.items():
        if not missing:
            return BEHAVIOURS[name]
    best = min(absent, key=lambda name: len(absent[name]))
    raise MissingColumn(
        f"The table describes no known kind of customers; for {best} it lacks {', '.join(absent[best])}.",
        remedy="Bring these columns, or purchases with `merit segment --data FILE`.",
        field=absent[best][0],
    )
