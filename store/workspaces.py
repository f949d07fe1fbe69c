"""Workspaces as they are stored; what their settings mean is `gateway.account.workspaces`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from store.database import migrate, session
from store.errors import UnknownEntity
from store.pages import storable
from store.settings import Settings
from store.tables.base import utc_now
from store.tables.gateway import WorkspaceRow

DEFAULT_ORGANISATION = "default"


@dataclass(frozen=True)
class Workspace:
    """A workspace; moments are naive UTC."""

    name: str
    organisation: str
    settings: Mapping[str, Any]
    created_at: datetime
    updated_at: datetime


def put(settings: Settings, name: str, organisation: str, values: Mapping[str, Any]) -> Workspace:
    """Make a workspace, or replace what it is."""
    migrate(settings)
    now = utc_now()
    with session(settings) as opened:
        row = opened.get(WorkspaceRow, name, with_for_update=True)
        if row is None:
            row = WorkspaceRow(name=name, created_at=now)
            opened.add(row)
        row.organisation, row.settings, row.updated_at = organisation, dict(values), now
    return _workspace(row)


def get(settings: Settings, name: str) -> Workspace:
    """One workspace.

    Raises
    ------
    UnknownEntity : there is none of that name.
    """
    migrate(settings)
    with session(settings, readonly=True) as opened:
        row = opened.get(WorkspaceRow, storable(name))
    if row is None:
        raise _unknown(name)
    return _workspace(row)


def organisation_of(settings: Settings, name: str) -> str:
    """The organisation of a workspace; the default one's where there is no such workspace."""
    with session(settings, readonly=True) as opened:
        found = opened.scalar(sa.select(WorkspaceRow.organisation).where(WorkspaceRow.name == storable(name)))
    return found or DEFAULT_ORGANISATION


def every(settings: Settings) -> list[Workspace]:
    """All workspaces by name."""
    migrate(settings)
    with session(settings, readonly=True) as opened:
        return [_workspace(row) for row in opened.scalars(sa.select(WorkspaceRow).order_by(WorkspaceRow.name))]


def stamp(settings: Settings) -> tuple[int, datetime | None]:
    """How many there are and when one was changed last: another answer means that something changed."""
    with session(settings, readonly=True) as opened:
        query = sa.select(sa.func.count(), sa.func.max(WorkspaceRow.updated_at)).select_from(WorkspaceRow)
        count, latest = opened.execute(query).one()
    return count, latest


def delete(settings: Settings, name: str) -> Workspace:
    """Remove a workspace; what it was. Its calls stay in the ledger.

    Raises
    ------
    UnknownEntity : there is none of that name.
    """
    migrate(settings)
    with session(settings) as opened:
        row = opened.get(WorkspaceRow, storable(name))
        if row is None:
            raise _unknown(name)
        opened.delete(row)
    return _workspace(row)


def _workspace(row: WorkspaceRow) -> Workspace:
    return Workspace(row.name, row.organisation, row.settings, row.created_at, row.updated_at)


def _unknown(name: str) -> UnknownEntity:
    return UnknownEntity(
        f"There is no workspace {name[:64]!r}.",
        remedy="Make it first, by `PUT /v1/workspaces/NAME`.",
        field="workspace",
        value=name[:64],
    )
