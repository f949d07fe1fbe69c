"""Subscriptions: one row for each change of state (started, plan or price changed, cancelled)."""

from __future__ import annotations

from features.contracts.contract import Between, Column, Contract, FilledWhen, NotBefore, OneOf

SUBSCRIPTIONS = Contract(
    name="subscriptions",
    description="What customers subscribe to; one row per change of state",
    key=("subscription_id", "event_time"),
    own_columns=(
        Column("subscription_id", "string", "Identifier of the contract"),
        Column("customer_id", "string", "Whose contract"),
        Column("plan", "string", "Plan from this change on", checks=(OneOf(("basic", "plus", "pro", "enterprise")),)),
        Column("status", "string", "State from this change on", checks=(OneOf(("active", "cancelled")),)),
        Column("monthly_price", "number", "Price agreed", unit="EUR/month", checks=(Between(0, 1_000_000),)),
        Column(
            "contract_months",
            "integer",
            "Length of the contract: 1, 12 or 24",
            unit="months",
            checks=(Between(1, 120), Between(1, 24, "warning")),
        ),
        Column("started_on", "date", "First day of the contract"),
        Column("ended_on", "date", "Last day of the contract, once it is cancelled", nullable=True),
        Column("reason", "string", "Why it was cancelled, as told by the customer", nullable=True),
    ),
    checks=(
        NotBefore("ended_on", "started_on"),
        FilledWhen("ended_on", when="status", value="cancelled"),
    ),
    event_time_from=("ended_on", "started_on"),
    known_with=("ended_on",),
)
