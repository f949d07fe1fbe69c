"""Business tables, quarantine and ingests."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002_business"
down_revision = "0001_platform"
branch_labels = None
depends_on = None

_TEXT = sa.String().with_variant(sa.String(collation="C"), "postgresql")

# table → (key, columns as (name, type, nullable)); every table ends in the two clocks.
_TABLES: dict[str, tuple[tuple[str, ...], list[tuple[str, sa.types.TypeEngine[Any], bool]]]] = {
    "customers": (
        ("customer_id",),
        [
            ("customer_id", _TEXT, False),
            ("signup_date", sa.Date(), False),
            ("kind", _TEXT, False),
            ("region", _TEXT, False),
            ("channel", _TEXT, False),
            ("employees", sa.BigInteger(), True),
            ("country", _TEXT, False),
        ],
    ),
    "subscriptions": (
        ("subscription_id", "event_time"),
        [
            ("subscription_id", _TEXT, False),
            ("customer_id", _TEXT, False),
            ("plan", _TEXT, False),
            ("status", _TEXT, False),
            ("monthly_price", sa.Double(), False),
            ("contract_months", sa.BigInteger(), False),
            ("started_on", sa.Date(), False),
            ("ended_on", sa.Date(), True),
            ("reason", _TEXT, True),
        ],
    ),
    "usage_daily": (
        ("customer_id", "day"),
        [
            ("customer_id", _TEXT, False),
            ("day", sa.Date(), False),
            ("api_calls", sa.BigInteger(), False),
            ("storage_gb", sa.Double(), False),
            ("compute_hours", sa.Double(), False),
            ("energy_kwh", sa.Double(), False),
            ("active_users", sa.BigInteger(), False),
        ],
    ),
    "invoices": (
        ("invoice_id",),
        [
            ("invoice_id", _TEXT, False),
            ("customer_id", _TEXT, False),
            ("period_start", sa.Date(), False),
            ("amount", sa.Double(), False),
            ("due_on", sa.Date(), False),
            ("paid_on", sa.Date(), True),
            ("status", _TEXT, False),
        ],
    ),
    "tickets": (
        ("ticket_id",),
        [
            ("ticket_id", _TEXT, False),
            ("customer_id", _TEXT, False),
            ("opened_at", sa.DateTime(), False),
            ("closed_at", sa.DateTime(), True),
            ("severity", _TEXT, False),
            ("category", _TEXT, False),
            ("satisfaction", sa.BigInteger(), True),
        ],
    ),
    "product_events": (
        ("event_id",),
        [
            ("event_id", _TEXT, False),
            ("customer_id", _TEXT, False),
            ("name", _TEXT, False),
            ("occurred_at", sa.DateTime(), False),
            ("count", sa.BigInteger(), False),
        ],
    ),
    "prices": (
        ("plan", "region", "valid_from"),
        [
            ("plan", _TEXT, False),
            ("region", _TEXT, False),
            ("valid_from", sa.Date(), False),
            ("price", sa.Double(), False),
            ("competitor_price", sa.Double(), False),
            ("experiment", _TEXT, True),
        ],
    ),
}


def upgrade() -> None:
    for name, (key, columns) in _TABLES.items():
        op.create_table(
            name,
            *(sa.Column(column, kind, nullable=nullable) for column, kind, nullable in columns),
            sa.Column("event_time", sa.DateTime(), nullable=False),
            sa.Column("recorded_at", sa.DateTime(), nullable=False),
            sa.PrimaryKeyConstraint(*key, "recorded_at", name=op.f(f"pk_{name}")),
            sqlite_with_rowid=False,
        )
    op.create_table(
        "ingests",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("table_name", sa.String(length=64), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("read", sa.Integer(), nullable=False),
        sa.Column("inserted", sa.Integer(), nullable=False),
        sa.Column("unchanged", sa.Integer(), nullable=False),
        sa.Column("quarantined", sa.Integer(), nullable=False),
        sa.Column("notes", sa.JSON(), nullable=False),
        sa.Column("started_at", sa.DateTime(), nullable=False),
        sa.Column("finished_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ingests")),
    )
    op.create_index(op.f("ix_ingests_table_name_started_at"), "ingests", ["table_name", "started_at"], unique=False)
    op.create_table(
        "quarantine",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("table_name", sa.String(length=64), nullable=False),
        sa.Column("row", sa.JSON(), nullable=False),
        sa.Column("reasons", sa.JSON(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("ingest_id", sa.String(length=32), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(["ingest_id"], ["ingests.id"], name=op.f("fk_quarantine_ingest_id_ingests")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quarantine")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_quarantine_ingest_id"), "quarantine", ["ingest_id"], unique=False)
    op.create_index(op.f("ix_quarantine_table_name_at"), "quarantine", ["table_name", "at"], unique=False)


def downgrade() -> None:
    op.drop_table("quarantine")
    op.drop_table("ingests")
    for name in reversed(_TABLES):
        op.drop_table(name)
