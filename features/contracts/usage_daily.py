"""Daily usage: one row per customer and day with every metric."""

from __future__ import annotations

from datetime import timedelta

from features.contracts.contract import Between, Column, Contract, NotBefore

USAGE_DAILY = Contract(
    name="usage_daily",
    description="What customers used, totals per day",
    key=("customer_id", "day"),
    own_columns=(
        Column("customer_id", "string", "Whose usage"),
        Column("day", "date", "Day of the usage", unit="UTC"),
        Column("api_calls", "integer", "Calls of the programming interface", unit="calls", checks=(Between(0),)),
        Column("storage_gb", "number", "Storage held at the end of the day", unit="GB", checks=(Between(0),)),
        Column("compute_hours", "number", "Compute time", unit="hours", checks=(Between(0),)),
        Column("energy_kwh", "number", "Energy metered", unit="kWh", checks=(Between(0),)),
        Column("active_users", "integer", "People who logged in", unit="people", checks=(Between(0),)),
    ),
    checks=(NotBefore("event_time", "day", "warning"),),
    event_time_from=("day",),
    event_time_delay=timedelta(days=1),
)
