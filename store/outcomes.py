"""Predictions whose outcome was reported: what was said, what came."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from store.database import migrate, session
from store.settings import Settings
from store.tables.base import id_at
from store.tables.platform import PredictionActualRow, PredictionRow

# An id and `created_at` are made one after the other.
_A_MOMENT = timedelta(seconds=1)


@dataclass(frozen=True)
class Outcome:
    """A prediction and what was last reported of it.

    Attributes
    ----------
    entity_id : None for features that were sent without an id.
    features, output : what the model was given and what it answered.
    value : what really happened, as reported.
    """

    prediction_id: str
    version: int
    entity_id: str | None
    features: Mapping[str, Any]
    output: Mapping[str, Any]
    value: Any
    created_at: datetime
    reported_at: datetime


def reported(
    settings: Settings,
    model: str,
    *,
    version: int | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int = 100_000,
) -> list[Outcome]:
    """Predictions of a model with a reported outcome, oldest first; the newest `limit` of them.

    Parameters
    ----------
    since, until : made at or after the one and before the other, naive UTC.
    """
    migrate(settings)
    latest = (
        sa.select(sa.func.max(PredictionActualRow.id).label("id"))
        .group_by(PredictionActualRow.prediction_id)
        .subquery()
    )
    query = (
        sa.select(PredictionRow, PredictionActualRow)
        .join(PredictionActualRow, PredictionActualRow.prediction_id == PredictionRow.id)
        .join(latest, latest.c.id == PredictionActualRow.id)
        .where(PredictionRow.model == model)
        .order_by(PredictionRow.id.desc())
        .limit(limit)
    )
    if version is not None:
        query = query.where(PredictionRow.version == version)
    if since is not None:
        query = query.where(PredictionRow.id >= id_at(since - _A_MOMENT), PredictionRow.created_at >= since)
    if until is not None:
        query = query.where(PredictionRow.id < id_at(until + _A_MOMENT), PredictionRow.created_at < until)
    with session(settings, readonly=True) as opened:
        found = [
            Outcome(
                prediction_id=made.id,
                version=made.version,
                entity_id=made.entity_id,
                features=made.features,
                output=made.output,
                value=actual.value,
                created_at=made.created_at,
                reported_at=actual.reported_at,
            )
            for made, actual in opened.execute(query)
        ]
    return found[::-1]
