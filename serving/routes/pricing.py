"""Price recommendations: ask for them, look them up, and say what became of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Query, Request, Response

from models.pricing.advice import Advice, Question, plain
from serving.access import Caller
from serving.champions import Champion
from serving.dependencies import Analyst, Application, Services, ServicesDep
from serving.limits import LARGEST_NUMBER
from serving.moments import GivenMoment
from serving.pricing_answers import (
    RecommendationAnswer,
    RecommendationBatch,
    RecommendationPage,
    RefusedQuestion,
    recommendation,
)
from serving.pricing_outcomes import measured
from serving.pricing_requests import (
    FAMILY,
    DismissedRequest,
    ImplementedRequest,
    OutcomeRequest,
    RecommendationRequest,
    questions,
)
from store import recommendations as stored
from store.errors import DataError, InvalidValue, UnknownEntity
from store.recommendations import Recommendation, State

router = APIRouter(prefix="/v1/pricing/recommendations", tags=["Pricing"])

Id = Annotated[str, Path(description="Id of a recommendation", pattern="^[0-9a-f]{32}$")]

EXAMPLES: dict[str, Any] = {
    "one product": {
        "value": {"product": "basic", "unit_cost": 2.5, "constraints": {"max_change": 0.15, "min_margin": 0.2}}
    },
    "every segment of every product, for revenue": {"value": {"each_segment": True, "objective": "revenue"}},
}
# Days are put to yesterday where they are shown; see `serving.documentation`.
IMPLEMENTED: dict[str, Any] = {"since yesterday": {"value": {"price": 11.0, "date": "2026-11-01"}}}
DISMISSED: dict[str, Any] = {"a promise to customers": {"value": {"reason": "prices are promised until summer"}}}
OUTCOME: dict[str, Any] = {"one day": {"value": {"observed": [{"date": "2026-11-01", "quantity": 4}]}}}


@router.post(
    "",
    status_code=201,
    summary="Recommend prices",
    response_model=RecommendationAnswer | RecommendationBatch,
    responses={201: {"description": "One recommendation for `product` without `each_segment`, else a batch"}},
)
def create(
    request: Request,
    response: Response,
    body: Annotated[RecommendationRequest, Body(openapi_examples=EXAMPLES)],
    services: ServicesDep,
    caller: Application,
) -> RecommendationAnswer | RecommendationBatch:
    """The price with the highest expected margin or revenue within the constraints, from the promoted model.

    Where the data cannot tell, no price is recommended: `advised` is false, `reason` says why, and `experiment` what
    would settle it. Either way the answer is kept under its id.
    """
    champion = services.champions.get(body.model, FAMILY)
    alone = body.product is not None and not body.each_segment
    made, refused, first = [], [], None
    for question in questions(body, champion, services.settings.max_batch):
        try:
            advice = champion.model.advise(question)
        except DataError as error:
            if alone:
                raise
            first = first or error
            refused.append(_refused(question, error))
            continue
        made.append(_recommendation(champion, advice, request, caller))
    if first and not made:
        raise first
    stored.create(services.settings, made)
    if alone:
        response.headers["Location"] = f"{router.prefix}/{made[0].id}"
        return recommendation(made[0])
    return RecommendationBatch(
        recommendations=[recommendation(one) for one in made],
        refused=refused,
        advised=sum(one.state == "proposed" for one in made),
        model=champion.name,
        version=champion.version,
    )


def _recommendation(champion: Champion, advice: Advice, request: Request, caller: Caller) -> Recommendation:
    said = plain(advice)
    return Recommendation(
        model=champion.name,
        version=champion.version,
        product=advice.question.product,
        segment=advice.question.segment,
        state="proposed" if advice.advised else "cannot_advise",
        request=said.pop("question"),
        advice=said,
        digest=champion.digest,
        run_id=champion.run_id,
        git_commit=champion.git_commit,
        request_id=request.scope.get("request_id"),
        caller=caller.name,
    )


def _refused(question: Question, error: DataError) -> RefusedQuestion:
    return RefusedQuestion(
        product=question.product,
        segment=question.segment,
        detail=error.message,
        field=error.field,
        remedy=error.remedy,
    )


@router.get("", summary="List recommendations")
def page(
    services: ServicesDep,
    caller: Application,
    product: Annotated[str | None, Query(description="Only of this product", max_length=256)] = None,
    segment: Annotated[str | None, Query(description="Only for this segment", max_length=256)] = None,
    state: Annotated[State | None, Query(description="Only those in this state")] = None,
    since: Annotated[GivenMoment | None, Query(description="Made at or after this moment (UTC unless it says)")] = None,
    until: Annotated[GivenMoment | None, Query(description="Made before this moment")] = None,
    model: Annotated[str | None, Query(description="Only of this model", max_length=128)] = None,
    version: Annotated[int | None, Query(ge=1, le=LARGEST_NUMBER, description="Only of this version")] = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    cursor: Annotated[
        str | None, Query(description="`next_cursor` of the page before", pattern="^[0-9a-f]{1,32}$")
    ] = None,
) -> RecommendationPage:
    """Newest first. A key of the role application sees the recommendations that were made with it."""
    found = stored.page(
        services.settings,
        product=product,
        segment=segment,
        state=state,
        since=since,
        until=until,
        model=model,
        version=version,
        caller=caller.sees_only,
        limit=limit,
        cursor=cursor,
    )
    return RecommendationPage(
        recommendations=[recommendation(one) for one in found.items], next_cursor=found.next_cursor
    )


@router.get("/{recommendation_id}", summary="One recommendation and what became of it")
def read(recommendation_id: Id, services: ServicesDep, caller: Application) -> RecommendationAnswer:
    """The question, the advice, the version and data it came from, and its state."""
    return recommendation(_find(services, recommendation_id, caller))


@router.post("/{recommendation_id}/implemented", summary="A price was set")
def implemented(
    recommendation_id: Id,
    body: Annotated[ImplementedRequest, Body(openapi_examples=IMPLEMENTED)],
    services: ServicesDep,
    caller: Analyst,
) -> RecommendationAnswer:
    """The price as it was really set, and from which day; it need not be the recommended one. Happens once: a
    recommendation that was decided on before answers 409 with what was decided."""
    _check_day(body)
    return recommendation(
        stored.implement(services.settings, recommendation_id, price=body.price, at=body.date, by=caller.name)
    )


@router.post("/{recommendation_id}/dismissed", summary="A recommendation will not be followed")
def dismissed(
    recommendation_id: Id,
    body: Annotated[DismissedRequest, Body(openapi_examples=DISMISSED)],
    services: ServicesDep,
    caller: Analyst,
) -> RecommendationAnswer:
    """Kept with the reason. Happens once, and not after the price was set."""
    return recommendation(stored.dismiss(services.settings, recommendation_id, reason=body.reason, by=caller.name))


@router.post("/{recommendation_id}/outcome", summary="Realised against expected revenue")
def outcome(
    recommendation_id: Id,
    body: Annotated[OutcomeRequest, Body(openapi_examples=OUTCOME)],
    services: ServicesDep,
    caller: Analyst,
) -> RecommendationAnswer:
    """Measures an implemented price by what was sold, day by day, since it held.

    The version that made the recommendation says what it would have expected of the same days at the implemented
    price, with its interval, and at the price before. Happens once.
    """
    found = stored.get(services.settings, recommendation_id)
    stored.require(found, ("implemented",), "measured")
    result = measured(services, found, body.observed)
    return recommendation(stored.measure(services.settings, recommendation_id, result, by=caller.name))


def _check_day(body: ImplementedRequest) -> None:
    # A day has begun somewhere on earth before it does here.
    latest = (datetime.now(UTC) + timedelta(days=1)).date()
    if body.date > latest:
        raise InvalidValue(
            f"date = {body.date} lies in the future.",
            remedy="Report a price from the first day on which it held.",
            field="date",
            value=body.date.isoformat(),
        )


def _find(services: Services, recommendation_id: str, caller: Caller) -> Recommendation:
    found = stored.get(services.settings, recommendation_id)
    own = caller.sees_only
    if own is not None and found.caller != own:
        # What others asked for is not even said to exist.
        raise UnknownEntity(
            f"There is no recommendation {recommendation_id!r}.",
            remedy="Use the id that the recommendation was made with, and the key it was made with.",
            field="id",
            value=recommendation_id,
        )
    return found
