"""A worker that is a gateway alone: `uvicorn serving.gateway_app:create_app --factory`.

Its routes are those of `serving.app` that concern the gateway. Without the models of the business it takes half the
memory and starts in a moment; several of them share budgets, limits and breakers through `MERIT_REDIS_URL`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio.to_thread
from fastapi import FastAPI

from serving import documentation
from serving.access import Access
from serving.assembly import assemble, settle_memory, share_log
from serving.dependencies import GatewayServices
from serving.llm_gateway import LlmGateway
from serving.routes import (
    audit,
    batches,
    budgets,
    chat,
    conversations,
    events,
    files,
    gateway_health,
    keys,
    llm,
    llm_feedback,
    llm_operation,
    llm_policy,
    messages,
    metrics,
    people,
    prompt_optimisation,
    usage,
    workspaces,
)
from store.database import migrate
from store.settings import Settings, load_settings

# Most frequent first: routes are tried in this order.
ROUTERS = (
    chat.direct,
    messages.router,
    gateway_health.router,
    llm.direct,
    llm.router,
    llm_feedback.router,
    conversations.router,
    llm_operation.router,
    llm_policy.router,
    usage.router,
    budgets.router,
    keys.router,
    people.router,
    workspaces.router,
    prompt_optimisation.router,
    files.direct,
    files.router,
    batches.router,
    events.direct,
    events.router,
    audit.router,
    metrics.router,
    chat.router,
)


def create_app(settings: Settings | None = None) -> FastAPI:
    """The gateway; `/readyz` answers 200 as soon as it can be asked.

    Raises
    ------
    SettingsError : a setting does not fit; on start also when there are no API keys and the host is not loopback.
    """
    chosen = settings or load_settings()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        share_log()
        services = await anyio.to_thread.run_sync(open_services, chosen)
        app.state.services = services
        await services.llm.open()
        settle_memory()
        try:
            yield
        finally:
            await services.llm.close()

    app = assemble(chosen, ROUTERS, lifespan, "Every prompt to a model that is good enough, cheap enough and alive")
    documentation.install(app, documentation.Known)
    return app


def open_services(settings: Settings) -> GatewayServices:
    """What the routes use."""
    migrate(settings)
    access = Access(settings)
    access.start()
    return GatewayServices(settings=settings, access=access, llm=LlmGateway(settings))
