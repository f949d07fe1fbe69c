"""Product events: what customers did in the product."""

from __future__ import annotations

from features.contracts.contract import Between, Column, Contract, OneOf

PRODUCT_EVENTS = Contract(
    name="product_events",
    description="What customers did in the product",
    key=("event_id",),
    own_columns=(
        Column("event_id", "string", "Identifier of the event"),
        Column("customer_id", "string", "Who did it"),
        Column(
            "name",
            "string",
            "What was done",
            checks=(OneOf(("login", "export", "invite", "api_key", "automation", "error", "downgrade_page")),),
        ),
        Column("occurred_at", "timestamp", "When", unit="UTC"),
        Column("count", "integer", "How many times", unit="events", checks=(Between(1),)),
    ),
    event_time_from=("occurred_at",),
)
