"""Churn predictions: make them, look them up, and report what really happened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Body, Path, Query, Request, Response

from serving.access import Caller
from serving.champions import Champion
from serving.churn_answers import (
    FAMILY,
    Actual,
    ActualAnswer,
    BatchAnswer,
    PredictionAnswer,
    PredictionPage,
    PredictionRequest,
    Reasons,
    StoredPrediction,
)
from serving.dependencies import Application, Services, ServicesDep
from serving.direct import DirectRoute, documented, read_body
from serving.limits import LARGEST_NUMBER, check_batch
from serving.moments import GivenMoment
from serving.scoring import reasons, score
from store import predictions as stored
from store.errors import InvalidValue, UnknownEntity, WrongType
from store.predictions import Prediction

router = APIRouter(prefix="/v1/churn/predictions", tags=["Churn"])

ENTITY = "customer_id"
Id = Annotated[str, Path(description="Id of a prediction", pattern="^[0-9a-f]{32}$")]
KINDS = ("customer_id", "customer_ids", "features", "rows")


EXAMPLES: dict[str, Any] = {
    "one customer": {"value": {"customer_id": "C0000001"}},
    "several customers": {"value": {"customer_ids": ["C0000001", "C0000002"]}},
    "one customer, with the reasons": {"value": {"customer_id": "C0000001", "explain": True}},
}


async def create(request: Request) -> Response:
    """Predicts from published features by id, or from features sent along; one customer or many.

    Names that the model does not read are ignored and listed; a missing one is an error, since it may be a typing
    error. Unknown customers are all listed, and nothing is predicted. With `explain` (or `?explain=true`) each
    prediction comes with the reasons in words; they take longer than the prediction.
    """
    services: Services = request.app.state.services
    caller = await services.access.caller(request.scope, "application")
    body = await read_body(request, PredictionRequest)
    field = _kind(body)
    champion = services.champions.get(body.model, FAMILY)
    entities: list[str | None]
    if field == "features":
        records: list[Any] = [body.features]
        entities = [_entity(body.features or {}, field)]
    elif field == "rows":
        records = body.rows or []
        check_batch(len(records), services.settings.max_batch, field)
        entities = [_entity(record, f"{field}[{place}]") for place, record in enumerate(records)]
    else:
        ids = [body.customer_id or ""] if field == "customer_id" else body.customer_ids or []
        check_batch(len(ids), services.settings.max_batch, field, "customers")
        records = list(await services.features.get(champion, ids, field))
        entities = list(ids)
    if not records:
        raise InvalidValue(f"{field} is empty.", remedy="Send at least one.", field=field, value=[])
    explained = body.explain or (request.scope["query_string"] != b"" and _asked(request))
    made = await score(
        champion,
        records,
        entities,
        field=field,
        request_id=request.scope.get("request_id"),
        caller=caller.name,
        explained=explained,
    )
    await services.predictions.put(made)
    ignored = _ignored(champion, records) if field in ("features", "rows") else []
    return _one(made[0], ignored) if field in ("customer_id", "features") else _many(made, ignored)


router.add_api_route(
    "",
    create,
    methods=["POST"],
    status_code=201,
    response_model=PredictionAnswer | BatchAnswer,
    summary="Predict who leaves",
    responses={201: {"description": "One prediction for `customer_id` and `features`, a batch for the others"}},
    openapi_extra=documented(PredictionRequest, EXAMPLES),
    route_class_override=DirectRoute,
)


def _asked(request: Request) -> bool:
    """Whether `?explain=true` stands in the address."""
    given = request.query_params.get("explain", "false").lower()
    if given not in ("true", "false", "1", "0"):
        raise InvalidValue(
            f"explain = {given[:60]!r} is neither true nor false.",
            remedy="Write ?explain=true, or leave it out.",
            field="explain",
            value=given[:60],
        )
    return given in ("true", "1")


def _ignored(champion: Champion, records: Sequence[Mapping[str, Any]]) -> list[str]:
    assert champion.scorer is not None
    read = champion.scorer.names
    names: set[str] = set()
    for record in records:
        names |= record.keys() - read
    return sorted(names - {ENTITY})


def _kind(body: PredictionRequest) -> str:
    given = [kind for kind in KINDS if getattr(body, kind) is not None]
    if len(given) != 1:
        raise InvalidValue(
            f"The body holds {' and '.join(given)}." if given else "The body says nothing about whom to predict.",
            remedy=f"Send exactly one of {', '.join(KINDS)}.",
            field=given[1] if given else "customer_id",
        )
    return given[0]


def _entity(record: dict[str, Any], field: str) -> str | None:
    """The id that came with the features, if one did."""
    value = record.get(ENTITY)
    if value is None or (isinstance(value, str) and len(value) <= 256 and "\x00" not in value):
        return value
    raise WrongType(
        f"{field}.{ENTITY} is no id.",
        remedy="Send text of at most 256 characters, or leave it out.",
        field=f"{field}.{ENTITY}",
        value=value,
    )


def _one(made: Prediction, ignored: list[str]) -> Response:
    content = {
        "id": made.id,
        "customer_id": made.entity_id,
        **made.output,
        "model": made.model,
        "version": made.version,
        "dataset_digest": made.digest,
        "ignored": ignored,
    }
    return Response(
        orjson.dumps(content),
        status_code=201,
        headers={"Location": f"/v1/churn/predictions/{made.id}"},
        media_type="application/json",
    )


def _many(predictions: Sequence[Prediction], ignored: list[str]) -> Response:
    first = predictions[0]
    items = [
        {
            "id": made.id,
            "customer_id": made.entity_id,
            "probability": made.output["probability"],
            "band": made.output["band"],
            "decision": made.output["decision"],
            **({"reasons": made.output["reasons"]} if "reasons" in made.output else {}),
        }
        for made in predictions
    ]
    content = {
        "predictions": items,
        "threshold": first.output["threshold"],
        "model": first.model,
        "version": first.version,
        "dataset_digest": first.digest,
        "ignored": ignored,
    }
    return Response(orjson.dumps(content), status_code=201, media_type="application/json")


OUTCOMES: dict[str, Any] = {"left": {"value": {"churned": True}}, "stayed": {"value": {"churned": False}}}


@router.get("", summary="List predictions")
def page(
    services: ServicesDep,
    caller: Application,
    customer: Annotated[str | None, Query(description="Only of this customer", max_length=256)] = None,
    since: Annotated[GivenMoment | None, Query(description="Made at or after this moment (UTC unless it says)")] = None,
    until: Annotated[GivenMoment | None, Query(description="Made before this moment")] = None,
    band: Annotated[Literal["low", "medium", "high"] | None, Query(description="Only of this risk band")] = None,
    min_probability: Annotated[float | None, Query(ge=0, le=1, description="Only of at least this probability")] = None,
    max_probability: Annotated[float | None, Query(ge=0, le=1, description="Only of at most this probability")] = None,
    has_actual: Annotated[
        bool | None, Query(description="Only where it has, or has not, been reported what happened")
    ] = None,
    model: Annotated[str | None, Query(description="Only of this model", max_length=128)] = None,
    version: Annotated[int | None, Query(ge=1, le=LARGEST_NUMBER, description="Only of this version")] = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    cursor: Annotated[
        str | None, Query(description="`next_cursor` of the page before", pattern="^[0-9a-f]{1,32}$")
    ] = None,
) -> PredictionPage:
    """Newest first. A key of the role application sees the predictions that were made with it."""
    services.predictions.flush()
    found = stored.page(
        services.settings,
        entity_id=customer,
        since=since,
        until=until,
        band=band,
        min_probability=min_probability,
        max_probability=max_probability,
        has_actual=has_actual,
        model=model,
        version=version,
        caller=caller.sees_only,
        limit=limit,
        cursor=cursor,
    )
    return PredictionPage(predictions=[_stored(one) for one in found.items], next_cursor=found.next_cursor)


@router.get("/{prediction_id}", summary="One prediction with its lineage")
def read(
    prediction_id: Id,
    services: ServicesDep,
    caller: Application,
    explain: Annotated[bool, Query(description="Tell the reasons, where the version that predicted is served")] = False,
) -> StoredPrediction:
    """The version, run, data digest and commit it came from, the features used, and what really happened."""
    found = _find(services, prediction_id, caller)
    answer = _stored(found)
    return answer if not explain or answer.reasons else answer.model_copy(update={"reasons": _later(services, found)})


def _later(services: Services, found: Prediction) -> Reasons:
    """Reasons of a prediction that was made without them."""
    champion = services.champions.get(found.model, FAMILY)
    if champion.version != found.version:
        raise InvalidValue(
            f"The prediction was made by version {found.version} of {found.model}, and version {champion.version} is "
            "served: the reasons of one are not those of the other.",
            remedy="Predict again with explain, or ask with explain in the first place.",
            field="explain",
            value=True,
        )
    return Reasons.model_validate(reasons(champion, [found.features])[0])


@router.put("/{prediction_id}/actual", summary="Report what really happened")
def report(
    prediction_id: Id,
    body: Annotated[Actual, Body(openapi_examples=OUTCOMES)],
    services: ServicesDep,
    caller: Application,
) -> ActualAnswer:
    """Kept with the prediction for monitoring. Reporting the same again changes nothing; a correction is kept beside
    what was reported before, and the latest counts."""
    known = _find(services, prediction_id, caller).actual
    if known is None or known.value is not body.churned:
        known = stored.report(services.settings, prediction_id, body.churned, reported_by=caller.name)
    return _actual(prediction_id, known)


def _find(services: Services, prediction_id: str, caller: Caller) -> Prediction:
    try:
        found = stored.get(services.settings, prediction_id)
    except UnknownEntity:
        services.predictions.flush()  # it may have been answered a moment ago
        found = stored.get(services.settings, prediction_id)
    own = caller.sees_only
    if own is not None and found.caller != own:
        # What others asked for is not even said to exist.
        raise UnknownEntity(
            f"There is no prediction {prediction_id!r}.",
            remedy="Use the id that the prediction was answered with, and the key it was made with.",
            field="id",
            value=prediction_id,
        )
    return found


def _stored(one: Prediction) -> StoredPrediction:
    return StoredPrediction(
        id=one.id,
        customer_id=one.entity_id,
        probability=one.output["probability"],
        band=one.output["band"],
        decision=one.output["decision"],
        threshold=one.output["threshold"],
        model=one.model,
        version=one.version,
        run_id=one.run_id,
        dataset_digest=one.digest,
        git_commit=one.git_commit,
        features=dict(one.features),
        created_at=one.created_at,
        request_id=one.request_id,
        actual=_actual(one.id, one.actual) if one.actual else None,
        reasons=one.output.get("reasons"),
    )


def _actual(prediction_id: str, actual: stored.Actual) -> ActualAnswer:
    return ActualAnswer(
        prediction_id=prediction_id,
        churned=actual.value,
        reported_at=actual.reported_at,
        reported_by=actual.reported_by,
    )
