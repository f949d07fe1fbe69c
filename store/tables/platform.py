"""Tables of the platform itself: keys, predictions and their outcomes, forecasts, the promotion ledger, events."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from store.tables.base import Base

_Id = sa.String(32)
_Name = sa.String(256)


class ApiKeyRow(Base):
    """A key to the API. Only the SHA-256 of its secret is kept."""

    __tablename__ = "api_keys"
    __table_args__ = (
        # Two keys of one name cannot both be valid; a revoked one frees its name.
        sa.Index(
            "uq_api_keys_active_name",
            "name",
            unique=True,
            sqlite_where=sa.text("revoked_at IS NULL"),
            postgresql_where=sa.text("revoked_at IS NULL"),
        ),
    )

    id: Mapped[str] = mapped_column(_Id, primary_key=True)
    name: Mapped[str] = mapped_column(_Name)
    role: Mapped[str] = mapped_column(sa.String(16))
    # None: of the whole platform; what it asks of the gateway counts in the workspace "default".
    workspace: Mapped[str | None] = mapped_column(_Name)
    project: Mapped[str | None] = mapped_column(_Name)
    requests_per_minute: Mapped[int | None]
    tokens_per_minute: Mapped[int | None]
    sha256: Mapped[str] = mapped_column(sa.String(64))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class PredictionRow(Base):
    """One answered prediction with everything needed to trace it back to its data."""

    __tablename__ = "predictions"
    __table_args__ = (sa.Index(None, "model", "id"), sa.Index(None, "entity_id", "id"))

    id: Mapped[str] = mapped_column(_Id, primary_key=True)
    model: Mapped[str] = mapped_column(_Name)
    version: Mapped[int]
    digest: Mapped[str | None] = mapped_column(sa.String(64))
    run_id: Mapped[str | None] = mapped_column(sa.String(64))
    git_commit: Mapped[str | None] = mapped_column(sa.String(64))
    entity_id: Mapped[str | None] = mapped_column(_Name)
    features: Mapped[dict[str, Any]] = mapped_column(sa.JSON)
    output: Mapped[dict[str, Any]] = mapped_column(sa.JSON)
    created_at: Mapped[datetime]
    request_id: Mapped[str | None] = mapped_column(sa.String(64))
    caller: Mapped[str | None] = mapped_column(_Name)


class PredictionActualRow(Base):
    """What really happened, as reported. A correction is a later row; nothing is overwritten."""

    __tablename__ = "prediction_actuals"
    __table_args__ = (sa.Index(None, "prediction_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    prediction_id: Mapped[str] = mapped_column(_Id, sa.ForeignKey("predictions.id"))
    value: Mapped[Any] = mapped_column(sa.JSON)
    reported_at: Mapped[datetime]
    reported_by: Mapped[str | None] = mapped_column(_Name)


class ForecastRow(Base):
    """One requested forecast; `result` is a Parquet file."""

    __tablename__ = "forecasts"
    __table_args__ = (sa.Index(None, "model", "id"),)

    id: Mapped[str] = mapped_column(_Id, primary_key=True)
    model: Mapped[str] = mapped_column(_Name)
    version: Mapped[int]
    digest: Mapped[str | None] = mapped_column(sa.String(64))
    run_id: Mapped[str | None] = mapped_column(sa.String(64))
    git_commit: Mapped[str | None] = mapped_column(sa.String(64))
    request: Mapped[dict[str, Any]] = mapped_column(sa.JSON)
    result: Mapped[bytes | None] = mapped_column(sa.LargeBinary)
    rows: Mapped[int | None]
    status: Mapped[str] = mapped_column(sa.String(16))
    error: Mapped[str | None] = mapped_column(sa.Text)
    created_at: Mapped[datetime]
    request_id: Mapped[str | None] = mapped_column(sa.String(64))
    caller: Mapped[str | None] = mapped_column(_Name)


class PromotionRow(Base):
    """One line of the promotion ledger. Only an `intended` line ever changes, once, to what became of it."""

    __tablename__ = "promotions"
    __table_args__ = (sa.Index(None, "model", "id"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(_Name)
    kind: Mapped[str] = mapped_column(sa.String(16))
    state: Mapped[str] = mapped_column(sa.String(16))
    from_version: Mapped[int | None]
    to_version: Mapped[int | None]
    actor: Mapped[str] = mapped_column(_Name)
    reason: Mapped[str] = mapped_column(sa.Text)
    detail: Mapped[str | None] = mapped_column(sa.Text)
    report: Mapped[dict[str, Any] | None] = mapped_column(sa.JSON(none_as_null=True))
    artifact_sha256: Mapped[str | None] = mapped_column(sa.String(64))
    dataset_digest: Mapped[str | None] = mapped_column(sa.String(64))
    run_id: Mapped[str | None] = mapped_column(sa.String(64))
    key: Mapped[str | None] = mapped_column(sa.String(128))
    created_at: Mapped[datetime]
    settled_at: Mapped[datetime | None]


class PromotionLockRow(Base):
    """A row per model that a promotion holds locked while it lasts (Postgres; SQLite locks a file)."""

    __tablename__ = "promotion_locks"

    model: Mapped[str] = mapped_column(_Name, primary_key=True)


class EventRow(Base):
    """Something others may want to know: a promotion, drift, a failed validation."""

    __tablename__ = "events"
    __table_args__ = (sa.Index(None, "kind", "id"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(sa.String(64))
    payload: Mapped[dict[str, Any]] = mapped_column(sa.JSON)
    created_at: Mapped[datetime]


class FeatureRow(Base):
    """The current features of one entity, for predictions by id."""

    __tablename__ = "feature_rows"

    view: Mapped[str] = mapped_column(_Name, primary_key=True)
    entity_id: Mapped[str] = mapped_column(_Name, primary_key=True)
    as_of: Mapped[datetime]
    features: Mapped[dict[str, Any]] = mapped_column(sa.JSON)
    updated_at: Mapped[datetime]
