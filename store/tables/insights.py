"""Questions about the platform's own numbers that models answered."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from store.tables.base import Base

_Name = sa.String(256)


class InsightRow(Base):
    """One question and what it took to answer it. Its words and rows are in `llm_contents` under the same id, where the
    workspace that asked keeps words.
    """

    __tablename__ = "llm_insights"
    __table_args__ = (sa.Index(None, "workspace", "id"), sa.Index(None, "asked_in"))

    id: Mapped[str] = mapped_column(sa.String(32), primary_key=True)
    at: Mapped[datetime]
    # The only one whose rows were looked at; None: the whole platform.
    workspace: Mapped[str | None] = mapped_column(_Name)
    # The workspace that paid for it.
    asked_in: Mapped[str] = mapped_column(_Name)
    # answered, untold (the rows do not tell) or refused (no answer held)
    status: Mapped[str] = mapped_column(sa.String(16))
    # Sentences that hold, sentences that were taken out, rows that models were shown.
    kept: Mapped[int]
    removed: Mapped[int]
    rows_shown: Mapped[int]
    agreement: Mapped[float] = mapped_column(sa.Double)
    cost: Mapped[int] = mapped_column(sa.BigInteger)
    # Of each model: its name, the id of its call, what became of its answer.
    members: Mapped[list[dict[str, Any]]] = mapped_column(sa.JSON)
    # [workspace, user] of everybody whom a row names, for their erasure.
    people: Mapped[list[list[str]]] = mapped_column(sa.JSON)
    caller: Mapped[str] = mapped_column(_Name)
