"""What is answered about prices over HTTP. Numbers that cannot be estimated are null."""

from __future__ import annotations

import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from models.pricing.advice import Objective
from serving.moments import Moment
from store.recommendation_totals import Sum, Totals
from store.recommendations import Recommendation, State


class IntervalAnswer(BaseModel):
    """A number and its interval at the level asked for."""

    value: float | None
    low: float | None
    high: float | None


class ElasticityAnswer(BaseModel):
    """By how many percent the quantity changes when a price rises by one percent."""

    product: str | None = Field(description="Whose quantity; null: of all products together")
    segment: str | None = Field(description="Within this segment only; null: all of them")
    of: str = Field(description="Whose price: own, competitor, or another product")
    value: float | None
    low: float | None
    high: float | None
    standard_error: float | None
    level: float
    method: str
    rows: int = Field(description="Observations that it rests on")
    price_levels: int = Field(description="Different prices among them")
    identified: bool = Field(description="Whether it may be acted upon")
    reason: str = Field(description="Why not")


class OutlookAnswer(BaseModel):
    """What a price is expected to bring over the horizon."""

    price: float
    quantity: IntervalAnswer
    revenue: IntervalAnswer
    margin: IntervalAnswer


class ConstraintsAnswer(BaseModel):
    floor: float | None
    ceiling: float | None
    max_change: float | None
    min_margin: float | None
    fairness: float | None


class QuestionAnswer(BaseModel):
    """The question as it was put to the model."""

    product: str
    segment: str | None
    current_price: float | None
    unit_cost: float
    competitor_price: float | None
    objective: Objective
    constraints: ConstraintsAnswer
    horizon_days: int
    level: float


class SegmentPriceAnswer(BaseModel):
    """What a recommendation for a whole product means for one of its segments."""

    segment: str
    current_price: float
    price: float
    quantity: float | None = Field(description="Expected at `price` over the horizon")
    advised: bool = Field(description="False where the segment's own elasticity is not identified: its price stays")


class AdviceAnswer(BaseModel):
    """A price, or why none can be advised and what experiment would settle it."""

    advised: bool
    reason: str = Field(description='Begins with "cannot advise, because" where no price is advised')
    experiment: str = Field(description="What would settle it")
    current_price: float | None
    price: float | None = Field(description="The recommended price; the current one where none is advised")
    elasticity: ElasticityAnswer
    now: OutlookAnswer | None = Field(description="Expected at the current price")
    then: OutlookAnswer | None = Field(description="Expected at the recommended price")
    gain_revenue: IntervalAnswer | None
    gain_margin: IntervalAnswer | None
    binding: list[str] = Field(description="Constraints without which the price would be another")
    position: float | None = Field(description="Price relative to the competitor's")
    segments: list[SegmentPriceAnswer] = Field(description="Of a product with segments: the price of each")


class ImplementedAnswer(BaseModel):
    price: float
    date: datetime.date
    by: str | None
    reported_at: Moment


class DismissedAnswer(BaseModel):
    reason: str
    by: str | None
    reported_at: Moment


class MeasuredAnswer(BaseModel):
    """What came of an implemented price, beside what was expected for the same days."""

    first_day: datetime.date
    last_day: datetime.date
    days: int
    learned_days: int = Field(
        description="Days that the version had learned from: of these it foretold nothing", examples=[0]
    )
    quantity: float
    revenue: float
    expected_revenue: IntervalAnswer = Field(description="At the implemented price")
    verdict: Literal["above", "as expected", "below"]
    gained_revenue: IntervalAnswer | None = Field(
        description="Revenue less what was expected of the price before, for the same days"
    )
    details: dict[str, Any]
    by: str | None
    reported_at: Moment


class RecommendationAnswer(AdviceAnswer):
    """A recommendation, where it comes from, and what became of it."""

    id: str
    product: str
    segment: str | None
    state: State
    question: QuestionAnswer
    model: str
    version: int
    run_id: str | None
    dataset_digest: str | None
    git_commit: str | None
    created_at: Moment
    updated_at: Moment
    request_id: str | None
    implemented: ImplementedAnswer | None
    dismissed: DismissedAnswer | None
    measured: MeasuredAnswer | None


class RefusedQuestion(BaseModel):
    """A question of a batch that makes no sense, such as constraints that contradict each other for this product."""

    product: str
    segment: str | None
    detail: str
    field: str | None
    remedy: str


class RecommendationBatch(BaseModel):
    """Recommendations in the order of the request; all of one version."""

    recommendations: list[RecommendationAnswer]
    refused: list[RefusedQuestion] = Field(description="Questions that were not answered and are not kept")
    advised: int = Field(description="How many of them name a price")
    model: str
    version: int


