"""Retention plans: which customers to make which offer within a budget, by expected value."""

from __future__ import annotations

import io
from typing import Annotated, Any, Literal

import numpy as np
import orjson
import pandas as pd
from fastapi import APIRouter, Body, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from models.churn.retention.doubt import doubt
from models.churn.retention.offers import RetentionOffer, checked, offer_of
from models.churn.retention.plan import Customers, RetentionPlan, plan
from models.churn.retention.value import HORIZON_MONTHS, worth_where_known
from serving.access import Caller
from serving.champions import Champion
from serving.churn_answers import FAMILY, Customer
from serving.dependencies import Application, Services, ServicesDep
from serving.limits import LARGEST_NUMBER, check_batch
from serving.moments import Moment
from store import retention_plans as stored
from store.errors import EmptyData, InvalidValue, UnknownEntity
from store.feature_rows import entities, lookup
from store.retention_plans import RetentionPlanRecord

router = APIRouter(prefix="/v1/churn/retention-plans", tags=["Churn"])

MOST_CUSTOMERS = 1_000_000
MOST_NAMED = 20
Id = Annotated[str, Path(description="Id of a retention plan", pattern="^[0-9a-f]{32}$")]


class OfferRequest(BaseModel):
    """Something that may be offered: exactly one of `success` and `effect` tells what it changes."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^\x00]*$")]
    cost: float = Field(ge=0, le=1e12, description="Of making it once, also to somebody who would have stayed")
    success: float | None = Field(None, ge=0, le=1, description="Share of those about to leave who stay because of it")
    effect: float | None = Field(None, ge=0, le=1, description="By how much it lowers the probability of leaving")
    eligible: Annotated[str, Field(max_length=2_000)] | None = Field(
        None,
        description="Who may have it: conditions on features, band and probability, joined by `and`",
        examples=["band = high and plan = basic|plus"],
    )


class RetentionPlanRequest(BaseModel):
    """What may be offered to whom, and for how much in all."""

    model_config = ConfigDict(extra="forbid")

    offers: list[OfferRequest] = Field(min_length=1, max_length=50)
    budget: float | None = Field(None, ge=0, le=1e12, description="None: every offer that pays")
    customer_ids: list[Customer] | None = Field(
        None, description="Only these; without it, everybody whose features are published"
    )
    months: float = Field(
        HORIZON_MONTHS, gt=0, le=1200, description="Horizon over which a kept customer's revenue counts"
    )
    model: str = Field(FAMILY, description="Name of a registered churn model", max_length=128)


class RetentionPlanAnswer(BaseModel):
    """A plan: what to expect of it, and where its assignments are."""

    id: str
    model: str
    version: int
    dataset_digest: str | None
    request: dict[str, Any]
    summary: dict[str, Any] = Field(
        description="spend, offers_made, customers_saved, revenue_saved, net, revenue_at_risk (by band, with 95 % "
        "intervals), by_offer, not_offered, optimal (whether nothing better exists), instead (the same budget by risk "
        "alone or at random)"
    )
    created_at: Moment
    request_id: str | None
    assignments: dict[str, str] = Field(description="Where the assignments are, by format")


class RetentionPlanPage(BaseModel):
    """Plans, newest first."""

    retention_plans: list[RetentionPlanAnswer]
    next_cursor: str | None = Field(description="Send it as `cursor` for the page after this one; null on the last")


class Assignment(BaseModel):
    """One offer to one customer."""

    rank: int
    customer: str
    band: str
    probability: float
    value_if_kept: float
    revenue_at_risk: float
    offer: str
    cost: float
    probability_with_offer: float
    revenue_saved: float
    net: float = Field(description="Revenue saved less the cost, expected")
    alternatives: str = Field(description="The other offers, best first, with what each would bring")


class AssignmentPage(BaseModel):
    """Offers to make, the most valuable first."""

    id: str
    assignments: list[Assignment]
    next_cursor: str | None


EXAMPLES: dict[str, Any] = {
    "a call or a discount, at most 500 in all": {
        "value": {
            "offers": [
                {"name": "call", "cost": 12, "success": 0.25},
                {"name": "discount", "cost": 40, "success": 0.5, "eligible": "band = high"},
            ],
            "budget": 500,
        }
    },
    "two customers, whatever pays": {
        "value": {
            "offers": [{"name": "call", "cost": 12, "success": 0.25}],
            "customer_ids": ["C0000001", "C0000002"],
        }
    },
}


@router.post("", status_code=201, summary="Plan a campaign")
def create(
    request: Request,
    response: Response,
    body: Annotated[RetentionPlanRequest, Body(openapi_examples=EXAMPLES)],
    services: ServicesDep,
    caller: Application,
) -> RetentionPlanAnswer:
    """At most one offer per customer, chosen for the greatest expected value within the budget and never above it.

    Customers are judged by the champion on their published features. Exact where that is feasible; otherwise the
    summary states how far the plan is from the best possible."""
    champion = services.champions.get(body.model, FAMILY)
    if body.customer_ids is not None:
        check_batch(len(body.customer_ids), services.settings.max_batch, "customer_ids", "customers")
    offers = _offers(body)
    ids, frame = _features(services, champion, body.customer_ids)
    made = _planned(champion, ids, frame, offers, body)
    record = RetentionPlanRecord(
        model=champion.name,
        version=champion.version,
        digest=champion.digest,
        request=body.model_dump(exclude={"customer_ids"})
        | {"customers": len(ids), "chosen": body.customer_ids is not None},
        summary=made.summary,
        request_id=request.scope.get("request_id"),
        caller=caller.name,
    )
    stored.create(services.settings, record, made.assignments.to_parquet(index=False))
    response.headers["Location"] = f"/v1/churn/retention-plans/{record.id}"
    return _answer(record)


def _offers(body: RetentionPlanRequest) -> list[RetentionOffer]:
    return checked([offer_of(one.model_dump(), f"offers[{at}]") for at, one in enumerate(body.offers)])


def _features(services: Services, champion: Champion, ids: list[str] | None) -> tuple[list[str], pd.DataFrame]:
    """Customers and their published features, by id."""
    if ids is not None and not ids:
        raise InvalidValue(
            "customer_ids is empty.", remedy="Send at least one, or none for all.", field="customer_ids", value=[]
        )
    settings, view = services.settings, champion.name
    wanted = list(dict.fromkeys(ids)) if ids is not None else entities(settings, view, limit=MOST_CUSTOMERS)
    found = lookup(settings, view, wanted)
    if unknown := [one for one in wanted if one not in found] if ids is not None else []:
        more = f" and {len(unknown) - MOST_NAMED:,} more" if len(unknown) > MOST_NAMED else ""
        raise UnknownEntity(
            f"No features are known of {', '.join(repr(one[:80]) for one in unknown[:MOST_NAMED])}{more}; nothing was "
            "planned.",
            remedy=f"Check the ids, or publish features with `merit train {view}`.",
            field="customer_ids",
            value=unknown[:MOST_NAMED],
        )
    if not found:
        raise EmptyData(
            f"No customers' features are published under {view!r}.",
            remedy=f"Publish them with `merit train {FAMILY}`, or plan for a file with `merit retain --data FILE`.",
            field="model",
            value=view,
        )
    kept = [one for one in wanted if one in found]
    return kept, pd.DataFrame([found[one] for one in kept])


def _planned(
    champion: Champion, ids: list[str], frame: pd.DataFrame, offers: list[RetentionOffer], body: RetentionPlanRequest
) -> RetentionPlan:
    model = champion.model
    probability = model.predict(frame)
    value = worth_where_known(model, frame, probability, body.months)
    band = np.asarray([model.band(float(p)) for p in probability], dtype=object)
    # What a rule may ask for beside the features.
    asked = frame.assign(band=band, probability=probability)
    # Who pays an unknown amount is worth nothing to the plan; its basis says how many they are.
    worths = np.nan_to_num(value.values, nan=0.0)
    customers = Customers(np.asarray(ids, dtype=object), probability, band, worths, asked, value.basis)
    return plan(customers, offers, body.budget, doubt(model))


@router.get("", summary="List retention plans")
def page(
    services: ServicesDep,
    caller: Application,
    model: Annotated[str | None, Query(description="Only of this model", max_length=128)] = None,
    version: Annotated[int | None, Query(ge=1, le=LARGEST_NUMBER, description="Only of this version")] = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    cursor: Annotated[
        str | None, Query(description="`next_cursor` of the page before", pattern="^[0-9a-f]{1,32}$")
    ] = None,
) -> RetentionPlanPage:
    """Newest first, without their assignments. A key of the role application sees the plans made with it."""
    found = stored.page(
        services.settings, model=model, version=version, caller=caller.sees_only, limit=limit, cursor=cursor
    )
    return RetentionPlanPage(retention_plans=[_answer(one) for one in found.items], next_cursor=found.next_cursor)


@router.get("/{plan_id}", summary="One retention plan")
def read(plan_id: Id, services: ServicesDep, caller: Application) -> RetentionPlanAnswer:
    """What was asked, what to expect, and where the assignments are."""
    return _answer(_find(services, plan_id, caller))


@router.get(
    "/{plan_id}/assignments",
    summary="Who is offered what",
    response_model=AssignmentPage,
    responses={
        200: {
            "description": "As JSON in pages, or whole as CSV",
            "content": {"text/csv": {"schema": {"type": "string"}}},
        }
    },
)
def assignments(
    plan_id: Id,
    services: ServicesDep,
    caller: Application,
    offer: Annotated[str | None, Query(description="Only this offer", max_length=128)] = None,
    band: Annotated[Literal["low", "medium", "high"] | None, Query(description="Only this risk band")] = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before", pattern="^[0-9]{1,9}$")] = None,
    format: Annotated[Literal["json", "csv"], Query(description="json in pages, or csv with everything")] = "json",
) -> Response:
    """The most valuable first; `rank` is that of the whole plan."""
    found = _find(services, plan_id, caller)
    table = pd.read_parquet(io.BytesIO(stored.result(services.settings, plan_id)))
    if offer is not None:
        table = table[table["offer"] == offer]
    if band is not None:
        table = table[table["band"] == band]
    if format == "csv":
        name = f"{found.model}-retention-{found.created_at:%Y%m%dT%H%M%S}-{found.id[-6:]}.csv"
        return Response(
            table.to_csv(index=False).encode(),
            media_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )
    after = table[table["rank"] > int(cursor or 0)]
    shown = after.head(limit)
    content = {
        "id": found.id,
        "assignments": shown.to_dict("records"),
        "next_cursor": str(int(shown["rank"].iloc[-1])) if len(after) > limit else None,
    }
    return Response(orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json")


def _find(services: Services, plan_id: str, caller: Caller) -> RetentionPlanRecord:
    found = stored.get(services.settings, plan_id)
    own = caller.sees_only
    if own is not None and found.caller != own:
        # What others asked for is not even said to exist.
        raise UnknownEntity(
            f"There is no retention plan {plan_id!r}.",
            remedy="Use the id that the plan was created with, and the key it was made with.",
            field="id",
            value=plan_id,
        )
    return found


def _answer(one: RetentionPlanRecord) -> RetentionPlanAnswer:
    place = f"/v1/churn/retention-plans/{one.id}/assignments"
    return RetentionPlanAnswer(
        id=one.id,
        model=one.model,
        version=one.version,
        dataset_digest=one.digest,
        request=dict(one.request),
        summary=dict(one.summary),
        created_at=one.created_at,
        request_id=one.request_id,
        assignments={kind: f"{place}?format={kind}" for kind in ("json", "csv")},
    )
