"""Prices: the list price of a plan in a region from a day on, with the competitors' price and price experiments."""

from __future__ import annotations

from features.contracts.contract import Between, Column, Contract, OneOf

PRICES = Contract(
    name="prices",
    description="List prices per plan and region, from a day on",
    key=("plan", "region", "valid_from"),
    own_columns=(
        Column("plan", "string", "Plan", checks=(OneOf(("basic", "plus", "pro", "enterprise")),)),
        Column("region", "string", "Sales region", checks=(OneOf(("north", "south", "east", "west")),)),
        Column("valid_from", "date", "First day of this price"),
        Column("price", "number", "List price", unit="EUR/month", checks=(Between(0, 1_000_000),)),
        Column(
            "competitor_price",
            "number",
            "Mean price of comparable plans of competitors",
            unit="EUR/month",
            checks=(Between(0, 1_000_000),),
        ),
        Column("experiment", "string", "Name of the price experiment, where there is one", nullable=True),
    ),
    event_time_from=("valid_from",),
)
