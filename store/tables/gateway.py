"""Tables of the gateway: workspaces, the ledger of calls, what was said, budgets, conversations, batches, feedback."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from store.tables.base import Base

_Id = sa.String(32)
_Name = sa.String(256)
_Json = sa.JSON(none_as_null=True)


class WorkspaceRow(Base):
    """A workspace: who shares keys, budgets and what is kept.

    `settings` holds what `gateway.account.workspaces.WorkspaceSettings` describes.
    """

    __tablename__ = "workspaces"

    name: Mapped[str] = mapped_column(_Name, primary_key=True)
    organisation: Mapped[str] = mapped_column(_Name)
    settings: Mapped[dict[str, Any]] = mapped_column(sa.JSON)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class LlmCallRow(Base):
    """One line of the ledger: a call. Two things ever change it: a person's erasure takes their name and words out, and
    retention sums old lines up into `llm_usage_days`; neither touches the money.
    """

    __tablename__ = "llm_calls"
    __table_args__ = (
        sa.Index(None, "at"),
        sa.Index(None, "workspace", "at"),
        sa.Index(None, "parent"),
        {"sqlite_autoincrement": True},
    )

    # In the order of writing: a reader that remembers the last one misses none.
    seq: Mapped[int] = mapped_column(sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True)
    id: Mapped[str] = mapped_column(_Id, unique=True)
    at: Mapped[datetime]
    organisation: Mapped[str] = mapped_column(_Name)
    workspace: Mapped[str] = mapped_column(_Name)
    project: Mapped[str | None] = mapped_column(_Name)
    user: Mapped[str | None] = mapped_column("user_name", _Name)
    key_id: Mapped[str | None] = mapped_column(_Id)
    key_name: Mapped[str | None] = mapped_column(_Name)
    kind: Mapped[str] = mapped_column(sa.String(16))
    asked: Mapped[str] = mapped_column(_Name)
    strategy: Mapped[str] = mapped_column(sa.String(32))
    outcome: Mapped[str] = mapped_column(sa.String(16))
    model: Mapped[str | None] = mapped_column(_Name)
    provider: Mapped[str | None] = mapped_column(_Name)
    input_tokens: Mapped[int]
    cached_tokens: Mapped[int]
    cache_write_tokens: Mapped[int]
    output_tokens: Mapped[int]
    reasoning_tokens: Mapped[int]
    audio_input_tokens: Mapped[int]
    audio_output_tokens: Mapped[int]
    estimated: Mapped[bool]
    # Nanos: billionths of a dollar.
    cost: Mapped[int] = mapped_column(sa.BigInteger)
    reserved: Mapped[int] = mapped_column(sa.BigInteger)
    latency_ms: Mapped[float]
    first_token_ms: Mapped[float | None]
    overhead_ms: Mapped[float | None]
    stream: Mapped[bool]
    error: Mapped[str | None] = mapped_column(sa.String(64))
    finish_reason: Mapped[str | None] = mapped_column(sa.String(32))
    complexity: Mapped[str | None] = mapped_column(sa.String(16))
    domain: Mapped[str | None] = mapped_column(sa.String(32))
    confidence: Mapped[float | None]
    propensity: Mapped[float]
    explored: Mapped[bool]
    policy: Mapped[str | None] = mapped_column(_Name)
    cache: Mapped[str | None] = mapped_column(sa.String(16))
    parent: Mapped[str | None] = mapped_column(_Id)
    conversation: Mapped[str | None] = mapped_column(sa.String(64))
    batch: Mapped[str | None] = mapped_column(sa.String(64))
    request_id: Mapped[str | None] = mapped_column(sa.String(64))
    quality: Mapped[float | None]
    tags: Mapped[list[str]] = mapped_column(sa.JSON)
    attempts: Mapped[list[dict[str, Any]]] = mapped_column(sa.JSON)
    decision: Mapped[dict[str, Any] | None] = mapped_column(_Json)
    extra: Mapped[dict[str, Any] | None] = mapped_column(_Json)


class LlmUsageDayRow(Base):
    """Calls of one day that retention has removed from `llm_calls`, summed up. Several rows may share all names: their
    sum counts.
    """

    __tablename__ = "llm_usage_days"
    __table_args__ = (sa.Index(None, "workspace", "at"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(primary_key=True)
    # Midnight of the day.
    at: Mapped[datetime]
    organisation: Mapped[str] = mapped_column(_Name)
    workspace: Mapped[str] = mapped_column(_Name)
    project: Mapped[str | None] = mapped_column(_Name)
    user: Mapped[str | None] = mapped_column("user_name", _Name)
    key_id: Mapped[str | None] = mapped_column(_Id)
    key_name: Mapped[str | None] = mapped_column(_Name)
    kind: Mapped[str] = mapped_column(sa.String(16))
    strategy: Mapped[str] = mapped_column(sa.String(32))
    outcome: Mapped[str] = mapped_column(sa.String(16))
    model: Mapped[str | None] = mapped_column(_Name)
    provider: Mapped[str | None] = mapped_column(_Name)
    complexity: Mapped[str | None] = mapped_column(sa.String(16))
    domain: Mapped[str | None] = mapped_column(sa.String(32))
    cache: Mapped[str | None] = mapped_column(sa.String(16))
    estimated: Mapped[bool]
    calls: Mapped[int] = mapped_column(sa.BigInteger)
    # Of them, those that are no member of an ensemble.
    requests: Mapped[int] = mapped_column(sa.BigInteger)
    input_tokens: Mapped[int] = mapped_column(sa.BigInteger)
    cached_tokens: Mapped[int] = mapped_column(sa.BigInteger)
    cache_write_tokens: Mapped[int] = mapped_column(sa.BigInteger)
    output_tokens: Mapped[int] = mapped_column(sa.BigInteger)
    reasoning_tokens: Mapped[int] = mapped_column(sa.BigInteger)
    audio_input_tokens: Mapped[int] = mapped_column(sa.BigInteger)
    audio_output_tokens: Mapped[int] = mapped_column(sa.BigInteger)
    # Nanos.
    cost: Mapped[int] = mapped_column(sa.BigInteger)
    # Sum over the calls.
    latency_ms: Mapped[float]


class LlmContentRow(Base):
    """What was asked and answered, where the workspace keeps it. Erasable: the ledger keeps the money, not the words.

    `prompt` and `answer` are JSON, encrypted where `key_id` names a key.
    """

    __tablename__ = "llm_contents"
    __table_args__ = (sa.Index(None, "workspace", "at"), sa.Index(None, "workspace", "user_name"))

    id: Mapped[str] = mapped_column(_Id, primary_key=True)
    at: Mapped[datetime]
    workspace: Mapped[str] = mapped_column(_Name)
    user: Mapped[str | None] = mapped_column("user_name", _Name)
    key_id: Mapped[str | None] = mapped_column(sa.String(16))
    prompt: Mapped[bytes] = mapped_column(sa.LargeBinary)
    answer: Mapped[bytes | None] = mapped_column(sa.LargeBinary)


class BudgetRow(Base):
    """How much may be spent, by whom, in which period, and what happens at its end."""

    __tablename__ = "budgets"
    __table_args__ = (
        sa.UniqueConstraint("scope", "subject", "workspace", "period"),
        sa.Index(None, "workspace"),
    )

    id: Mapped[str] = mapped_column(_Id, primary_key=True)
    # organisation, workspace, project, user, provider, key or request
    scope: Mapped[str] = mapped_column(sa.String(16))
    # Name of what is limited; "" stands for each one of its kind by itself.
    subject: Mapped[str] = mapped_column(_Name)
    # The workspace whose calls count; "" for all.
    workspace: Mapped[str] = mapped_column(_Name)
    # day, month or request
    period: Mapped[str] = mapped_column(sa.String(16))
    # Nanos.
    amount: Mapped[int] = mapped_column(sa.BigInteger)
    # alert, downgrade or refuse
    action: Mapped[str] = mapped_column(sa.String(16))
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    created_by: Mapped[str | None] = mapped_column(_Name)


class BudgetAlertRow(Base):
    """A threshold that a budget passed: once each per period."""

    __tablename__ = "budget_alerts"

    budget_id: Mapped[str] = mapped_column(_Id, primary_key=True)
    subject: Mapped[str] = mapped_column(_Name, primary_key=True)
    # First day of the period, as text: 2026-11-01.
    period_start: Mapped[str] = mapped_column(sa.String(10), primary_key=True)
    # 50, 80 or 100 per cent.
    threshold: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    spent: Mapped[int] = mapped_column(sa.BigInteger)


class ConversationRow(Base):
    """A conversation that the gateway keeps; `messages` is JSON, encrypted where `key_id` names a key."""

    __tablename__ = "llm_conversations"
    __table_args__ = (sa.Index(None, "workspace", "updated_at"),)

    id: Mapped[str] = mapped_column(_Id, primary_key=True)
    workspace: Mapped[str] = mapped_column(_Name)
    key_name: Mapped[str | None] = mapped_column(_Name)
    user: Mapped[str | None] = mapped_column("user_name", _Name)
    title: Mapped[str | None] = mapped_column(_Name)
    # The model that answered last, and whether a tool's answer is awaited: then it stays with that model.
    model: Mapped[str | None] = mapped_column(_Name)
    in_tool_loop: Mapped[bool]
    turns: Mapped[int]
    key_id: Mapped[str | None] = mapped_column(sa.String(16))
    messages: Mapped[bytes] = mapped_column(sa.LargeBinary)
    # Counts up with every change: two writers at once notice each other.
    version: Mapped[int]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class FileRow(Base):
    """An uploaded file; its bytes lie under `MERIT_HOME/files`."""

    __tablename__ = "llm_files"
    __table_args__ = (sa.Index(None, "workspace", "id"),)

    id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    workspace: Mapped[str] = mapped_column(_Name)
    key_name: Mapped[str | None] = mapped_column(_Name)
    user: Mapped[str | None] = mapped_column("user_name", _Name)
    filename: Mapped[str] = mapped_column(_Name)
    purpose: Mapped[str] = mapped_column(sa.String(32))
    bytes: Mapped[int] = mapped_column(sa.BigInteger)
    sha256: Mapped[str] = mapped_column(sa.String(64))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]


class BatchRow(Base):
    """A batch of requests."""

    __tablename__ = "llm_batches"
    __table_args__ = (sa.Index(None, "workspace", "id"), sa.Index(None, "status", "priority"))

    id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    workspace: Mapped[str] = mapped_column(_Name)
    key_name: Mapped[str | None] = mapped_column(_Name)
    # Tenant that asked, as JSON: the calls are made in its name.
    tenant: Mapped[dict[str, Any]] = mapped_column(sa.JSON)
    status: Mapped[str] = mapped_column(sa.String(16))
    priority: Mapped[int]
    endpoint: Mapped[str] = mapped_column(sa.String(64))
    input_file: Mapped[str] = mapped_column(sa.String(40))
    output_file: Mapped[str | None] = mapped_column(sa.String(40))
    error_file: Mapped[str | None] = mapped_column(sa.String(40))
    total: Mapped[int]
    completed: Mapped[int]
    failed: Mapped[int]
    # Nanos.
    cost: Mapped[int] = mapped_column(sa.BigInteger, default=0)
    # The gateway that works on it, and until when it has said it would.
    claimed_by: Mapped[str | None] = mapped_column(sa.String(64))
    claimed_until: Mapped[datetime | None]
    # Metadata of the caller's, and errors of the whole batch.
    details: Mapped[dict[str, Any]] = mapped_column(sa.JSON)
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]


class BatchLineRow(Base):
    """One request of a batch and its answer; what is answered is never asked again."""

    __tablename__ = "llm_batch_lines"

    batch_id: Mapped[str] = mapped_column(sa.String(40), sa.ForeignKey("llm_batches.id"), primary_key=True)
    line: Mapped[int] = mapped_column(primary_key=True)
    custom_id: Mapped[str] = mapped_column(_Name)
    # The person that the request names.
    user: Mapped[str | None] = mapped_column("user_name", _Name)
    status: Mapped[str] = mapped_column(sa.String(16))
    call_id: Mapped[str | None] = mapped_column(_Id)
    # JSON, encrypted where `key_id` names a key.
    key_id: Mapped[str | None] = mapped_column(sa.String(16))
    answer: Mapped[bytes | None] = mapped_column(sa.LargeBinary)


class FeedbackRow(Base):
    """What somebody thought of an answer. A correction is a later row."""

    __tablename__ = "llm_feedback"
    __table_args__ = (sa.Index(None, "call_id"), sa.Index(None, "workspace", "at"))

    id: Mapped[str] = mapped_column(_Id, primary_key=True)
    call_id: Mapped[str] = mapped_column(_Id)
    workspace: Mapped[str] = mapped_column(_Name)
    user: Mapped[str | None] = mapped_column("user_name", _Name)
    # 0 to 1: a thumb down is 0, a thumb up 1.
    score: Mapped[float]
    # thumb, stars, score, edit, repeat; judge: a model was asked
    source: Mapped[str] = mapped_column(sa.String(16))
    comment: Mapped[str | None] = mapped_column(sa.Text)
    at: Mapped[datetime]
    reported_by: Mapped[str | None] = mapped_column(_Name)


class LlmScoreRow(Base):
    """How good an answer is as far as its words tell: numbers alone, which are kept where the words are not."""

    __tablename__ = "llm_scores"
    __table_args__ = (sa.Index(None, "workspace", "at"),)

    call_id: Mapped[str] = mapped_column(_Id, primary_key=True)
    # Of the call.
    at: Mapped[datetime]
    workspace: Mapped[str] = mapped_column(_Name)
    # 0 to 1.
    score: Mapped[float]
    # What scored it: "words v2", "quality v3".
    scorer: Mapped[str] = mapped_column(sa.String(64))
    # What `models.quality.features` reads off the answer, in its order.
    features: Mapped[list[float | None]] = mapped_column(sa.JSON)


class PreferenceRow(Base):
    """What a user prefers: learned from feedback, or said."""

    __tablename__ = "llm_preferences"

    workspace: Mapped[str] = mapped_column(_Name, primary_key=True)
    user: Mapped[str] = mapped_column("user_name", _Name, primary_key=True)
    preferences: Mapped[dict[str, Any]] = mapped_column(sa.JSON)
    updated_at: Mapped[datetime]


class AuditRow(Base):
    """Who changed what: keys, budgets, workspaces, providers, erasures. Append-only."""

    __tablename__ = "audit_log"
    __table_args__ = (sa.Index(None, "workspace", "id"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    actor: Mapped[str] = mapped_column(_Name)
    role: Mapped[str] = mapped_column(sa.String(16))
    workspace: Mapped[str | None] = mapped_column(_Name)
    action: Mapped[str] = mapped_column(sa.String(64))
    subject: Mapped[str | None] = mapped_column(_Name)
    before: Mapped[dict[str, Any] | None] = mapped_column(_Json)
    after: Mapped[dict[str, Any] | None] = mapped_column(_Json)
    request_id: Mapped[str | None] = mapped_column(sa.String(64))
