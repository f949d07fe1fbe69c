"""Customers: who they are. One row per customer, more only as corrections."""

from __future__ import annotations

from features.contracts.contract import Between, Column, Contract, Matches, OneOf

CUSTOMERS = Contract(
    name="customers",
    description="Who the customers are",
    key=("customer_id",),
    own_columns=(
        Column("customer_id", "string", "Identifier of the customer"),
        Column("signup_date", "date", "Day of the first contract"),
        Column("kind", "string", "What sort of customer", checks=(OneOf(("household", "business", "industrial")),)),
        Column("region", "string", "Sales region", checks=(OneOf(("north", "south", "east", "west")),)),
        Column("channel", "string", "How they came to us", checks=(OneOf(("web", "partner", "sales", "referral")),)),
        Column(
            "employees",
            "integer",
            "Size of the organisation; empty for households or where unknown",
            unit="people",
            nullable=True,
            checks=(Between(0, 10_000_000),),
        ),
        Column(
            "country",
            "string",
            "Country of the contract",
            unit="ISO 3166-1 alpha-2",
            checks=(Matches(r"^[A-Z]{2}$", "two capital letters", "warning"),),
        ),
    ),
    event_time_from=("signup_date",),
)
