"""An app of routes: documentation, problems, limits and request ids are the same for every kind of process."""

from __future__ import annotations

import gc
import logging
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi_offline import FastAPIOffline
from starlette.responses import RedirectResponse
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from serving import documentation, problems
from serving.lanes import App
from serving.limits import BodyLimit
from serving.requests import RequestIds
from serving.uploads import OVERHEAD_BYTES
from store import redaction
from store.settings import Settings


def assemble(settings: Settings, routers: Sequence[APIRouter], lifespan: Any, summary: str) -> FastAPI:
    """The app; nothing is opened before the server starts it.

    Parameters
    ----------
    routers : most frequent first, since routes are tried in this order.
    """
    redaction.register_settings(settings)
    redaction.install()
    app = App(
        title="Meritorder",
        version=version("meritorder"),
        summary=summary,
        lifespan=lifespan,
        openapi_tags=documentation.TAGS,
        docs_url=None,
        redoc_url=None,
    )
    # Taken over one by one and before those of the documentation: every router or route tried first costs time.
    app.router.routes[:0] = [route for router in routers for route in router.routes]
    # Pages of documentation that bring their scripts along: they work without the internet.
    app.router.routes += [
        route for route in FastAPIOffline(title=app.title).routes if _path_of(route) != app.openapi_url
    ]
    app.add_route("/", lambda _: RedirectResponse("/docs"), include_in_schema=False)
    problems.install(app)
    uploads = {"/v1/files": (settings.max_file_bytes + OVERHEAD_BYTES, "MERIT_MAX_FILE_BYTES")}
    app.add_middleware(BodyLimit, limit=settings.max_body_bytes, larger=uploads)
    app.add_middleware(RequestIds)

    def around(lane: ASGIApp) -> ASGIApp:
        return RequestIds(BodyLimit(lane, settings.max_body_bytes, uploads))

    app.open_lanes(around)
    return app


def share_log() -> None:
    """Show our own lines where uvicorn shows its, unless somebody set logging up."""
    ours, server = logging.getLogger("merit"), logging.getLogger("uvicorn")
    if server.handlers and not ours.handlers and not logging.getLogger().handlers:
        ours.handlers, ours.propagate = list(server.handlers), False
        ours.setLevel(server.level)


@cache
def settle_memory() -> None:
    """Leave what was made at the start out of every later garbage collection; once in a process.

    A request makes a few hundred small objects that live for it alone; with Python's own thresholds they cause a walk
    over everything that was ever imported again and again, a tenth of a gateway's time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def _path_of(route: BaseRoute) -> str | None:
    return getattr(route, "path", None)
