"""Forecasts of the promoted forecaster: make them, look them up, take their numbers along."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import orjson
import pandas as pd
from fastapi import APIRouter, Body, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from serving.access import Caller
from serving.champions import Champion
from serving.dependencies import Application, Services, ServicesDep
from serving.limits import LARGEST_NUMBER, check_batch
from serving.moments import GivenMoment, Moment
from store import forecasts as stored
from store.errors import InvalidValue, UnknownEntity
from store.forecasts import Forecast

router = APIRouter(prefix="/v1/forecasts", tags=["Forecasts"])

FAMILY = "forecasting"
MOST_NAMED = 20
Id = Annotated[str, Path(description="Id of a forecast", pattern="^[0-9a-f]{32}$")]
Level = Annotated[float, Field(gt=0, lt=100)]


class ForecastRequest(BaseModel):
    """What to forecast: at most one of `series` and `prefix`; all series without either."""

    model_config = ConfigDict(extra="forbid")

    series: list[Annotated[str, Field(min_length=1, max_length=256)]] | None = Field(
        None, description="Ids of series; one that is not known refuses them all"
    )
    prefix: Annotated[str, Field(min_length=1, max_length=256)] | None = Field(
        None, description="All series whose id begins like this"
    )
    horizon: Annotated[int, Field(ge=1, strict=True)] | None = Field(
        None, description="Steps ahead; default and most: the horizon that the model was trained for"
    )
    levels: list[Level] = Field(default=[80, 95], description="Levels of the intervals, in percent", max_length=20)
    model: str = Field(FAMILY, description="Name of a registered forecasting model", max_length=128)
    future: Any = Field(None, description="Not taken: see the problem that it is answered with", exclude=True)


class ForecastAnswer(BaseModel):
    """A forecast and where it comes from; its numbers are under `data`."""

    id: str
    model: str
    version: int
    run_id: str | None
    dataset_digest: str | None
    git_commit: str | None
    series: int = Field(description="Number of series")
    rows: int | None
    horizon: int
    levels: list[float]
    request: dict[str, Any]
    created_at: Moment
    request_id: str | None
    regenerated_from: str | None = Field(description="Id of the forecast that asked for the same before")
    data: dict[str, str] = Field(description="Where the numbers are, by format")


class ForecastPage(BaseModel):
    """Forecasts, newest first."""

    forecasts: list[ForecastAnswer]
    next_cursor: str | None = Field(description="Send it as `cursor` for the page after this one; null on the last")


class ForecastRows(BaseModel):
    """The numbers of a forecast: one entry per series and step, with `lo-L` and `hi-L` for every level L."""

    id: str
    model: str
    version: int
    columns: list[str]
    rows: list[dict[str, Any]]


EXAMPLES: dict[str, Any] = {
    "two weeks of revenue": {"value": {"prefix": "revenue/", "horizon": 14, "levels": [80, 95]}},
    "everything": {"value": {}},
}

MEDIA_TYPES = {
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
}


@router.post("", status_code=201, summary="Forecast")
def create(
    request: Request,
    response: Response,
    body: Annotated[ForecastRequest, Body(openapi_examples=EXAMPLES)],
    services: ServicesDep,
    caller: Application,
) -> ForecastAnswer:
    """Computed from the promoted model at its origin and kept under the id in `Location`."""
    return _answer(_made(body, services, caller, request, response))


def _made(
    body: ForecastRequest,
    services: Services,
    caller: Caller,
    request: Request,
    response: Response,
    regenerated_from: str | None = None,
) -> Forecast:
    if body.series is not None and body.prefix is not None:
        raise InvalidValue(
            "The body holds series and prefix.", remedy="Send at most one of them.", field="prefix", value=body.prefix
        )
    champion = services.champions.get(body.model, FAMILY)
    if body.future is not None:
        _refuse_future(champion)
    known = champion.series
    chosen = _chosen(body, champion)
    check_batch(len(chosen), services.settings.max_batch, "series", "series")
    horizon = _horizon(body, champion)
    levels = tuple(sorted(set(body.levels)))
    frame = champion.model.forecast(
        ids=None if len(chosen) == len(known) else list(chosen), horizon=horizon, levels=levels
    )
    link = {} if regenerated_from is None else {"regenerated_from": regenerated_from}
    made = Forecast(
        model=champion.name,
        version=champion.version,
        request={
            "series": None if body.series is None else list(chosen),
            "prefix": body.prefix,
            "horizon": horizon,
            "levels": list(levels),
            "count": len(chosen),
            **link,
        },
        digest=champion.digest,
        run_id=champion.run_id,
        git_commit=champion.git_commit,
        rows=len(frame),
        request_id=request.scope.get("request_id"),
        caller=caller.name,
    )
    stored.create(services.settings, made, frame.to_parquet(index=False))
    response.headers["Location"] = f"/v1/forecasts/{made.id}"
    return made


def _refuse_future(champion: Champion) -> None:
    """A promoted model has computed its forecasts: what is known in advance went into them when it was trained."""
    columns = champion.model.contract.get("exog", [])
    used = f"was trained with {', '.join(columns)} over the horizon" if columns else "uses no column known in advance"
    raise InvalidValue(
        f"{champion.name} version {champion.version} {used}; a request cannot bring other values.",
        remedy="Train again with today's values: `merit train forecasting --data FILE --exog COLUMNS --future FILE`."
        if columns
        else "Leave `future` out, or train with `--exog`.",
        field="future",
    )


def _chosen(body: ForecastRequest, champion: Champion) -> Sequence[str]:
    known = champion.series
    if body.series is not None:
        if not body.series:
            raise InvalidValue(
                "series is empty.", remedy="Send at least one, or none for all.", field="series", value=[]
            )
        if unknown := [name for name in body.series if name not in known]:
            listed = ", ".join(repr(name[:80]) for name in unknown[:MOST_NAMED])
            more = f" and {len(unknown) - MOST_NAMED:,} more" if len(unknown) > MOST_NAMED else ""
            raise UnknownEntity(
                f"{champion.name} version {champion.version} knows no series {listed}{more}; nothing was forecast.",
                remedy=f"It knows {len(known):,} series, for example {', '.join(list(known)[:5])}.",
                field="series",
                value=unknown[0] if len(unknown) == 1 else unknown[:MOST_NAMED],
            )
        return list(dict.fromkeys(body.series))
    if body.prefix is not None:
        chosen = [name for name in known if name.startswith(body.prefix)]
        if not chosen:
            raise UnknownEntity(
                f"{champion.name} version {champion.version} knows no series that begins with {body.prefix!r}.",
                remedy=f"It knows {len(known):,} series, for example {', '.join(list(known)[:5])}.",
                field="prefix",
                value=body.prefix,
            )
        return chosen
    return list(known)


def _horizon(body: ForecastRequest, champion: Champion) -> int:
    longest = int(champion.model.horizon)
    if body.horizon is not None and body.horizon > longest:
        raise InvalidValue(
            f"horizon = {body.horizon} is longer than the {longest} steps that "
            f"{champion.name} version {champion.version} was trained for.",
            remedy=f"Ask for at most {longest}, or train with `merit train forecasting --horizon {body.horizon}`.",
            field="horizon",
            value=body.horizon,
        )
    return body.horizon or longest


@router.get("", summary="List forecasts")
def page(
    services: ServicesDep,
    caller: Application,
    model: Annotated[str | None, Query(description="Only of this model", max_length=128)] = None,
    version: Annotated[int | None, Query(ge=1, le=LARGEST_NUMBER, description="Only of this version")] = None,
    series: Annotated[str | None, Query(description="Only those that hold this series", max_length=256)] = None,
    since: Annotated[GivenMoment | None, Query(description="Made at or after this moment (UTC unless it says)")] = None,
    until: Annotated[GivenMoment | None, Query(description="Made before this moment")] = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
    cursor: Annotated[
        str | None, Query(description="`next_cursor` of the page before", pattern="^[0-9a-f]{1,32}$")
    ] = None,
) -> ForecastPage:
    """Newest first, without their numbers. A key of the role application sees the forecasts made with it."""
    found = stored.page(
        services.settings,
        model=model,
        version=version,
        series=series,
        since=since,
        until=until,
        caller=caller.sees_only,
        limit=limit,
        cursor=cursor,
    )
    return ForecastPage(forecasts=[_answer(one) for one in found.items], next_cursor=found.next_cursor)


@router.get("/{forecast_id}", summary="One forecast with its lineage")
def read(forecast_id: Id, services: ServicesDep, caller: Application) -> ForecastAnswer:
    """The version, run, data digest and commit it came from, and where its numbers are."""
    return _answer(_find(services, forecast_id, caller))


@router.post("/{forecast_id}/regenerate", status_code=201, summary="The same forecast by today's model")
def regenerate(
    forecast_id: Id, request: Request, response: Response, services: ServicesDep, caller: Application
) -> ForecastAnswer:
    """Asks the model that is champion now for the same series, steps and levels; `regenerated_from` names the old one,
    which stays as it is."""
    old = _find(services, forecast_id, caller)
    body = ForecastRequest(
        series=old.request["series"],
        prefix=old.request["prefix"],
        horizon=old.request["horizon"],
        levels=old.request["levels"],
        model=old.model,
    )
    return _answer(_made(body, services, caller, request, response, regenerated_from=old.id))


@router.get(
    "/{forecast_id}/data",
    summary="The numbers of a forecast",
    response_model=ForecastRows,
    responses={
        200: {
            "description": "The numbers, in the format asked for",
            "content": {
                "text/csv": {"schema": {"type": "string"}},
                "application/vnd.apache.parquet": {"schema": {"type": "string", "format": "binary"}},
            },
        }
    },
)
def data(
    forecast_id: Id,
    services: ServicesDep,
    caller: Application,
    format: Annotated[Literal["json", "csv", "parquet"], Query(description="json, csv or parquet")] = "json",
) -> Response:
    """`unique_id, ds, model, forecast` and `lo-L, hi-L` for every level L, as JSON, CSV or Parquet."""
    found = _find(services, forecast_id, caller)
    content = stored.result(services.settings, forecast_id) or b""
    if format != "parquet":
        frame = pd.read_parquet(io.BytesIO(content))
        content = _json(found, frame) if format == "json" else frame.to_csv(index=False).encode()
    name = f"{found.model}-{found.created_at:%Y%m%dT%H%M%S}-{found.id[-6:]}.{format}"
    disposition = "inline" if format == "json" else "attachment"
    return Response(
        content,
        media_type=MEDIA_TYPES[format],
        headers={"Content-Disposition": f'{disposition}; filename="{name}"', "ETag": f'"{found.id}-{format}"'},
    )


def _json(found: Forecast, frame: pd.DataFrame) -> bytes:
    if pd.api.types.is_datetime64_any_dtype(frame["ds"]):
        # A moment at midnight is a day: its time of day would only be noise.
        days = bool((frame["ds"] == frame["ds"].dt.normalize()).all())
        frame = frame.assign(ds=frame["ds"].dt.strftime("%Y-%m-%d" if days else "%Y-%m-%dT%H:%M:%S"))
    rows = frame.to_dict("records")
    content = {
        "id": found.id,
        "model": found.model,
        "version": found.version,
        "columns": [str(name) for name in frame.columns],
        "rows": rows,
    }
    return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)


def _find(services: Services, forecast_id: str, caller: Caller) -> Forecast:
    found = stored.get(services.settings, forecast_id)
    own = caller.sees_only
    if own is not None and found.caller != own:
        # What others asked for is not even said to exist.
        raise UnknownEntity(
            f"There is no forecast {forecast_id!r}.",
            remedy="Use the id that the forecast was created with, and the key it was made with.",
            field="id",
            value=forecast_id,
        )
    return found


def _answer(one: Forecast) -> ForecastAnswer:
    place = f"/v1/forecasts/{one.id}/data"
    return ForecastAnswer(
        id=one.id,
        model=one.model,
        version=one.version,
        run_id=one.run_id,
        dataset_digest=one.digest,
        git_commit=one.git_commit,
        series=one.request["count"],
        rows=one.rows,
        horizon=one.request["horizon"],
        levels=one.request["levels"],
        request={key: value for key, value in one.request.items() if key in ("series", "prefix")},
        created_at=one.created_at,
        request_id=one.request_id,
        regenerated_from=one.request.get("regenerated_from"),
        data={format_: f"{place}?format={format_}" for format_ in MEDIA_TYPES},
    )
