"""The application: `uvicorn serving.app:create_app --factory`."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import anyio.to_thread
from fastapi import FastAPI
from sqlalchemy.exc import SQLAlchemyError

from models.anomaly import VIEW
from serving import documentation
from serving.access import Access
from serving.assembly import assemble, settle_memory, share_log
from serving.champions import Champions
from serving.dependencies import Services
from serving.flow_runs import PrefectApi
from serving.known_features import KnownFeatures
from serving.llm_gateway import LlmGateway
from serving.prediction_log import PredictionLog
from serving.routes import (
    anomalies,
    audit,
    batches,
    benchmarks,
    budgets,
    chat,
    churn,
    churn_insight,
    conversations,
    costs,
    costs_analytics,
    costs_anomalies,
    costs_recommendations,
    events,
    files,
    finetunes,
    flows,
    forecasts,
    health,
    insights,
    keys,
    llm,
    llm_feedback,
    llm_operation,
    llm_policy,
    messages,
    metrics,
    monitoring,
    people,
    planning,
    pricing,
    pricing_market,
    prompt_optimisation,
    registry,
    retention,
    segment_assignment,
    segments,
    usage,
    workspaces,
)
from serving.shadow import Shadows
from store import predictions
from store.database import migrate
from store.errors import MeritError
from store.feature_rows import entities
from store.keys import any_keys
from store.predictions import Prediction
from store.registry import Registry
from store.settings import Settings, load_settings

log = logging.getLogger("merit.serving")

# Most frequent first: routes are tried in this order.
ROUTERS = (
    chat.direct,
    messages.router,
    churn.router,
    planning.router,  # before what a forecast's id could stand for
    forecasts.router,
    churn_insight.router,
    retention.router,
    segment_assignment.router,
    segments.router,
    anomalies.router,
    pricing.router,
    pricing_market.router,
    health.router,
    registry.router,
    monitoring.router,
    flows.router,
    keys.router,
    llm.direct,
    llm.router,
    llm_feedback.router,
    conversations.router,
    llm_operation.router,
    llm_policy.router,
    usage.router,
    budgets.router,
    costs.router,
    costs_anomalies.router,
    costs_analytics.router,
    costs_recommendations.router,
    prompt_optimisation.router,
    insights.router,
    people.router,
    workspaces.router,
    files.direct,
    files.router,
    batches.router,
    benchmarks.router,
    finetunes.router,
    events.direct,
    events.router,
    audit.router,
    metrics.router,
    chat.router,
)


def create_app(settings: Settings | None = None) -> FastAPI:
    """The API over whatever is champion now.

    Nothing is opened before the server starts the application. Then the schema is brought up to date, the watcher of
    champions begins, and `/readyz` answers 200 as soon as they are loaded.

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
            await services.prefect.close()
            await anyio.to_thread.run_sync(_close, services)

    app = assemble(chosen, ROUTERS, lifespan, "Predictions and forecasts of whatever is champion now, and a gateway")
    documentation.install(app, lambda: _known(app, chosen))
    return app


def _known(app: FastAPI, settings: Settings) -> documentation.Known:
    """Names for the documentation's examples; none once there are keys, since it is there for everybody."""
    try:
        if any_keys(settings):
            return documentation.Known()
        customers = entities(settings, "churn", limit=2)
        watched = entities(settings, VIEW, limit=1)
    except (MeritError, SQLAlchemyError):
        return documentation.Known()
    services: Services | None = getattr(app.state, "services", None)
    return documentation.Known(customers, pricing_market.example(services) if services else None, watched)


def open_services(settings: Settings) -> Services:
    """Everything that routes use, started."""
    migrate(settings)
    access = Access(settings)
    access.start()
    registry = Registry(settings)
    shadows = Shadows(settings, registry)

    def keep(rows: Sequence[Prediction]) -> None:
        predictions.write(settings, rows)
        shadows.offer(rows)

    services = Services(
        settings=settings,
        registry=registry,
        access=access,
        champions=Champions(settings, registry, shadows),
        features=KnownFeatures(settings),
        predictions=PredictionLog(keep),
        prefect=PrefectApi(settings.prefect_api_url),
        shadows=shadows,
        llm=LlmGateway(settings, tunes=True),
    )
    services.shadows.start()
    services.predictions.start()
    services.champions.start()
    return services


def _close(services: Services) -> None:
    services.champions.close()
    services.predictions.close()
    services.shadows.close()
    log.info("Stopped: %s", services.predictions.state())
