"""Models compared on prompts, models tuned on the gateway's own answers, and what of those may be routed to."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from store.tables.base import Base

_Id = sa.String(32)
_Name = sa.String(256)
_Json = sa.JSON(none_as_null=True)


class BenchmarkRow(Base):
    """Prompts that several models are asked. The words are not kept: what is, are scores, costs and times."""

    __tablename__ = "llm_benchmarks"
    __table_args__ = (sa.Index(None, "workspace", "id"),)

    id: Mapped[str] = mapped_column(_Id, primary_key=True)
    workspace: Mapped[str] = mapped_column(_Name)
    name: Mapped[str] = mapped_column(_Name)
    # running, completed, stopped, failed or cancelled
    status: Mapped[str] = mapped_column(sa.String(16))
    models: Mapped[list[str]] = mapped_column(sa.JSON)
    prompts: Mapped[int]
    repeats: Mapped[int]
    done: Mapped[int]
    total: Mapped[int]
    # Nanos: spent, expected before it began, and the most that it may cost.
    cost: Mapped[int] = mapped_column(sa.BigInteger)
    expected: Mapped[int] = mapped_column(sa.BigInteger)
    max_cost: Mapped[int] = mapped_column(sa.BigInteger)
    # Digest of the prompts, options, why it stopped, the run in MLflow.
    details: Mapped[dict[str, Any]] = mapped_column(sa.JSON)
    # The table of models and their comparison; None while it runs.
    report: Mapped[dict[str, Any] | None] = mapped_column(_Json)
    created_by: Mapped[str | None] = mapped_column(_Name)
    created_at: Mapped[datetime]
    # Moves while it runs: one that stands still for long died with its process.
    updated_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]


class BenchmarkResultRow(Base):
    """One answer of a benchmark, as numbers."""

    __tablename__ = "llm_benchmark_results"

    benchmark_id: Mapped[str] = mapped_column(_Id, sa.ForeignKey("llm_benchmarks.id"), primary_key=True)
    # The model as it was asked for, the prompt's place and which of the repeats it is.
    model: Mapped[str] = mapped_column(_Name, primary_key=True)
    prompt: Mapped[int] = mapped_column(primary_key=True)
    repeat: Mapped[int] = mapped_column(primary_key=True)
    prompt_id: Mapped[str] = mapped_column(_Name)
    group: Mapped[str] = mapped_column("group_name", _Name)
    domain: Mapped[str | None] = mapped_column(sa.String(32))
    call_id: Mapped[str | None] = mapped_column(_Id)
    # The model that answered.
    answered_by: Mapped[str | None] = mapped_column(_Name)
    quality: Mapped[float]
    # expected, reference or words
    scored_by: Mapped[str] = mapped_column(sa.String(64))
    cost: Mapped[int] = mapped_column(sa.BigInteger)
    latency_ms: Mapped[float | None]
    input_tokens: Mapped[int]
    output_tokens: Mapped[int]
    error: Mapped[str | None] = mapped_column(sa.String(64))


class FinetuneRow(Base):
    """A model that is tuned on the gateway's own good answers: how far it is, so that any process can go on with it.

    Examples are kept as the ids of their calls, never as words: what is erased in between is gone from them, too.
    """

    __tablename__ = "llm_finetunes"
    __table_args__ = (sa.Index(None, "workspace", "id"), sa.Index(None, "state"))

    id: Mapped[str] = mapped_column(_Id, primary_key=True)
    # The only one whose answers are learned from; None: all that keep them.
    workspace: Mapped[str | None] = mapped_column(_Name)
    name: Mapped[str] = mapped_column(_Name)
    # prepared, submitting, running, evaluating, admitted, rejected, failed, cancelling or cancelled
    state: Mapped[str] = mapped_column(sa.String(16))
    base_model: Mapped[str] = mapped_column(_Name)
    # creative, analytical, conversational, a domain or a tag
    task: Mapped[str] = mapped_column(_Name)
    options: Mapped[dict[str, Any]] = mapped_column(sa.JSON)
    # Ids of calls, {"train": […], "validation": […]}.
    examples: Mapped[dict[str, Any]] = mapped_column(sa.JSON)
    # What was collected, left out and why; tokens, epochs, expected cost.
    plan: Mapped[dict[str, Any]] = mapped_column(sa.JSON)
    # In whose name it is paid for.
    tenant: Mapped[dict[str, Any]] = mapped_column(sa.JSON)
    # Nanos: expected, the most that it may cost, and what it did cost, training and evaluation together.
    expected: Mapped[int] = mapped_column(sa.BigInteger)
    max_cost: Mapped[int | None] = mapped_column(sa.BigInteger)
    cost: Mapped[int] = mapped_column(sa.BigInteger)
    # The provider's ids: files, job, and what the model is called.
    upstream: Mapped[dict[str, Any]] = mapped_column(sa.JSON)
    events: Mapped[list[dict[str, Any]]] = mapped_column(sa.JSON)
    # The paired comparison with the base model and the gate's verdict; None until then.
    report: Mapped[dict[str, Any] | None] = mapped_column(_Json)
    error: Mapped[str | None] = mapped_column(sa.Text)
    # The gateway that works on it, and until when it has said it would.
    claimed_by: Mapped[str | None] = mapped_column(sa.String(64))
    claimed_until: Mapped[datetime | None]
    created_by: Mapped[str | None] = mapped_column(_Name)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    submitted_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class TunedModelRow(Base):
    """A tuned model in the catalogue: every gateway takes it over within seconds, and lets go of it as fast."""

    __tablename__ = "llm_tuned_models"

    # provider/name
    id: Mapped[str] = mapped_column(_Name, primary_key=True)
    base_model: Mapped[str] = mapped_column(_Name)
    # trial: asked by its evaluation alone; admitted: routed to; withdrawn: not any more
    state: Mapped[str] = mapped_column(sa.String(16))
    # Those whose answers it has learned from, which alone may ask it.
    workspaces: Mapped[list[str]] = mapped_column(sa.JSON)
    # Quality by domain.
    quality: Mapped[dict[str, Any]] = mapped_column(sa.JSON)
    finetune_id: Mapped[str] = mapped_column(_Id, sa.ForeignKey("llm_finetunes.id"))
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