class RecommendationPage(BaseModel):
    """Recommendations, newest first."""

    recommendations: list[RecommendationAnswer]
    next_cursor: str | None = Field(description="Send it as `cursor` for the page after this one; null on the last")


class PeriodAnswer(BaseModel):
    """One product in one period of a scenario, beside the same period with nothing changed."""

    product: str
    segment: str | None
    start: datetime.date
    days: int
    price: float
    quantity: IntervalAnswer
    revenue: IntervalAnswer
    margin: IntervalAnswer
    quantity_unchanged: float | None
    revenue_unchanged: float | None


class SimulationAnswer(BaseModel):
    """A scenario played through with the promoted model."""

    model: str
    version: int
    horizon_days: int
    level: float
    revenue: float = Field(description="Over all periods below")
    revenue_unchanged: float = Field(description="The same with nothing changed")
    margin: float
    periods: list[PeriodAnswer]


class ElasticityPage(BaseModel):
    """Elasticities of the promoted model."""

    model: str
    version: int
    elasticities: list[ElasticityAnswer]
    next_cursor: str | None


class PositionAnswer(BaseModel):
    """Where a product stands among its competitors."""

    product: str
    segment: str | None
    price: float
    competitor_price: float
    ratio: float = Field(description="Price relative to the competitor's")
    cross_elasticity: ElasticityAnswer


class PositionPage(BaseModel):
    """Competitive positions as last seen in the data of the promoted model."""

    model: str
    version: int
    positions: list[PositionAnswer]
    next_cursor: str | None


class SumAnswer(BaseModel):
    """A sum of estimates; its bounds are sums of theirs, as if every error were shared: the widest it can be."""

    count: int
    value: float
    low: float
    high: float


class TotalsAnswer(BaseModel):
    """Figures of one product, or of all."""

    counts: dict[State, int]
    asked: int
    advised_share: float | None = Field(description="Share of recommendations that name a price")
    open_gain_revenue: SumAnswer = Field(
        description="Expected of proposals that nobody has decided on; of a product asked about again, the newest"
    )
    open_gain_margin: SumAnswer
    implemented_gain_revenue: SumAnswer = Field(description="Expected of those implemented, measured or not")
    implemented_gain_margin: SumAnswer
    realised_revenue: float = Field(description="Of those measured, in the measured days")
    expected_revenue: SumAnswer = Field(description="Expected of them for the same days")
    realised_gain_revenue: SumAnswer = Field(
        description="Their revenue less what was expected of the prices before, for the same days"
    )
    verdicts: dict[str, int]


class ProductTotals(TotalsAnswer):
    product: str


class AnalyticsAnswer(BaseModel):
    """What became of recommendations, in all and by product. Gains are over the horizon each was asked for."""

    total: TotalsAnswer
    products: list[ProductTotals]


def recommendation(one: Recommendation) -> RecommendationAnswer:
    """A stored recommendation as it is answered, the same just made and years later."""
    implemented = one.implemented
    return RecommendationAnswer.model_validate(
        {
            **one.advice,
            "id": one.id,
            "product": one.product,
            "segment": one.segment,
            "state": one.state,
            "question": one.request,
            "model": one.model,
            "version": one.version,
            "run_id": one.run_id,
            "dataset_digest": one.digest,
            "git_commit": one.git_commit,
            "created_at": one.created_at,
            "updated_at": one.updated_at,
            "request_id": one.request_id,
            "implemented": {**implemented, "date": implemented["at"]} if implemented else None,
            "dismissed": one.dismissed,
            "measured": one.measured,
        }
    )


def totals(of: Totals) -> dict[str, Any]:
    """Figures as they are answered: the fields of `TotalsAnswer`."""
    return {
        "counts": of.counts,
        "asked": of.asked,
        "advised_share": of.advised / of.asked if of.asked else None,
        "open_gain_revenue": _sum(of.open_revenue),
        "open_gain_margin": _sum(of.open_margin),
        "implemented_gain_revenue": _sum(of.implemented_revenue),
        "implemented_gain_margin": _sum(of.implemented_margin),
        "realised_revenue": of.revenue,
        "expected_revenue": _sum(of.expected_revenue),
        "realised_gain_revenue": _sum(of.gained_revenue),
        "verdicts": of.verdicts,
    }


def _sum(of: Sum) -> SumAnswer:
    return SumAnswer(count=of.count, value=of.value, low=of.low, high=of.high)
