"""The promotion ledger: who made which version champion, when, why, and what was refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from store import events
from store.database import migrate, session
from store.settings import Settings
from store.tables.base import utc_now
from store.tables.platform import PromotionRow


@dataclass(frozen=True)
class Promotion:
    """One line of the ledger.

    Attributes
    ----------
    kind : "promotion", "rollback", or "external" for a champion that was changed past Meritorder.
    state : "intended" while it runs, then "done", "refused" (by the gate, or because the champion had moved) or
        "failed" (interrupted or broken before the champion changed).
    from_version, to_version : the champion it replaces and the one it makes; None where there is none.
    detail : why it was refused or failed, or how it was settled.
    report : the gate's verdict with its numbers.
    artifact_sha256 : digest of the new champion's files; whoever loads them checks it.
    created_at, settled_at : naive UTC.
    """

    id: int
    name: str
    kind: str
    state: str
    from_version: int | None
    to_version: int | None
    actor: str
    reason: str
    detail: str | None
    report: Mapping[str, Any] | None
    artifact_sha256: str | None
    dataset_digest: str | None
    run_id: str | None
    key: str | None
    created_at: datetime
    settled_at: datetime | None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        made = asdict(self)
        made["created_at"] = self.created_at.isoformat()
        made["settled_at"] = self.settled_at.isoformat() if self.settled_at else None
        return made


def history(
    settings: Settings, name: str | None = None, *, limit: int | None = None, before: int | None = None
) -> list[Promotion]:
    """The ledger in time order, oldest line first: of one model, or of all.

    Parameters
    ----------
    limit : only the newest `limit` lines.
    before : only lines whose `id` is smaller; give the first id of one page to get the page before it.
    """
    migrate(settings)
    query = sa.select(PromotionRow).order_by(PromotionRow.id.desc()).limit(limit)
    if name is not None:
        query = query.where(PromotionRow.model == name)
    if before is not None:
        query = query.where(PromotionRow.id < before)
    with session(settings, readonly=True) as opened:
        return [_promotion(row) for row in opened.scalars(query)][::-1]


def promoted_sha256(settings: Settings, name: str, version: int, run_id: str | None = None) -> str | None:
    """The digest the ledger holds of a version that was ever promoted; the latest where there are several.

    Parameters
    ----------
    run_id : only of the version that this run made. A registry that was started anew counts its versions from 1 again.
    """
    migrate(settings)
    query = (
        sa.select(PromotionRow.artifact_sha256)
        .where(
            PromotionRow.model == name,
            PromotionRow.to_version == version,
            PromotionRow.state == "done",
            PromotionRow.kind != "external",
            PromotionRow.artifact_sha256.is_not(None),
        )
        .order_by(PromotionRow.id.desc())
        .limit(1)
    )
    if run_id is not None:
        query = query.where(PromotionRow.run_id == run_id)
    with session(settings, readonly=True) as opened:
        return opened.scalar(query)


def append(settings: Settings, **values: Any) -> Promotion:
    """Write one line; it is told of as an event unless it is only intended."""
    now = utc_now()
    row = PromotionRow(created_at=now, settled_at=None if values["state"] == "intended" else now, **values)
    with session(settings) as opened:
        opened.add(row)
    line = _promotion(row)
    if line.state != "intended":
        _notify(settings, line)
    return line


def settle(settings: Settings, number: int, state: str, detail: str | None) -> Promotion:
    """Say what became of an intended line, once, and tell of it as an event."""
    with session(settings) as opened:
        row = opened.get_one(PromotionRow, number)
        assert row.state == "intended", f"line {number} is settled"
        row.state, row.detail, row.settled_at = state, detail, utc_now()
    line = _promotion(row)
    _notify(settings, line)
    return line


def lines(settings: Settings, name: str, state: str) -> list[Promotion]:
    """The lines of one model in one state, in time order."""
    query = sa.select(PromotionRow).where(PromotionRow.model == name, PromotionRow.state == state)
    with session(settings, readonly=True) as opened:
        return [_promotion(row) for row in opened.scalars(query.order_by(PromotionRow.id))]


def _promotion(row: PromotionRow) -> Promotion:
    same = (item.name for item in fields(Promotion) if item.name != "name")
    return Promotion(name=row.model, **{column: getattr(row, column) for column in same})


def _notify(settings: Settings, line: Promotion) -> None:
    shown = line.to_dict()
    del shown["report"]
    events.emit(settings, line.kind if line.kind == "rollback" else "promotion", shown)
