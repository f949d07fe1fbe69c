"""Planning with the promoted forecaster: which series it knows, what they are made of, when they cross a threshold."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from serving.champions import Champion
from serving.dependencies import Application, ServicesDep
from serving.routes.forecasts import FAMILY
from store.errors import UnknownEntity

router = APIRouter(prefix="/v1/forecasts", tags=["Forecasts"])

Model = Annotated[str, Query(description="Name of a registered forecasting model", max_length=128)]
Name = Annotated[str, Path(description="Id of a series", max_length=256)]


class SeriesAnswer(BaseModel):
    """A series that the model forecasts."""

    unique_id: str
    model: str = Field(description='"combination", or the single model that is used')
    weights: dict[str, float]
    seasons: list[int] = Field(description="Season lengths in steps")
    length: int = Field(description="Values that were learned from")
    last_value: float | None
    notes: list[str]


class SeriesPage(BaseModel):
    """Series in the order of the model."""

    model: str
    version: int
    frequency: str
    horizon: int
    exog: list[str] = Field(description="Columns known in advance that the forecasts were made with")
    holidays: str | None
    sums: list[dict[str, Any]] = Field(description="Totals and the parts that their forecasts are the sums of")
    series: list[SeriesAnswer]
    next_cursor: str | None = Field(description="Send it as `cursor` for the page after this one; null on the last")


class DecompositionAnswer(BaseModel):
    """What a series is made of, as of the end of the data that the version learned from."""

    model: str
    version: int
    dataset_digest: str | None
    findings: dict[str, Any] = Field(
        description="Growth, strength of trend and seasons, lasting breaks with 95 % intervals, and all of it in words"
    )
    components: list[dict[str, Any]] | None = Field(
        description="Per step: y, trend, what each season adds, remainder, level with breaks; null unless asked for"
    )


class CapacityRequest(BaseModel):
    """Which series, and which threshold."""

    model_config = ConfigDict(extra="forbid")

    series: Annotated[str, Field(min_length=1, max_length=256, description="Id of a series")]
    threshold: Annotated[float, Field(allow_inf_nan=False, description="In units of the series")]
    direction: Literal["above", "below"] = Field("above", description="Reach it from below, or from above")
    horizon: Annotated[int, Field(ge=1, strict=True)] | None = Field(
        None, description="Steps ahead; default and most: the horizon that the model was trained for"
    )
    model: str = Field(FAMILY, description="Name of a registered forecasting model", max_length=128)


class CapacityStep(BaseModel):
    """One step ahead."""

    ds: str
    beyond: float = Field(description="Probability of lying at or past the threshold at this step")
    crossed: float = Field(description="Probability of having reached it by this step")


class CapacityAnswer(BaseModel):
    """When a series reaches a threshold, and how probably."""

    series: str
    threshold: float
    direction: Literal["above", "below"]
    already: bool = Field(description="Whether the last value seen lies at or past the threshold")
    last_value: float
    probability: float = Field(description="Of reaching it within the horizon")
    by_50: str | None = Field(description="First step by which it is reached with 50 %; null: not within the horizon")
    by_80: str | None
    by_95: str | None
    summary: str
    steps: list[CapacityStep]
    model: str
    version: int
    run_id: str | None
    dataset_digest: str | None


EXAMPLES: dict[str, Any] = {
    "when do calls reach two million a day": {"value": {"series": "api_calls/total", "threshold": 2_000_000}},
}


@router.get("/series", summary="Series that can be forecast")
def series(
    services: ServicesDep,
    caller: Application,  # noqa: ARG001 - only for the role
    model: Model = FAMILY,
    prefix: Annotated[str | None, Query(description="Only those whose id begins like this", max_length=256)] = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before", pattern="^[0-9]{1,9}$")] = None,
) -> SeriesPage:
    """What the promoted model knows of each series: how it is forecast, what was left out and why."""
    champion = services.champions.get(model, FAMILY)
    contract = champion.model.contract
    chosen = [name for name in champion.series if prefix is None or name.startswith(prefix)]
    start = int(cursor or 0)
    shown = chosen[start : start + limit]
    return SeriesPage(
        model=champion.name,
        version=champion.version,
        frequency=contract["frequency"],
        horizon=champion.model.horizon,
        exog=list(contract.get("exog", [])),
        holidays=contract.get("holidays"),
        sums=[{"total": total, "parts": parts} for total, parts in contract.get("sums", [])],
        series=[_series(name, contract["series"][name]) for name in shown],
        next_cursor=str(start + limit) if start + limit < len(chosen) else None,
    )


def _series(name: str, info: dict[str, Any]) -> SeriesAnswer:
    return SeriesAnswer(
        unique_id=name,
        model=info["model"],
        weights=info["weights"],
        seasons=info["seasons"],
        length=info["length"],
        last_value=info.get("last_value"),
        notes=info["notes"],
    )


@router.get("/series/{unique_id:path}/decomposition", summary="Trend, seasons and lasting breaks of a series")
def decomposition(
    unique_id: Name,
    services: ServicesDep,
    caller: Application,  # noqa: ARG001 - only for the role
    model: Model = FAMILY,
    components: Annotated[bool, Query(description="Also every step's trend, seasons and remainder")] = False,
) -> DecompositionAnswer:
    """Found when the version was made, from the data that it learned from."""
    champion = services.champions.get(model, FAMILY)
    _check_known(champion, unique_id)
    explained = champion.model.explained
    if explained is None:
        raise UnknownEntity(
            f"{champion.name} version {champion.version} keeps no decomposition of {len(champion.series):,} series.",
            remedy="Take a file of them apart with `merit decompose`.",
            field="unique_id",
            value=unique_id,
        )
    return DecompositionAnswer(
        model=champion.name,
        version=champion.version,
        dataset_digest=champion.digest,
        findings=explained.findings[unique_id],
        components=explained.rows(unique_id) if components else None,
    )


@router.post("/capacity", summary="When does a series cross a threshold?")
def capacity(
    body: Annotated[CapacityRequest, Body(openapi_examples=EXAMPLES)],
    services: ServicesDep,
    caller: Application,  # noqa: ARG001 - only for the role
) -> CapacityAnswer:
    """The probability of reaching the threshold, by step, and the dates by which it is reached with 50, 80 and 95 %.

    From 5,000 paths whose steps are distributed as the intervals say and hang together as past errors did.
    """
    champion = services.champions.get(body.model, FAMILY)
    _check_known(champion, body.series)
    found = champion.model.crossing(body.series, body.threshold, body.direction, body.horizon)
    stamps = champion.model.stamps_as_text(body.series)[: len(found.crossed)]
    from models.forecasting.crossing import row_of

    last = float(champion.model.contract["series"][body.series]["last_value"])
    row = row_of(body.series, found, stamps, last, body.threshold, body.direction)
    return CapacityAnswer(
        series=row.pop("unique_id"),
        **row,
        steps=[
            CapacityStep(ds=ds, beyond=float(beyond), crossed=float(crossed))
            for ds, beyond, crossed in zip(stamps, found.beyond, found.crossed, strict=True)
        ],
        model=champion.name,
        version=champion.version,
        run_id=champion.run_id,
        dataset_digest=champion.digest,
    )


def _check_known(champion: Champion, name: str) -> None:
    if name not in champion.series:
        raise UnknownEntity(
            f"{champion.name} version {champion.version} knows no series {name[:80]!r}.",
            remedy=f"It knows {len(champion.series):,} series, for example {', '.join(list(champion.series)[:5])}.",
            field="series",
            value=name[:80],
        )
