"""What models said on their own account, and what came of it: scores, recommendations, plans, monitoring, shadows."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from store.tables.base import Base

_Id = sa.String(32)
_Name = sa.String(256)


class ScoreRow(Base):
    """What one version said of one entity as of one moment. Written again, it is the same row.

    `label` and `value` are what lists are filtered and sorted by: a risk band and a probability, a segment and a
    lifetime value.
    """

    __tablename__ = "scores"
    __table_args__ = (
        sa.Index(None, "model", "as_of", "label"),
        sa.Index(None, "model", "entity_id", "as_of"),
    )

    model: Mapped[str] = mapped_column(_Name, primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    as_of: Mapped[datetime] = mapped_column(primary_key=True)
    entity_id: Mapped[str] = mapped_column(_Name, primary_key=True)
    label: Mapped[str] = mapped_column(sa.String(64))
    value: Mapped[float] = mapped_column(sa.Double)
    output: Mapped[dict[str, Any]] = mapped_column(sa.JSON)


class ScoreBatchRow(Base):
    """One batch of scores; there once all of its rows are."""

    __tablename__ = "score_batches"
    __table_args__ = (sa.Index(None, "model", "as_of"),)

    model: Mapped[str] = mapped_column(_Name, primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    as_of: Mapped[datetime] = mapped_column(primary_key=True)
    rows: Mapped[int]
    digest: Mapped[str] = mapped_column(sa.String(64))
    snapshot: Mapped[str | None] = mapped_column(sa.String(64))
    uri: Mapped[str] = mapped_column(sa.Text)
    flow_run: Mapped[str | None] = mapped_column(sa.String(64))
    scored_at: Mapped[datetime]


class RecommendationRow(Base):
    """A price that was recommended, or the reason why none was, and what became of it.

    `state` goes from "proposed" (or "cannot_advise") to "implemented" or "dismissed", and from "implemented" to
    "measured"; each move happens once.
    """

    __tablename__ = "recommendations"
    __table_args__ = (sa.Index(None, "model", "id"), sa.Index(None, "product", "id"), sa.Index(None, "state", "id"))

    id: Mapped[str] = mapped_column(_Id, primary_key=True)
    model: Mapped[str] = mapped_column(_Name)
    version: Mapped[int]
    digest: Mapped[str | None] = mapped_column(sa.String(64))
    run_id: Mapped[str | None] = mapped_column(sa.String(64))
    git_commit: Mapped[str | None] = mapped_column(sa.String(64))
    product: Mapped[str] = mapped_column(_Name)
    segment: Mapped[str | None] = mapped_column(_Name)
    state: Mapped[str] = mapped_column(sa.String(16))
    request: Mapped[dict[str, Any]] = mapped_column(sa.JSON)
    advice: Mapped[dict[str, Any]] = mapped_column(sa.JSON)
    implemented: Mapped[dict[str, Any] | None] = mapped_column(sa.JSON(none_as_null=True))
    dismissed: Mapped[dict[str, Any] | None] = mapped_column(sa.JSON(none_as_null=True))
    measured: Mapped[dict[str, Any] | None] = mapped_column(sa.JSON(none_as_null=True))
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    request_id: Mapped[str | None] = mapped_column(sa.String(64))
    caller: Mapped[str | None] = mapped_column(_Name)


class RetentionPlanRow(Base):
    """Which customers a campaign should make which offer, within its budget."""

    __tablename__ = "retention_plans"
    __table_args__ = (sa.Index(None, "model", "id"),)

    id: Mapped[str] = mapped_column(_Id, primary_key=True)
    model: Mapped[str] = mapped_column(_Name)
    version: Mapped[int]
    digest: Mapped[str | None] = mapped_column(sa.String(64))
    request: Mapped[dict[str, Any]] = mapped_column(sa.JSON)
    summary: Mapped[dict[str, Any]] = mapped_column(sa.JSON)
    result: Mapped[bytes] = mapped_column(sa.LargeBinary)
    created_at: Mapped[datetime]
    request_id: Mapped[str | None] = mapped_column(sa.String(64))
    caller: Mapped[str | None] = mapped_column(_Name)


class MonitorReportRow(Base):
    """What a look at a champion after its promotion found."""

    __tablename__ = "monitor_reports"
    __table_args__ = (sa.Index(None, "model", "id"),)

    id: Mapped[str] = mapped_column(_Id, primary_key=True)
    model: Mapped[str] = mapped_column(_Name)
    version: Mapped[int]
    as_of: Mapped[datetime]
    verdict: Mapped[str] = mapped_column(sa.String(16))
    report: Mapped[dict[str, Any]] = mapped_column(sa.JSON)
    flow_run: Mapped[str | None] = mapped_column(sa.String(64))
    created_at: Mapped[datetime]


class ShadowAnswerRow(Base):
    """What a challenger would have answered where the champion did."""

    __tablename__ = "shadow_answers"
    __table_args__ = (sa.Index(None, "model", "version", "prediction_id"),)

    prediction_id: Mapped[str] = mapped_column(_Id, primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(_Name)
    champion: Mapped[int]
    output: Mapped[dict[str, Any]] = mapped_column(sa.JSON)
    latency_ms: Mapped[float] = mapped_column(sa.Double)
    error: Mapped[str | None] = mapped_column(sa.Text)
    created_at: Mapped[datetime]
