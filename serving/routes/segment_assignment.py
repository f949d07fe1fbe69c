"""Where a customer belongs: online assignment to the segments of the champion."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Body

from serving.champions import Champion
from serving.dependencies import Application, ServicesDep
from serving.limits import check_batch
from serving.segment_answers import AssignAnswer, Assigned, AssignRequest
from store.errors import InvalidValue, MeritError, WrongType

router = APIRouter(prefix="/v1/segments", tags=["Segments"])

FAMILY = "segmentation"
ENTITY = "customer_id"
KINDS = ("customer_id", "customer_ids", "features", "rows")
ALONE = ("customer_id", "features")
INLINE = 8

EXAMPLES: dict[str, Any] = {
    "one customer": {"value": {"customer_id": "C0000001"}},
    "several customers": {"value": {"customer_ids": ["C0000001", "C0000002"]}},
}


@router.post("/assign", summary="Assign customers to segments")
async def assign(
    services: ServicesDep,
    _caller: Application,
    body: Annotated[AssignRequest, Body(openapi_examples=EXAMPLES)],
) -> AssignAnswer:
    """The segment of a customer by id, or of features sent along; one or many, new or known.

    Values that are not known count as typical and are listed. The value comes along where the features name what it
    needs; `value_lacks` tells what is not there. Nothing is kept.
    """
    field = _kind(body)
    champion = services.champions.get(body.model, FAMILY)
    records: list[Mapping[str, Any]]
    entities: list[str | None]
    if field in ("features", "rows"):
        records = [body.features or {}] if field == "features" else list(body.rows or [])
        check_batch(len(records), services.settings.max_batch, field)
        entities = [_entity(record, field, place) for place, record in enumerate(records)]
    else:
        ids = [body.customer_id or ""] if field == "customer_id" else body.customer_ids or []
        check_batch(len(ids), services.settings.max_batch, field, "customers")
        records = list(await services.features.get(champion, ids, field))
        entities = list(ids)
    if not records:
        raise InvalidValue(f"{field} is empty.", remedy="Send at least one.", field=field, value=[])
    read = set(champion.model.columns)
    ignored = sorted({name for record in records for name in record} - read - {ENTITY}) if "_" not in field else []

    def work() -> list[Assigned]:
        return [
            _assigned(champion, record, entity, field if field in ALONE else f"{field}[{place}]")
            for place, (record, entity) in enumerate(zip(records, entities, strict=True))
        ]

    return AssignAnswer(
        # A thread costs more than a few assignments do; many of them would make everybody else wait.
        assignments=work() if len(records) <= INLINE else await asyncio.to_thread(work),
        ignored=ignored,
        model=champion.name,
        version=champion.version,
        dataset_digest=champion.digest,
    )


def _kind(body: AssignRequest) -> str:
    given = [kind for kind in KINDS if getattr(body, kind) is not None]
    if len(given) != 1:
        raise InvalidValue(
            f"The body holds {' and '.join(given)}." if given else "The body says nothing about whom to assign.",
            remedy=f"Send exactly one of {', '.join(KINDS)}.",
            field=given[1] if given else ENTITY,
        )
    return given[0]


def _entity(record: Mapping[str, Any], field: str, place: int) -> str | None:
    value = record.get(ENTITY)
    if value is None or (isinstance(value, str) and len(value) <= 256):
        return value
    where = f"{field}.{ENTITY}" if field == "features" else f"{field}[{place}].{ENTITY}"
    raise WrongType(f"{where} is no id.", remedy="Send text of at most 256 characters.", field=where, value=value)


def _assigned(champion: Champion, record: Mapping[str, Any], entity: str | None, place: str) -> Assigned:
    try:
        found = champion.model.assign(record)
        worth = champion.model.worth(record) or {}
    except MeritError as error:
        message = error.message if "[" not in place else f"{place}: {error.message}"
        column = f"{place}.{error.field}" if error.field else place
        raise type(error)(message, remedy=error.remedy, field=column, value=error.value) from None
    return Assigned(
        customer_id=entity,
        segment=found.segment.id,
        name=found.segment.name,
        confidence=found.confidence,
        missing=list(found.missing),
        value=worth.get("value"),
        value_lacks=champion.model.value_lacks(record),
        value_low=worth.get("value_low"),
        value_high=worth.get("value_high"),
        expected_purchases=worth.get("expected_purchases"),
        p_alive=worth.get("p_alive"),
    )
