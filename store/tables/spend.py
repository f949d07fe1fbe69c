"""What the platform says about its bill: anomalies of spending, recommendations and their outcomes, its scorecard."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from store.tables.base import Base

_Id = sa.String(32)
_Name = sa.String(256)
_Json = sa.JSON(none_as_null=True)


class SpendAnomalyRow(Base):
    """Something unusual in the ledger. Found again, it is the same row; what a person said of it stays."""

    __tablename__ = "spend_anomalies"
    __table_args__ = (sa.Index(None, "started_at"), sa.Index(None, "workspace", "started_at"))

    id: Mapped[str] = mapped_column(_Id, primary_key=True)
    # None: it concerns the whole platform.
    workspace: Mapped[str | None] = mapped_column(_Name)
    # price, volume, runaway user, model mix, new model, errors, latency, quality or budget pace
    kind: Mapped[str] = mapped_column(sa.String(32))
    # What it is about: model=simulated/large
    subject: Mapped[str] = mapped_column(sa.String(600))
    severity: Mapped[str] = mapped_column(sa.String(16))
    score: Mapped[float] = mapped_column(sa.Double)
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime]
    ongoing: Mapped[bool]
    # Nanos above what was expected.
    excess: Mapped[int] = mapped_column(sa.BigInteger)
    report: Mapped[dict[str, Any]] = mapped_column(sa.JSON)
    # open, confirmed or dismissed
    state: Mapped[str] = mapped_column(sa.String(16))
    decided: Mapped[dict[str, Any] | None] = mapped_column(_Json)
    found_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class SpendRecommendationRow(Base):
    """A way to spend less, and what became of it.

    `state` goes from "proposed" to "accepted", "dismissed" or "expired", and from "accepted" to "measured" and
    "reverted"; what is measured may be measured again.
    """

    __tablename__ = "spend_recommendations"
    __table_args__ = (
        sa.Index(None, "workspace", "id"),
        sa.Index(None, "state", "id"),
        # The same advice is open once.
        sa.Index(
            "uq_spend_recommendations_proposed",
            "fingerprint",
            unique=True,
            sqlite_where=sa.text("state = 'proposed'"),
            postgresql_where=sa.text("state = 'proposed'"),
        ),
    )

    id: Mapped[str] = mapped_column(_Id, primary_key=True)
    # What it is about, as a digest.
    fingerprint: Mapped[str] = mapped_column(_Id)
    # None: it concerns the whole platform.
    workspace: Mapped[str | None] = mapped_column(_Name)
    # cheaper model, provider switch, prompt trimming, cache or batch
    kind: Mapped[str] = mapped_column(sa.String(32))
    state: Mapped[str] = mapped_column(sa.String(16))
    # Nanos a month, as estimated.
    saving: Mapped[int] = mapped_column(sa.BigInteger)
    advice: Mapped[dict[str, Any]] = mapped_column(sa.JSON)
    accepted: Mapped[dict[str, Any] | None] = mapped_column(_Json)
    dismissed: Mapped[dict[str, Any] | None] = mapped_column(_Json)
    measured: Mapped[dict[str, Any] | None] = mapped_column(_Json)
    reverted: Mapped[dict[str, Any] | None] = mapped_column(_Json)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class ScorecardRow(Base):
    """How well the platform did by one measure up to a day. Written again, it is the same row."""

    __tablename__ = "scorecards"

    # 2026-11-30
    day: Mapped[str] = mapped_column(sa.String(10), primary_key=True)
    measure: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    value: Mapped[float | None] = mapped_column(sa.Double)
    low: Mapped[float | None] = mapped_column(sa.Double)
    high: Mapped[float | None] = mapped_column(sa.Double)
    # Of calls, days or decisions that it rests on.
    count: Mapped[int] = mapped_column(sa.BigInteger)
    detail: Mapped[dict[str, Any]] = mapped_column(sa.JSON)
    updated_at: Mapped[datetime]
