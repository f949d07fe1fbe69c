"""The business's own tables, as their contracts describe them, with what was loaded and what was refused.

The columns are those of `features.contracts` (a test holds the two together). Rows are only ever added: a correction is
another row with the same key and a later `recorded_at`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from store.tables.base import Base

# Compared byte by byte everywhere, so that SQLite and Postgres sort alike.
_Text = sa.String().with_variant(sa.String(collation="C"), "postgresql")


def _table(name: str, key: tuple[str, ...], *columns: sa.Column[Any]) -> sa.Table:
    clocks = (
        sa.Column("event_time", sa.DateTime, nullable=False),
        sa.Column("recorded_at", sa.DateTime, nullable=False),
    )
    primary = sa.PrimaryKeyConstraint(*key, "recorded_at", name=f"pk_{name}")
    # Without SQLite's row id the table is its own index: half the size, and read in order of its key.
    return sa.Table(name, Base.metadata, *columns, *clocks, primary, sqlite_with_rowid=False)


def _column(name: str, kind: Any, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=nullable)


customers = _table(
    "customers",
    ("customer_id",),
    _column("customer_id", _Text),
    _column("signup_date", sa.Date),
    _column("kind", _Text),
    _column("region", _Text),
    _column("channel", _Text),
    _column("employees", sa.BigInteger, nullable=True),
    _column("country", _Text),
)

subscriptions = _table(
    "subscriptions",
    ("subscription_id", "event_time"),
    _column("subscription_id", _Text),
    _column("customer_id", _Text),
    _column("plan", _Text),
    _column("status", _Text),
    _column("monthly_price", sa.Double),
    _column("contract_months", sa.BigInteger),
    _column("started_on", sa.Date),
    _column("ended_on", sa.Date, nullable=True),
    _column("reason", _Text, nullable=True),
)

usage_daily = _table(
    "usage_daily",
    ("customer_id", "day"),
    _column("customer_id", _Text),
    _column("day", sa.Date),
    _column("api_calls", sa.BigInteger),
    _column("storage_gb", sa.Double),
    _column("compute_hours", sa.Double),
    _column("energy_kwh", sa.Double),
    _column("active_users", sa.BigInteger),
)

invoices = _table(
    "invoices",
    ("invoice_id",),
    _column("invoice_id", _Text),
    _column("customer_id", _Text),
    _column("period_start", sa.Date),
    _column("amount", sa.Double),
    _column("due_on", sa.Date),
    _column("paid_on", sa.Date, nullable=True),
    _column("status", _Text),
)

tickets = _table(
    "tickets",
    ("ticket_id",),
    _column("ticket_id", _Text),
    _column("customer_id", _Text),
    _column("opened_at", sa.DateTime),
    _column("closed_at", sa.DateTime, nullable=True),
    _column("severity", _Text),
    _column("category", _Text),
    _column("satisfaction", sa.BigInteger, nullable=True),
)

product_events = _table(
    "product_events",
    ("event_id",),
    _column("event_id", _Text),
    _column("customer_id", _Text),
    _column("name", _Text),
    _column("occurred_at", sa.DateTime),
    _column("count", sa.BigInteger),
)

prices = _table(
    "prices",
    ("plan", "region", "valid_from"),
    _column("plan", _Text),
    _column("region", _Text),
    _column("valid_from", sa.Date),
    _column("price", sa.Double),
    _column("competitor_price", sa.Double),
    _column("experiment", _Text, nullable=True),
)


class IngestRow(Base):
    """One load: what was read from where, and what became of its rows."""

    __tablename__ = "ingests"
    __table_args__ = (sa.Index(None, "table_name", "started_at"),)

    id: Mapped[str] = mapped_column(sa.String(32), primary_key=True)
    table_name: Mapped[str] = mapped_column(sa.String(64))
    source: Mapped[str] = mapped_column(sa.Text)
    digest: Mapped[str] = mapped_column(sa.String(64))
    read: Mapped[int]
    inserted: Mapped[int]
    unchanged: Mapped[int]
    quarantined: Mapped[int]
    notes: Mapped[list[str]] = mapped_column(sa.JSON)
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime]


class QuarantineRow(Base):
    """One row that did not fit, as it came, with the reasons. `ingest_id`, `position`, `at` are of its latest load."""

    __tablename__ = "quarantine"
    __table_args__ = (
        sa.Index(None, "table_name", "at"),
        sa.Index(None, "ingest_id"),
        sa.Index("uq_quarantine_table_name_row_hash", "table_name", "row_hash", unique=True),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    table_name: Mapped[str] = mapped_column(sa.String(64))
    row_hash: Mapped[str] = mapped_column(sa.String(32))
    row: Mapped[dict[str, Any]] = mapped_column(sa.JSON)
    reasons: Mapped[list[str]] = mapped_column(sa.JSON)
    source: Mapped[str] = mapped_column(sa.Text)
    position: Mapped[int]
    ingest_id: Mapped[str] = mapped_column(sa.String(32), sa.ForeignKey("ingests.id"))
    at: Mapped[datetime]
