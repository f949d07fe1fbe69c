"""Churn over time and over all customers: what was said and what happened, and what the champion looks at."""

from __future__ import annotations

import threading
from collections import OrderedDict
from datetime import date, datetime, timedelta
from typing import Annotated, Any

import numpy as np
import pandas as pd
from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from models.churn.analytics import analytics
from models.churn.reasons.importance import MOST_ROWS, importance
from models.churn.retention.doubt import doubt
from models.churn.retention.value import REVENUE
from serving.champions import Champion
from serving.churn_answers import FAMILY
from serving.dependencies import Application, ServicesDep
from serving.limits import LARGEST_NUMBER
from serving.moments import GivenMoment, Moment
from store import predictions
from store.errors import EmptyData, InvalidValue
from store.feature_rows import entities, lookup, newest
from store.settings import Settings
from store.tables.base import utc_now

router = APIRouter(prefix="/v1/churn", tags=["Churn"])

MOST_CUSTOMERS = 2_000_000
REMEMBERED = 8
DAYS = 30
LONGEST = 400

Model = Annotated[str, Query(description="Name of a registered churn model", max_length=128)]


class Interval(BaseModel):
    """A value with its 95 % interval."""

    value: float | None
    low: float | None
    high: float | None


class Measures(BaseModel):
    """What was predicted and what came of it."""

    predictions: int
    customers: int = Field(description="Different customers; predictions without an id are not among them")
    mean_probability: Interval
    actuals: int = Field(description="Predictions whose outcome has been reported")
    observed: Interval | None = Field(description="Share of those that left")
    expected: float | None = Field(description="Mean probability of the same")
    calibration_gap: Interval | None = Field(description="Expected less observed; above zero the risk is overstated")
    revenue_at_risk: Interval = Field(description="Probability × value if kept; a customer counts once a day")


class DayAndBand(Measures):
    """One risk band on one day (UTC)."""

    day: date
    band: str


class BandTotal(Measures):
    """One risk band over the whole time."""

    band: str


class AnalyticsAnswer(BaseModel):
    """Predictions over time."""

    model: str
    version: int = Field(description="The champion's; the interval of revenue at risk is its")
    since: Moment
    until: Moment
    rows: list[DayAndBand]
    bands: list[BandTotal]
    total: Measures | None


class ColumnImportance(BaseModel):
    """One column's weight in what the champion says."""

    column: str
    value: float = Field(description="Mean size of its contribution to the log-odds")
    low: float
    high: float
    share: float = Field(description="Of the sum over all columns")
    unit: str
    meaning: str


class ImportanceAnswer(BaseModel):
    """What the champion looks at, most first."""

    model: str
    version: int
    customers: int = Field(description="Current customers that it was computed over")
    as_of: Moment = Field(description="The moment that their features describe")
    columns: list[ColumnImportance]


@router.get("/analytics", summary="Predictions by day and band, and what came of them")
def read_analytics(
    services: ServicesDep,
    caller: Application,
    model: Model = FAMILY,
    version: Annotated[
        int | None, Query(ge=1, le=LARGEST_NUMBER, description="Only predictions of this version")
    ] = None,
    since: Annotated[GivenMoment | None, Query(description="From this moment on (default: 30 days before)")] = None,
    until: Annotated[GivenMoment | None, Query(description="Up to this moment (default: now)")] = None,
) -> AnalyticsAnswer:
    """Mean probability, observed churn and calibration where outcomes have been reported, and revenue at risk, each
    with its 95 % interval. A key of the role application sees the predictions that were made with it."""
    champion = services.champions.get(model, FAMILY)
    end = until or utc_now()
    begin = since or end - timedelta(days=DAYS)
    if not timedelta(0) < end - begin <= timedelta(days=LONGEST):
        raise InvalidValue(
            f"since {begin.isoformat()} and until {end.isoformat()} are not 0 to {LONGEST} days apart.",
            remedy="Let `since` lie before `until`, and look at a shorter time.",
            field="since",
            value=begin.isoformat(),
        )
    services.predictions.flush()
    found = predictions.outcomes(
        services.settings,
        model=champion.name,
        since=begin,
        until=end,
        version=version,
        caller=caller.sees_only,
        feature=REVENUE,
    )
    body = analytics(_table(found), champion.model, doubt(champion.model))
    return AnalyticsAnswer(model=champion.name, version=champion.version, since=begin, until=end, **body)


def _table(found: list[predictions.Outcome]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "day": [one.created_at.date() for one in found],
            "band": [one.band for one in found],
            "customer": np.asarray([one.entity_id for one in found], dtype=object),
            "probability": np.asarray([one.probability for one in found], dtype=np.float64),
            "actual": [float("nan") if one.actual is None else float(bool(one.actual)) for one in found],
            "revenue": [float("nan") if one.feature is None else one.feature for one in found],
        }
    )


@router.get("/importance", summary="What the champion looks at")
def read_importance(services: ServicesDep, caller: Application, model: Model = FAMILY) -> ImportanceAnswer:  # noqa: ARG001
    """Mean size of every column's contribution to the log-odds (SHAP) over current customers, at most 2,000 of them,
    with its 95 % interval. It tells what the model looks at, not what causes customers to leave."""
    return IMPORTANCE.of(services.settings, services.champions.get(model, FAMILY))


class _Remembered:
    """Importance of the last few champions: it changes with a version and with the features, not with a request."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: OrderedDict[tuple[str, str, datetime], ImportanceAnswer] = OrderedDict()

    def of(self, settings: Settings, champion: Champion) -> ImportanceAnswer:
        as_of = newest(settings, champion.name)
        if as_of is None:
            raise EmptyData(
                f"No customers' features are published under {champion.name!r}.",
                remedy=f"Publish them with `merit train {FAMILY}`, or see the version's report.",
                field="model",
                value=champion.name,
            )
        key = (str(settings.root), champion.sha256, as_of)
        with self._lock:  # whoever asks at the same time waits for the first
            if key not in self._answers:
                self._answers[key] = _importance(settings, champion, as_of)
                while len(self._answers) > REMEMBERED:
                    self._answers.popitem(last=False)
            return self._answers[key]


IMPORTANCE = _Remembered()


def _importance(settings: Settings, champion: Champion, as_of: datetime) -> ImportanceAnswer:
    ids = entities(settings, champion.name, limit=MOST_CUSTOMERS)
    kept = [ids[at] for at in np.linspace(0, len(ids) - 1, min(len(ids), MOST_ROWS)).astype(int)]
    found = lookup(settings, champion.name, kept)
    rows: list[dict[str, Any]] = [found[one] for one in kept if one in found]
    frame = pd.DataFrame(rows, columns=list(champion.model.columns), dtype=object)
    return ImportanceAnswer(
        model=champion.name,
        version=champion.version,
        customers=len(frame),
        as_of=as_of,
        columns=[ColumnImportance(**one.to_dict()) for one in importance(champion.model, frame)],
    )
