"""Shadows: versions that answer silently beside a champion. Which they are, and what they said.

A shadow is the version with the alias `shadow`; every API process sees it there within seconds, as it sees a champion.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from store.database import migrate, session
from store.errors import InvalidValue, UnknownVersion
from store.events import emit
from store.settings import Settings
from store.tables.base import id_at, utc_now
from store.tables.decisions import ShadowAnswerRow
from store.tables.platform import PredictionActualRow, PredictionRow

if TYPE_CHECKING:
    from store.registry import Registry

ALIAS = "shadow"
_A_MOMENT = timedelta(seconds=1)


@dataclass(frozen=True, kw_only=True)
class ShadowAnswer:
    """What a shadow would have answered.

    Attributes
    ----------
    version, champion : of the shadow, and of the champion that answered.
    output : as the champion's would have been; empty where it failed.
    latency_ms : of predicting this one row.
    error : why it has no answer; None when it has.
    """

    prediction_id: str
    model: str
    version: int
    champion: int
    output: Mapping[str, Any]
    latency_ms: float
    error: str | None = None
    created_at: datetime = field(default_factory=utc_now)


@dataclass(frozen=True)
class Pair:
    """One question with both answers.

    Attributes
    ----------
    said, shadow : outputs of the champion and of the shadow.
    actual : what really happened, as last reported; `reported` says whether anything was.
    """

    prediction_id: str
    entity_id: str | None
    champion: int
    said: Mapping[str, Any]
    shadow: Mapping[str, Any]
    latency_ms: float
    error: str | None
    actual: Any
    reported: bool
    created_at: datetime


def start(settings: Settings, registry: Registry, name: str, version: int | None, *, actor: str) -> int:
    """Let a version answer silently beside the champion; returns it.

    Parameters
    ----------
    version : the challenger when None.

    Raises
    ------
    UnknownModel, UnknownVersion : there is no such version, or no challenger.
    InvalidValue : it is champion.
    """
    aliases = registry.model(name).aliases
    chosen = version if version is not None else aliases.get("challenger")
    if chosen is None:
        raise UnknownVersion(
            f"The model {name!r} has no challenger.",
            remedy=f"Name a version: `merit shadow start {name} VERSION`; `merit registry show {name}` lists them.",
            field="version",
        )
    registry.version(name, chosen)
    if chosen == aliases.get("champion"):
        raise InvalidValue(
            f"Version {chosen} of {name!r} is champion: it answers aloud.",
            remedy="Name another version.",
            field="version",
            value=chosen,
        )
    registry.set_alias(name, ALIAS, chosen)
    emit(settings, "shadow", {"model": name, "version": chosen, "state": "started", "actor": actor})
    return chosen


def stop(settings: Settings, registry: Registry, name: str, *, actor: str) -> int | None:
    """Let the shadow of a model fall silent; returns its version, None where there was none.

    Raises
    ------
    UnknownModel : there is none of that name.
    """
    version = registry.model(name).aliases.get(ALIAS)
    if version is not None:
        registry.delete_alias(name, ALIAS)
        emit(settings, "shadow", {"model": name, "version": version, "state": "stopped", "actor": actor})
    return version


def write(settings: Settings, answers: Sequence[ShadowAnswer]) -> None:
    """Keep answers; one that is there already stays as it is."""
    if not answers:
        return
    migrate(settings)
    rows = [{name: getattr(one, name) for name in ShadowAnswer.__dataclass_fields__} for one in answers]
    with session(settings) as opened:
        insert = sqlite.insert if opened.get_bind().dialect.name == "sqlite" else postgresql.insert
        opened.execute(insert(ShadowAnswerRow).on_conflict_do_nothing(), rows)


def counts(settings: Settings, model: str) -> dict[int, int]:
    """Version → number of its answers as a shadow of the model, the newest version first."""
    migrate(settings)
    query = (
        sa.select(ShadowAnswerRow.version, sa.func.count())
        .where(ShadowAnswerRow.model == model)
        .group_by(ShadowAnswerRow.version)
        .order_by(ShadowAnswerRow.version.desc())
    )
    with session(settings, readonly=True) as opened:
        return {int(version): int(number) for version, number in opened.execute(query)}


def pairs(
    settings: Settings, model: str, version: int, *, since: datetime | None = None, limit: int = 100_000
) -> list[Pair]:
    """What was asked while a version was shadow, with both answers; the newest `limit`, oldest first.

    Parameters
    ----------
    since : asked at or after this moment, naive UTC.
    """
    migrate(settings)
    latest = (
        sa.select(PredictionActualRow.prediction_id, sa.func.max(PredictionActualRow.id).label("id"))
        .group_by(PredictionActualRow.prediction_id)
        .subquery()
    )
    query = (
        # Not whole rows: what was asked is far longer than what was answered.
        sa.select(
            ShadowAnswerRow,
            PredictionRow.entity_id,
            PredictionRow.output,
            PredictionRow.created_at,
            PredictionActualRow.id.is_not(None),
            PredictionActualRow.value,
        )
        .join(PredictionRow, PredictionRow.id == ShadowAnswerRow.prediction_id)
        .outerjoin(latest, latest.c.prediction_id == ShadowAnswerRow.prediction_id)
        .outerjoin(PredictionActualRow, PredictionActualRow.id == latest.c.id)
        .where(ShadowAnswerRow.model == model, ShadowAnswerRow.version == version)
        .order_by(ShadowAnswerRow.prediction_id.desc())
        .limit(limit)
    )
    if since is not None:
        query = query.where(
            ShadowAnswerRow.prediction_id >= id_at(since - _A_MOMENT), PredictionRow.created_at >= since
        )
    with session(settings, readonly=True) as opened:
        found = [
            Pair(
                prediction_id=answer.prediction_id,
                entity_id=entity,
                champion=answer.champion,
                said=said,
                shadow=answer.output,
                latency_ms=answer.latency_ms,
                error=answer.error,
                actual=actual,
                reported=bool(told),
                created_at=created,
            )
            for answer, entity, said, created, told, actual in opened.execute(query)
        ]
    return found[::-1]
