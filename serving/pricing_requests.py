"""What may be asked of a pricing model over HTTP, and the questions and scenarios that it means."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from models.pricing.advice import Constraints, Objective, Question, Scenario
from serving.champions import Champion
from serving.limits import check_batch
from store.errors import InvalidValue, UnknownEntity

FAMILY = "pricing"
# What one request may compute while others wait for a thread.
MOST_QUESTIONS = 500
LONGEST_HORIZON = 365
MOST_NAMED = 20

# Postgres holds no NUL in text.
Name = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[^\x00]*$")]
Price = Annotated[float, Field(gt=0, le=1e12, strict=True, allow_inf_nan=False)]
Cost = Annotated[float, Field(ge=0, le=1e12, strict=True, allow_inf_nan=False)]
Level = Annotated[float, Field(ge=0.5, lt=1, strict=True)]
Horizon = Annotated[int, Field(ge=1, le=LONGEST_HORIZON, strict=True)]


class ConstraintsGiven(BaseModel):
    """What a recommended price must respect; null where there is no such limit."""

    model_config = ConfigDict(extra="forbid")

    floor: Price | None = Field(None, description="Lowest price")
    ceiling: Price | None = Field(None, description="Highest price")
    max_change: Annotated[float, Field(gt=0, le=10, strict=True)] | None = Field(
        0.1, description="Largest relative step from the current price"
    )
    min_margin: Annotated[float, Field(ge=0, lt=1, strict=True)] | None = Field(
        None, description="Smallest share of the price left after the unit cost"
    )
    fairness: Annotated[float, Field(ge=1, le=100, strict=True)] | None = Field(
        None, description="Largest ratio of the highest to the lowest price among the segments of a product"
    )


class RecommendationRequest(BaseModel):
    """Which prices to ask for: `product` for one, `products` for several, neither for all."""

    model_config = ConfigDict(extra="forbid")

    product: Name | None = Field(None, description="One product")
    products: list[Name] | None = Field(None, description="Several; one that is not known refuses them all")
    segment: Name | None = Field(
        None, description="A price for this segment alone; null: one relative step for all, or with `fairness` one each"
    )
    each_segment: bool = Field(False, description="A recommendation for every segment of every product", strict=True)
    current_price: Price | None = Field(None, description="Of the one product; default: the last one in the data")
    competitor_price: Price | None = Field(None, description="Of the one product; default: the last one in the data")
    unit_cost: Cost | None = Field(
        None, description="Variable cost of one unit; default: the last one in the data, or 0"
    )
    unit_costs: dict[Name, Cost] = Field(default_factory=dict, description="The same by product", max_length=10_000)
    objective: Objective = Field("margin", description="What is to become as large as possible")
    constraints: ConstraintsGiven = Field(default_factory=ConstraintsGiven)
    horizon_days: Horizon = Field(90, description="Days over which revenue and margin are added up")
    level: Level = Field(0.9, description="Level of the intervals")
    model: str = Field(FAMILY, description="Name of a registered pricing model", max_length=128)


class SimulationRequest(BaseModel):
    """Prices to play through; what is not named stays as last seen."""

    model_config = ConfigDict(extra="forbid")

    prices: dict[Name, Price] = Field(
        default_factory=dict, description="`product`, or `product/segment`, → price", max_length=10_000
    )
    competitor_prices: dict[Name, Price] = Field(
        default_factory=dict, description="The competitor's, by the same names", max_length=10_000
    )
    unit_costs: dict[Name, Cost] = Field(default_factory=dict, description="By product", max_length=10_000)
    products: list[Name] | None = Field(
        None, description="Answer for these; default: those named here and those that follow them, or all"
    )
    horizon_days: Horizon = Field(90, description="Days from the end of the data")
    level: Level = Field(0.9, description="Level of the intervals")
    model: str = Field(FAMILY, description="Name of a registered pricing model", max_length=128)


class ImplementedRequest(BaseModel):
    """A price as it was really set."""

    model_config = ConfigDict(extra="forbid")

    price: Price = Field(description="Of several segments: their mean, weighted by quantity")
    date: datetime.date = Field(description="First day on which it held")


class DismissedRequest(BaseModel):
    """Why a recommendation will not be followed."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field("", max_length=2_000)


class Observation(BaseModel):
    """What was sold on one day."""

    model_config = ConfigDict(extra="forbid")

    date: datetime.date
    quantity: Annotated[float, Field(ge=0, le=1e15, strict=True, allow_inf_nan=False)]


class OutcomeRequest(BaseModel):
    """What was sold at the implemented price, day by day, of the product and segment of the recommendation."""

    model_config = ConfigDict(extra="forbid")

    observed: list[Observation] = Field(description="One entry per day", min_length=1, max_length=2 * LONGEST_HORIZON)


