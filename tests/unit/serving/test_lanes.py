"""The short way to an endpoint gives what the long one does: request ids, limits, problems, whatever is set up."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.testclient import TestClient
from opentelemetry.sdk.trace import TracerProvider
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from serving.assembly import assemble
from serving.direct import DirectRoute
from serving.lanes import App
from store.errors import BudgetExceeded
from store.settings import Settings

router = APIRouter(route_class=DirectRoute)


@router.post("/echo", response_model=None)
async def echo(request: Request) -> Response:
    match (await request.body()).decode():
        case "budget":
            raise BudgetExceeded("The budget is used up.", remedy="Ask for less.", details={})
        case "http":
            raise HTTPException(418, "no coffee")
        case "broken":
            raise ZeroDivisionError("nobody foresaw this")
    inner = [name for name in ("path_params", "router") if name in request.scope]
    return JSONResponse({"app": type(request.app).__name__, "routed": inner})


@router.post("/items/{number}", response_model=None)
async def item(request: Request) -> Response:
    return JSONResponse(request.path_params)


@asynccontextmanager
async def nothing(_app: FastAPI) -> AsyncIterator[None]:
    yield


@pytest.fixture
def app(tmp_path: Path) -> App:
    made = assemble(Settings(home=tmp_path, max_body_bytes=1024), [router], nothing, "a test")
    assert isinstance(made, App)
    return made


def told(app: App, body: str) -> tuple[int, Any, dict[str, str]]:
    """Status, JSON without what differs from call to call, and the headers that matter."""
    answer = TestClient(app, raise_server_exceptions=False).post("/echo", content=body, headers={"x-request-id": "r-1"})
    wanted = ("content-type", "x-request-id")
    return answer.status_code, answer.json(), {name: answer.headers[name] for name in wanted}


@pytest.mark.parametrize(
    "body, status", [("budget", 402), ("http", 418), ("broken", 500), ("x" * 1025, 413)], ids=lambda one: str(one)[:8]
)
def test_an_error_is_told_the_same_by_both_ways(app: App, body: str, status: int) -> None:
    short = told(app, body)
    app._lanes.clear()
    assert short == told(app, body)
    assert short[0] == status
    assert short[1]["status"] == status


def test_a_direct_route_is_reached_past_the_routes(app: App) -> None:
    assert told(app, "hello")[1] == {"app": "App", "routed": []}
    app._lanes.clear()
    assert told(app, "hello")[1] == {"app": "App", "routed": ["path_params", "router"]}


def test_what_has_to_be_read_from_the_path_takes_the_long_way(app: App) -> None:
    assert TestClient(app).post("/items/7").json() == {"number": "7"}
    assert TestClient(app).get("/echo").status_code == 405


def test_with_opentelemetry_every_request_takes_the_long_way(app: App) -> None:
    app._native_telemetry.config["tracer_provider"] = TracerProvider()
    assert told(app, "hello")[1]["routed"] == ["path_params", "router"]
