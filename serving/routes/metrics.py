"""What Prometheus scrapes."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request
from starlette.responses import Response

from serving import metrics
from serving.dependencies import GatewayDep

router = APIRouter(tags=["Health"])


@router.get(
    "/metrics",
    summary="Metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}, "description": "Prometheus' text format"}},
)
async def scrape(request: Request, services: GatewayDep) -> Response:
    """Calls, tokens, dollars, latencies, retries and failovers by model; circuit breakers, slots, ledger and cache;
    predictions, champions and the process itself.

    Open to this machine. From elsewhere it needs a key of the role analyst, without a workspace: in Prometheus'
    `scrape_configs`, `authorization: {credentials: merit_…}`.
    """
    if not services.access.is_local(request.scope):
        await services.access.caller(request.scope, "analyst", platform=True)
    # Some twenty milliseconds, which no call should wait for.
    text = await asyncio.to_thread(metrics.render, services)
    return Response(text, headers={"Content-Type": metrics.CONTENT_TYPE})