def questions(body: RecommendationRequest, champion: Champion, max_batch: int) -> list[Question]:
    """The questions that a request means, in its order; all are about products and segments that the model knows.

    Raises
    ------
    UnknownEntity : a product or segment that the model does not know; the message lists them.
    InvalidValue : the request contradicts itself or asks for too much.
    """
    known: Mapping[str, tuple[str, ...]] = champion.model.products
    names = _products(body, champion)
    if body.each_segment and body.segment is not None:
        raise InvalidValue(
            f"The body holds segment = {body.segment!r} and each_segment.",
            remedy="Send one of them.",
            field="each_segment",
            value=True,
        )
    pairs: list[tuple[str, str | None]] = []
    for name in names:
        if body.segment is not None and body.segment not in known[name]:
            raise unknown_segment(champion, name, body.segment)
        # A product without segments is asked about as a whole.
        pairs += [(name, one) for one in known[name] or (None,)] if body.each_segment else [(name, body.segment)]
    check_batch(len(pairs), min(max_batch, MOST_QUESTIONS), "products", "questions")
    constraints = _constraints(body.constraints)
    return [
        Question(
            product=name,
            segment=segment,
            current_price=body.current_price,
            unit_cost=_unit_cost(body, champion, name, segment),
            competitor_price=body.competitor_price,
            objective=body.objective,
            constraints=constraints,
            horizon_days=body.horizon_days,
            level=body.level,
        )
        for name, segment in pairs
    ]


def scenario(body: SimulationRequest, champion: Champion) -> tuple[Scenario, frozenset[str] | None]:
    """The scenario that a request means, and the products to answer for; None for all that it touches.

    Raises
    ------
    UnknownEntity : a product that the model does not know.
    InvalidValue : too many products.
    """
    if body.products is not None:
        _check_known(body.products, champion, "products")
    named = {*body.prices, *body.competitor_prices, *body.unit_costs}
    check_batch(len(named or champion.model.products), MOST_QUESTIONS, "prices", "products")
    made = Scenario(
        prices=dict(body.prices),
        competitor_prices=dict(body.competitor_prices),
        unit_costs=dict(body.unit_costs),
        horizon_days=body.horizon_days,
        level=body.level,
    )
    return made, None if body.products is None else frozenset(body.products)


def _products(body: RecommendationRequest, champion: Champion) -> list[str]:
    known = champion.model.products
    if body.product is not None and body.products is not None:
        raise InvalidValue("The body holds product and products.", remedy="Send at most one of them.", field="products")
    _check_known(body.unit_costs, champion, "unit_costs")
    if body.product is not None:
        _check_known([body.product], champion, "product")
        return [body.product]
    for field in ("current_price", "competitor_price"):
        if (value := getattr(body, field)) is not None:
            raise InvalidValue(
                f"{field} = {value:g} cannot be that of every product.",
                remedy=f"Send it with `product`; without it, each product's last {field} in the data counts.",
                field=field,
                value=value,
            )
    if body.products is None:
        return list(known)
    if not body.products:
        raise InvalidValue(
            "products is empty.", remedy="Name at least one, or leave it out for all.", field="products", value=[]
        )
    _check_known(body.products, champion, "products")
    return list(dict.fromkeys(body.products))


def _unit_cost(body: RecommendationRequest, champion: Champion, product: str, segment: str | None) -> float:
    given = body.unit_costs.get(product, body.unit_cost)
    return given if given is not None else champion.model.unit_cost(product, segment) or 0.0


def _constraints(given: ConstraintsGiven) -> Constraints:
    if given.floor is not None and given.ceiling is not None and given.floor > given.ceiling:
        raise InvalidValue(
            f"The floor {given.floor:g} lies above the ceiling {given.ceiling:g}.",
            remedy="Exchange them, or leave one out.",
            field="constraints.floor",
            value=given.floor,
        )
    return Constraints(**given.model_dump())


def _check_known(names: Any, champion: Champion, field: str) -> None:
    if unknown := [name for name in names if name not in champion.model.products]:
        raise unknown_products(champion, unknown, field)


def unknown_products(champion: Champion, names: list[str], field: str) -> UnknownEntity:
    """The error about products that a model does not know."""
    known = champion.model.products
    listed = ", ".join(repr(name[:80]) for name in names[:MOST_NAMED])
    more = f" and {len(names) - MOST_NAMED:,} more" if len(names) > MOST_NAMED else ""
    return UnknownEntity(
        f"{champion.name} version {champion.version} knows no product {listed}{more}.",
        remedy=f"It knows {len(known):,}, for example {', '.join(list(known)[:5])}.",
        field=field,
        value=names[0] if len(names) == 1 else names[:MOST_NAMED],
    )


def unknown_segment(champion: Champion, product: str, segment: str) -> UnknownEntity:
    """The error about a segment that a product does not have."""
    segments = champion.model.products[product]
    listed = f"Its segments are {', '.join(segments[:MOST_NAMED])}." if segments else "It has none: leave it out."
    return UnknownEntity(
        f"The product {product!r} has no segment {segment!r} in {champion.name} version {champion.version}.",
        remedy=listed,
        field="segment",
        value=segment,
    )
