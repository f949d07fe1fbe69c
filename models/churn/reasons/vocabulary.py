"""What the platform's features are called in a sentence about one customer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Form = Literal["count", "mean", "trend", "change", "gap", "days", "money", "plain"]

# Stem of the name, without windows → what is counted or measured.
NOUNS: Mapping[str, str] = MappingProxyType(
    {
        "tickets": "support tickets",
        "tickets_medium": "support tickets of medium severity",
        "tickets_high": "support tickets of high severity",
        "tickets_open": "open support tickets",
        "satisfaction": "mean rating of support tickets",
        "bad_ratings": "support tickets rated 1 or 2",
        "late_invoices": "invoices overdue",
        "overdue_amount": "overdue amount",
        "plan_changes": "changes of plan",
        "price_change": "price",
        "list_gap": "the list price",
        "competitor_gap": "the competitors' price",
        "api_calls": "API calls",
        "compute_hours": "compute hours",
        "energy_kwh": "kWh of energy",
        "storage_gb": "storage in GB",
        "storage": "storage",
        "active_users": "active users",
        "idle_days": "days without an active user",
        "logins": "logins",
        "exports": "exports",
        "automations": "automations run",
        "invites": "invitations of colleagues",
        "api_keys": "API keys made",
        "errors": "product errors",
        "downgrade_visits": "visits to the downgrade page",
        "tenure_days": "customer for",
        "days_to_contract_end": "contract ends or renews in",
        "monthly_price": "monthly price",
        "contract_months": "contract length in months",
        "employees": "size of the organisation",
    }
)
# What has a unit of its own needs none in a trend.
_BARE = {"kWh of energy": "energy", "compute hours": "compute time"}
# Told together with the topic they belong to.
_TOPICS = {"storage": "storage_gb", "tickets_high": "tickets", "tickets_medium": "tickets", "tickets_open": "tickets"}
_FORMS: Mapping[str, Form] = {"log ratio": "trend", "days": "days", "EUR": "money", "EUR/month": "money"}
_COUNTED = ("tickets", "invoices", "events", "visits", "changes")
_WINDOW = re.compile(r"_(\d+)d$")
_MOVING = re.compile(r"_(trend|growth)$")


@dataclass(frozen=True)
class Term:
    """How one column is told.

    Attributes
    ----------
    topic : columns that tell of one thing share it, and only one of them is told.
    days : length of the window that ends now; None for what has none.
    before : the same thing over a longer window, and its length; what happened in between is what came before.
    """

    topic: str
    noun: str
    form: Form = "plain"
    days: int | None = None
    before: tuple[str, int] | None = None


def terms(columns: tuple[str, ...]) -> Mapping[str, Term]:
    """Column → how it is told: from the platform's vocabulary when all columns are the platform's, else by its name.

    A table of somebody's own is never told in the platform's words: its `monthly_price` may be in any currency.
    """
    from features.views.churn_features import FEATURES

    if not all(name in FEATURES for name in columns):
        return {name: Term(name, name) for name in columns}
    return {name: _term(name, FEATURES[name][0], columns) for name in columns}


def _term(name: str, unit: str, columns: tuple[str, ...]) -> Term:
    stem, days = _split(name)
    moving = _MOVING.sub("", stem)
    topic = _TOPICS.get(moving, moving)
    form = _FORMS.get(unit, "plain")
    if name.startswith("price_change"):
        form = "change"
    elif name.endswith("_gap"):
        form = "gap"
    elif unit in _COUNTED and days:
        form = "count"
    elif days and unit in ("calls/day", "hours/day", "kWh/day", "people"):
        form = "mean"
    longer = [(other, window) for other in columns for root, window in [_split(other)] if root == stem and window]
    later = sorted((window, other) for other, window in longer if days and window > days)
    before = (later[0][1], later[0][0]) if later and form in ("count", "mean") else None
    noun = NOUNS.get(moving, moving.replace("_", " "))
    return Term(topic, _BARE.get(noun, noun) if form == "trend" else noun, form, days, before)


def _split(name: str) -> tuple[str, int | None]:
    found = _WINDOW.search(name)
    return (name[: found.start()], int(found.group(1))) if found else (name, None)
