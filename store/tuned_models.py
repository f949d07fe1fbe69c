"""Tuned models of the catalogue as rows; gateways look for changes every few seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Literal

import sqlalchemy as sa

from store.database import migrate, session
from store.errors import StateConflict, UnknownEntity
from store.pages import storable
from store.settings import Settings
from store.tables.base import utc_now
from store.tables.tuning import TunedModelRow

State = Literal["trial", "admitted", "withdrawn"]


@dataclass(frozen=True, kw_only=True)
class TunedModel:
    """A tuned model.

    Attributes
    ----------
    id : provider/name, as the provider calls it.
    workspaces : whose answers it has learned from, and who alone may ask it.
    quality : 0 to 1 by domain, `""` for every other.
    """

    id: str
    base_model: str
    state: State
    workspaces: Sequence[str]
    quality: Mapping[str, float]
    finetune_id: str
    created_at: datetime
    updated_at: datetime


_COLUMNS = tuple(one.name for one in fields(TunedModel))


def put(
    settings: Settings,
    model_id: str,
    *,
    base_model: str,
    state: State,
    workspaces: Sequence[str],
    quality: Mapping[str, float],
    finetune_id: str,
) -> TunedModel:
    """Keep a model, or what is new about one."""
    migrate(settings)
    now = utc_now()
    with session(settings) as opened:
        row = opened.get(TunedModelRow, model_id, with_for_update=True)
        if row is None:
            row = TunedModelRow(id=model_id, created_at=now)
            opened.add(row)
        row.base_model, row.state, row.finetune_id = base_model, state, finetune_id
        row.workspaces, row.quality, row.updated_at = sorted(workspaces), dict(quality), now
        opened.flush()
        return _model(row)


def withdraw(settings: Settings, model_id: str) -> TunedModel:
    """Take a model out of the catalogue; it is not asked any more.

    Raises
    ------
    UnknownEntity : there is no such tuned model.
    StateConflict : it is out already.
    """
    migrate(settings)
    with session(settings) as opened:
        row = opened.get(TunedModelRow, storable(model_id), with_for_update=True)
        if row is None:
            raise UnknownEntity(
                f"There is no tuned model {model_id[:200]!r}.",
                remedy="`GET /v1/finetunes` tells what each one made.",
                field="model",
                value=model_id[:200],
            )
        if row.state == "withdrawn":
            raise StateConflict(f"{row.id} is withdrawn already.", remedy="Nothing is left to do.", field="state")
        row.state, row.updated_at = "withdrawn", utc_now()
        return _model(row)


def listed(settings: Settings) -> tuple[TunedModel, ...]:
    """All that are in the catalogue, for trial or for good, by id."""
    query = sa.select(TunedModelRow).where(TunedModelRow.state != "withdrawn").order_by(TunedModelRow.id)
    with session(settings, readonly=True) as opened:
        return tuple(_model(row) for row in opened.scalars(query))


def version(settings: Settings) -> tuple[int, datetime | None]:
    """Changes with every change of any of them."""
    query = sa.select(sa.func.count(), sa.func.max(TunedModelRow.updated_at))
    with session(settings, readonly=True) as opened:
        count, last = opened.execute(query).one()
        return count, last


def _model(row: TunedModelRow) -> TunedModel:
    return TunedModel(**{name: getattr(row, name) for name in _COLUMNS})
