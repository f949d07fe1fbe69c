"""A short way to the few endpoints where a microsecond counts: past the routes and the layers of the framework.

Measured on a chat through the gateway: matching routes, resolving what has nothing to be resolved, and seven layers
around the endpoint took as long as choosing the model. What a layer of ours does is done here as well: a request id on
every answer, the limit of the body, every error as a problem. Documentation stays FastAPI's, and so does the way of
every request while OpenTelemetry is set up, since its spans begin there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.direct import DirectRoute

Endpoint = Callable[[Request], Awaitable[Response]]


class App(FastAPI):
    """FastAPI, with lanes."""

    def __init__(self, **options: Any) -> None:
        self._lanes: dict[str, ASGIApp] = {}
        self._traced: bool | None = None
        super().__init__(**options)

    def open_lanes(self, around: Callable[[ASGIApp], ASGIApp]) -> None:
        """A lane for every direct route that takes a POST and has no part of its path to be read.

        Parameters
        ----------
        around : the layers that a request passes there, too.
        """
        for route in self.routes:
            if isinstance(route, DirectRoute) and route.methods == {"POST"} and not route.param_convertors:
                self._lanes[route.path] = around(Lane(self, route.endpoint))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST":
            lane = self._lanes.get(scope["path"])
            if lane is not None and not self._is_traced():
                await lane(scope, receive, send)
                return
        await super().__call__(scope, receive, send)

    def _is_traced(self) -> bool:
        if self._traced is None:
            # Asked once: whoever sets OpenTelemetry up does so before the first request.
            self._traced = self._native_telemetry.enabled()
        return self._traced


class Lane:
    """Calls an endpoint with the request and sends what it answers."""

    def __init__(self, app: FastAPI, endpoint: Endpoint) -> None:
        self._app = app
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["app"] = self._app
        request = Request(scope, receive, send)
        try:
            response = await self._endpoint(request)
        except Exception as error:
            handler = self._handler(error)
            if handler is None:
                raise
            response = await handler(request, error)
        await response(scope, receive, send)

    def _handler(self, error: Exception) -> Callable[[Request, Exception], Awaitable[Response]] | None:
        """Who tells of an error, as the app itself looks for them: the most specific class wins."""
        handlers: Any = self._app.exception_handlers
        return next((handlers[kind] for kind in type(error).__mro__ if kind in handlers), None)
