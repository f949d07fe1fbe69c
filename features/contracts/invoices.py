"""Invoices: one row per invoice; payment and reminders arrive as corrections."""

from __future__ import annotations

from features.contracts.contract import Between, Column, Contract, FilledWhen, NotBefore, OneOf

INVOICES = Contract(
    name="invoices",
    description="What was billed and paid",
    key=("invoice_id",),
    own_columns=(
        Column("invoice_id", "string", "Identifier of the invoice"),
        Column("customer_id", "string", "Who pays"),
        Column("period_start", "date", "First day billed"),
        Column(
            "amount",
            "number",
            "Amount; a credit note is negative",
            unit="EUR",
            checks=(Between(-10_000_000, 10_000_000), Between(0, None, "warning")),
        ),
        Column("due_on", "date", "Day by which it is to be paid"),
        Column("paid_on", "date", "Day of payment", nullable=True),
        Column("status", "string", "State of payment", checks=(OneOf(("open", "paid", "late", "written_off")),)),
    ),
    checks=(
        NotBefore("due_on", "period_start", "warning"),
        NotBefore("paid_on", "period_start", "warning"),
        FilledWhen("paid_on", when="status", value="paid"),
    ),
    event_time_from=("period_start",),
    known_with=("paid_on",),
)
