"""Current features by entity: published by training and scoring runs, looked up by serving."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import pandas as pd
import sqlalchemy as sa

from store.database import migrate, session
from store.errors import InvalidValue
from store.settings import Settings
from store.tables.base import utc_now
from store.tables.platform import FeatureRow

_BATCH = 500


def publish(settings: Settings, view: str, rows: pd.DataFrame, as_of: datetime) -> int:
    """Replace the features of `view` by these, at once for all who read; returns the number of entities.

    Entities that are no longer in `rows` disappear: nothing is predicted from features that nobody keeps up to date.
    Features older than those that are there (a backfill) change nothing, and 0 is returned.

    Parameters
    ----------
    rows : one row per entity, the entity's id as the index, any JSON-ready values; missing ones become null.
    as_of : the moment the features describe, naive UTC.

    Raises
    ------
    InvalidValue : an entity that appears twice or has no id.
    """
    names = rows.index.astype("str")
    twice = names[names.duplicated()]
    if len(twice) or rows.index.hasnans:
        raise InvalidValue(
            f"The features of {view!r} hold the entity {twice[0]!r} twice."
            if len(twice)
            else f"The features of {view!r} hold an entity without an id.",
            remedy="Give exactly one row per entity, its id as the index.",
            field=str(rows.index.name or "entity_id"),
        )
    migrate(settings)
    with session(settings) as opened:
        mine = FeatureRow.view == view
        newest = opened.scalar(sa.select(sa.func.max(FeatureRow.as_of)).where(mine))
        if newest is not None and newest > as_of:
            return 0
        opened.execute(sa.delete(FeatureRow).where(mine))
        for batch in _batches(view, names, rows, as_of):
            opened.execute(sa.insert(FeatureRow), batch)
    return len(rows)


def _batches(view: str, names: Any, rows: pd.DataFrame, as_of: datetime) -> Iterator[list[dict[str, Any]]]:
    now = utc_now()
    size = 10 * _BATCH
    for start in range(0, len(rows), size):
        part = rows.iloc[start : start + size]
        yield [
            {"view": view, "entity_id": name, "as_of": as_of, "features": features, "updated_at": now}
            for name, features in zip(names[start : start + size], part.to_dict("records"), strict=True)
        ]


def lookup(settings: Settings, view: str, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Entity → features of those among `ids` that are known."""
    migrate(settings)
    ids = [entity for entity in ids if "\x00" not in entity]  # Postgres holds no such text, nor can it be asked
    found: dict[str, dict[str, Any]] = {}
    with session(settings, readonly=True) as opened:
        for start in range(0, len(ids), _BATCH):
            query = sa.select(FeatureRow.entity_id, FeatureRow.features).where(
                FeatureRow.view == view, FeatureRow.entity_id.in_(ids[start : start + _BATCH])
            )
            found.update((entity, features) for entity, features in opened.execute(query))
    return found


def newest(settings: Settings, view: str) -> datetime | None:
    """The moment that the features of `view` describe; None where none were published."""
    migrate(settings)
    with session(settings, readonly=True) as opened:
        return opened.scalar(sa.select(sa.func.max(FeatureRow.as_of)).where(FeatureRow.view == view))


def entities(settings: Settings, view: str, *, limit: int = 100) -> list[str]:
    """Ids of entities whose features are known, in order."""
    migrate(settings)
    query = sa.select(FeatureRow.entity_id).where(FeatureRow.view == view).order_by(FeatureRow.entity_id).limit(limit)
    with session(settings, readonly=True) as opened:
        return list(opened.scalars(query))
