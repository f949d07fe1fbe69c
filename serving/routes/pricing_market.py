"""What the promoted pricing model knows of its market, and what became of its recommendations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Body, Query

from models.pricing.advice import Question, plain
from serving.champions import Champion
from serving.dependencies import Application, Services, ServicesDep
from serving.limits import LARGEST_NUMBER
from serving.moments import GivenMoment
from serving.pricing_answers import (
    AnalyticsAnswer,
    ElasticityAnswer,
    ElasticityPage,
    PeriodAnswer,
    PositionAnswer,
    PositionPage,
    ProductTotals,
    SimulationAnswer,
    TotalsAnswer,
    totals,
)
from serving.pricing_requests import FAMILY, SimulationRequest, scenario, unknown_products
from store import recommendation_totals
from store.errors import InvalidValue, MeritError

router = APIRouter(prefix="/v1/pricing", tags=["Pricing"])

Item = TypeVar("Item")
Model = Annotated[str, Query(description="Name of a registered pricing model", max_length=128)]
Product = Annotated[str | None, Query(description="Only of this product", max_length=256)]
Limit = Annotated[int, Query(ge=1, le=1_000)]
Cursor = Annotated[str | None, Query(description="`next_cursor` of the page before", pattern=r"^v\d{1,9}-\d{1,9}$")]

SCENARIO: dict[str, Any] = {
    "a dearer product, the competitor follows": {
        "value": {"prices": {"basic": 11.0}, "competitor_prices": {"basic": 11.0}, "horizon_days": 28}
    }
}


@router.post("/simulations", summary="Play a price scenario through")
def simulate(
    body: Annotated[SimulationRequest, Body(openapi_examples=SCENARIO)], services: ServicesDep, _: Application
) -> SimulationAnswer:
    """Quantity, revenue and margin of each product and period under the given prices, beside the same with nothing
    changed. Nothing is kept."""
    champion = services.champions.get(body.model, FAMILY)
    asked, wanted = scenario(body, champion)
    periods = [
        PeriodAnswer.model_validate(plain(one))
        for one in champion.model.simulate(asked)
        if wanted is None or one.product in wanted
    ]
    return SimulationAnswer(
        model=champion.name,
        version=champion.version,
        horizon_days=body.horizon_days,
        level=body.level,
        revenue=sum(one.revenue.value or 0.0 for one in periods),
        revenue_unchanged=sum(one.revenue_unchanged or 0.0 for one in periods),
        margin=sum(one.margin.value or 0.0 for one in periods),
        periods=periods,
    )


@router.get("/elasticities", summary="Elasticities with intervals")
def elasticities(
    services: ServicesDep,
    _: Application,
    product: Product = None,
    segment: Annotated[str | None, Query(description="Only within this segment", max_length=256)] = None,
    of: Annotated[str | None, Query(description="Whose price: own, competitor, or a product", max_length=256)] = None,
    identified: Annotated[bool | None, Query(description="Only those that may be acted upon, or only the rest")] = None,
    model: Model = FAMILY,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> ElasticityPage:
    """By product, by product and segment, and of competitors' and other products' prices; those that the data cannot
    identify say why."""
    champion = services.champions.get(model, FAMILY)
    _check_product(champion, product)
    found = [
        one
        for one in champion.model.elasticities
        if (product is None or one.product == product)
        and (segment is None or one.segment == segment)
        and (of is None or one.of == of)
        and (identified is None or one.identified == identified)
    ]
    shown, following = _page(champion, found, limit, cursor)
    answers = [ElasticityAnswer.model_validate(plain(one)) for one in shown]
    return ElasticityPage(model=champion.name, version=champion.version, elasticities=answers, next_cursor=following)


@router.get("/positions", summary="Competitive positions")
def positions(
    services: ServicesDep,
    _: Application,
    product: Product = None,
    model: Model = FAMILY,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> PositionPage:
    """Each product's price beside its competitor's as last seen, and how the quantity answers to the competitor."""
    champion = services.champions.get(model, FAMILY)
    _check_product(champion, product)
    found = [one for one in champion.model.standings() if product is None or one.product == product]
    shown, following = _page(champion, found, limit, cursor)
    answers = [PositionAnswer.model_validate(plain(one)) for one in shown]
    return PositionPage(model=champion.name, version=champion.version, positions=answers, next_cursor=following)


@router.get("/analytics", summary="What became of recommendations")
def analytics(
    services: ServicesDep,
    caller: Application,
    product: Product = None,
    since: Annotated[GivenMoment | None, Query(description="Made at or after this moment (UTC unless it says)")] = None,
    until: Annotated[GivenMoment | None, Query(description="Made before this moment")] = None,
    model: Annotated[str | None, Query(description="Only of this model", max_length=128)] = None,
    version: Annotated[int | None, Query(ge=1, le=LARGEST_NUMBER, description="Only of this version")] = None,
) -> AnalyticsAnswer:
    """How many are in which state, what they promised and what was earned, in all and by product. A key of the role
    application sees the figures of its own recommendations."""
    found = recommendation_totals.totals(
        services.settings,
        model=model,
        version=version,
        product=product,
        caller=caller.sees_only,
        since=since,
        until=until,
    )
    return AnalyticsAnswer(
        total=TotalsAnswer(**totals(recommendation_totals.overall(found.values()))),
        products=[ProductTotals(product=name, **totals(one)) for name, one in found.items()],
    )


def example(services: Services) -> tuple[str, float] | None:
    """A product of the promoted model and a price a tenth above its present one, for the documentation."""
    try:
        model = services.champions.get(FAMILY, FAMILY).model
    except MeritError:
        return None
    product = next(iter(model.products))
    return product, round(1.1 * float(model.advise(Question(product)).current_price), 2)


def _check_product(champion: Champion, product: str | None) -> None:
    if product is not None and product not in champion.model.products:
        raise unknown_products(champion, [product], "product")


def _page(
    champion: Champion, found: Sequence[Item], limit: int, cursor: str | None
) -> tuple[Sequence[Item], str | None]:
    """Part of a list that a version holds in memory; a cursor is good for that version alone."""
    start = 0
    if cursor is not None:
        version, _, place = cursor.removeprefix("v").partition("-")
        if int(version) != champion.version:
            raise InvalidValue(
                f"The cursor {cursor!r} is of version {version}; version {champion.version} is champion now.",
                remedy="Begin again without a cursor.",
                field="cursor",
                value=cursor,
            )
        start = int(place)
    end = start + limit
    return found[start:end], f"v{champion.version}-{end}" if end < len(found) else None
