"""Support tickets: one row per ticket; closing and rating arrive as corrections."""

from __future__ import annotations

from features.contracts.contract import Between, Column, Contract, NotBefore, OneOf

TICKETS = Contract(
    name="tickets",
    description="What customers asked support for",
    key=("ticket_id",),
    own_columns=(
        Column("ticket_id", "string", "Identifier of the ticket"),
        Column("customer_id", "string", "Who asked"),
        Column("opened_at", "timestamp", "When it was opened", unit="UTC"),
        Column("closed_at", "timestamp", "When it was closed", unit="UTC", nullable=True),
        Column("severity", "string", "How urgent", checks=(OneOf(("low", "medium", "high")),)),
        Column("category", "string", "What about"),
        Column(
            "satisfaction",
            "integer",
            "Rating by the customer, 1 (bad) to 5 (good)",
            unit="points",
            nullable=True,
            checks=(Between(1, 5),),
        ),
    ),
    checks=(NotBefore("closed_at", "opened_at"),),
    event_time_from=("opened_at",),
    known_with=("closed_at",),
)
