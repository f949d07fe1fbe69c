"""Anomalies: values checked as they come, and what was found in the platform's own series."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Query
from pydantic import BaseModel, ConfigDict, Field

from models.anomaly import KIND, VIEW
from models.anomaly.checks import SEVERITIES
from serving.anomaly_stream import MOST_HISTORY, MOST_VALUES, Stream, opened
from serving.dependencies import Application, ServicesDep
from serving.limits import LARGEST_NUMBER
from serving.moments import GivenMoment, Moment
from store import events, feature_rows
from store.errors import InvalidValue

router = APIRouter(prefix="/v1/anomalies", tags=["Anomalies"])

_READ = 10_000
Severity = Literal["low", "medium", "high", "critical"]
AnomalyKind = Literal["spike", "dip", "level shift", "unusual pattern", "limit", "missing", "flat line"]


class Point(BaseModel):
    """One value of a series."""

    model_config = ConfigDict(extra="forbid")

    at: GivenMoment | None = Field(None, description="Its time; default: the step after the one before")
    value: Annotated[float, Field(allow_inf_nan=False)] | None = Field(description="null where it is missing")


class CheckRequest(BaseModel):
    """Values to check, oldest first, after a history that comes from one of `series`, `history` and `state`."""

    model_config = ConfigDict(extra="forbid")

    values: list[Point] = Field(min_length=1, max_length=MOST_VALUES, description="What has come, oldest first")
    series: Annotated[str, Field(min_length=1, max_length=256)] | None = Field(
        None, description="A series of the platform; its history is known up to the last look of the flow `anomalies`"
    )
    history: list[Point] | None = Field(
        None, min_length=1, max_length=MOST_HISTORY, description="What came before, oldest first"
    )
    state: dict[str, Any] | None = Field(None, description="`state` of an earlier answer, to go on from there")
    freq: Annotated[str, Field(max_length=16)] | None = Field(
        None, description="With a history: h, 30min, D, W, MS, …; default: as its times show"
    )
    season: Annotated[int, Field(ge=1, le=199)] | None = Field(
        None, description="With a history: season length in steps; default: usual for the frequency"
    )
    rules: list[Annotated[str, Field(max_length=100)]] = Field(
        default=[], max_length=20, description='With a history: limits such as "below 0", "change 50%", "missing 3"'
    )
    holidays: list[Annotated[str, Field(max_length=16)]] = Field(
        default=[], max_length=20, description="With a history: countries whose holidays matter"
    )
    false_alarms: Annotated[float, Field(ge=1e-6, le=0.1)] = Field(
        0.001, description="With a history: share of usual values that may alarm"
    )
    keep_state: bool = Field(False, description="Whether the answer holds the state to go on from")


class CheckAnswer(BaseModel):
    """What is said of one value."""

    at: Moment | int | None
    value: float | None
    status: Literal["normal", "anomaly", "learning", "missing", "late"]
    expected: float | None
    low: float | None = Field(description="Lower end of what is usual")
    high: float | None
    residual: float | None = Field(description="Deviation in usual deviations")
    chance: float = Field(description="Estimated share of usual values that look at least as unusual")
    score: float = Field(description="0 to 1; 0.5 is the threshold of an alarm")
    kind: AnomalyKind | None
    severity: Severity | None
    detectors: dict[str, float] = Field(description="The same chance by each detector alone")
    rules: list[str] = Field(description="Limits that were broken, in words")
    run: int = Field(description="Alarms in a row on the same side")


class CheckAnswers(BaseModel):
    """One entry per value, in order."""

    checks: list[CheckAnswer]
    history_until: Moment | int | None = Field(description="The last time that was known before these values")
    state: dict[str, Any] | None


class AnomalyAnswer(BaseModel):
    """An anomaly that was found in a series of the platform."""

    id: str
    series: str
    start: str
    end: str
    steps: int
    kind: AnomalyKind
    severity: Severity
    score: float
    value: float | None
    expected: float | None
    excess: float = Field(description="Sum of value less expected over its steps")
    ongoing: bool
    why: str = Field(description="Detectors and rules that alarmed")
    incident: int = Field(description="Anomalies of one look that overlap in time share a number")
    causes: list[dict[str, Any]] = Field(description="Parts of a total that it comes from, largest first")
    told_at: Moment


class AnomalyPage(BaseModel):
    """Anomalies, those told of last first."""

    anomalies: list[AnomalyAnswer]
    next_cursor: int | None = Field(description="Send it as `cursor` for the page after this one; null on the last")


class WatchedSeries(BaseModel):
    """The series whose next values can be checked by name."""

    series: list[str]
    as_of: Moment | None = Field(description="Up to when their history is known")


_WEEK = (100.0, 104.0, 103.0, 102.0, 96.0, 61.0, 58.0)
EXAMPLES: dict[str, Any] = {
    "own history": {
        "value": {
            "history": [{"value": _WEEK[k % 7] + (k * 37 % 11) * 0.3} for k in range(56)],
            "season": 7,
            "values": [{"value": 101.0}, {"value": 161.0}],
            "rules": ["below 0"],
        }
    },
    "series of the platform": {"value": {"series": "api_calls/total", "values": [{"value": 100000}]}},
}


@router.post("/check", summary="Check values as they come")
def check(
    body: Annotated[CheckRequest, Body(openapi_examples=EXAMPLES)], services: ServicesDep, _: Application
) -> CheckAnswers:
    """Judged by what came before, in order; each value then counts as history of the next one.

    Nothing is kept here: what a platform's series is learns by the flow `anomalies`, and a stream of one's own goes on
    with the `state` of its last answer.
    """
    given = [name for name in ("series", "history", "state") if getattr(body, name) is not None]
    if len(given) != 1:
        raise InvalidValue(
            f"The body holds {' and '.join(given) or 'none of series, history and state'}.",
            remedy="Send exactly one of them.",
            field=given[-1] if given else "series",
        )
    stream = opened(services.settings, body)
    checks = [_answer(stream, stream.check(point.at, point.value)) for point in body.values]
    return CheckAnswers(
        checks=checks, history_until=stream.until, state=stream.detector.state() if body.keep_state else None
    )


@router.get("", summary="List anomalies of the platform's series")
def page(
    services: ServicesDep,
    _: Application,
    series: Annotated[str | None, Query(description="Only series whose name begins like this", max_length=256)] = None,
    severity: Annotated[Severity | None, Query(description="Only so severe or more")] = None,
    kind: Annotated[AnomalyKind | None, Query(description="Only of this kind")] = None,
    since: Annotated[GivenMoment | None, Query(description="Only those that ended at this time or later")] = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    cursor: Annotated[
        int | None, Query(ge=1, le=LARGEST_NUMBER, description="`next_cursor` of the page before")
    ] = None,
) -> AnomalyPage:
    """As the flow `anomalies` told of them; one that grew more severe is shown as it was told last."""
    least = SEVERITIES.index(severity) if severity else 0
    found: list[AnomalyAnswer] = []
    numbers: list[int] = []
    seen: set[str] = set()
    for event in reversed(events.recent(services.settings, KIND, limit=_READ)):
        row = event.payload
        if row["id"] in seen:
            continue
        seen.add(row["id"])
        if (
            (cursor is not None and event.id >= cursor)
            or not str(row["series"]).startswith(series or "")
            or SEVERITIES.index(row["severity"]) < least
            or (kind is not None and row["kind"] != kind)
            or (since is not None and datetime.fromisoformat(row["end"]) < since)
        ):
            continue
        names = AnomalyAnswer.model_fields.keys() - {"told_at"}
        found.append(AnomalyAnswer(**{name: row[name] for name in names}, told_at=event.created_at))
        numbers.append(event.id)
        if len(found) > limit:
            break
    more = len(found) > limit
    return AnomalyPage(anomalies=found[:limit], next_cursor=numbers[limit - 1] if more else None)


@router.get("/series", summary="Series that are watched")
def watched(services: ServicesDep, _: Application) -> WatchedSeries:
    """None before the flow `anomalies` has looked once."""
    return WatchedSeries(
        series=feature_rows.entities(services.settings, VIEW, limit=10_000),
        as_of=feature_rows.newest(services.settings, VIEW),
    )


def _answer(stream: Stream, found: Any) -> CheckAnswer:
    return CheckAnswer(**{**found.to_dict(), "at": stream.moment(found.at)})
