"""What routes ask for: the services of this process, and a caller of sufficient role."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Request

from serving.access import Access, Caller
from serving.llm_gateway import LlmGateway
from store.settings import Settings

# A process that is a gateway alone needs none of these: they bring pandas and MLflow along.
if TYPE_CHECKING:
    from gateway.gateway import Gateway
    from serving.champions import Champions
    from serving.flow_runs import PrefectApi
    from serving.known_features import KnownFeatures
    from serving.prediction_log import PredictionLog
    from serving.shadow import Shadows
    from store.predictions import Prediction
    from store.registry import Registry


@dataclass(frozen=True)
class GatewayServices:
    """What the gateway's routes use, made once when the app starts."""

    settings: Settings
    access: Access
    llm: LlmGateway

    @property
    def gateway(self) -> Gateway:
        """The LLM gateway.

        Raises
        ------
        ServiceUnavailable : it does not run in this process; the message says why.
        """
        return self.llm.gateway


@dataclass(frozen=True)
class Services(GatewayServices):
    """Everything that a route may use."""

    registry: Registry
    champions: Champions
    features: KnownFeatures
    predictions: PredictionLog[Prediction]
    prefect: PrefectApi
    shadows: Shadows


# Coroutines, although nothing in them waits: FastAPI runs plain functions in a thread, which costs more than they do.
async def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


async def _gateway_services(request: Request) -> GatewayServices:
    services: GatewayServices = request.app.state.services
    return services


ServicesDep = Annotated[Services, Depends(_services)]
GatewayDep = Annotated[GatewayServices, Depends(_gateway_services)]


def _at_least(role: str, *, platform: bool) -> Callable[[Request], Awaitable[Caller]]:
    async def caller(request: Request) -> Caller:
        services: GatewayServices = request.app.state.services
        return await services.access.caller(request.scope, role, platform=platform)

    return caller


Application = Annotated[Caller, Depends(_at_least("application", platform=False))]
# Of the platform as a whole: a key that is bound to a workspace does not do, whatever its role.
Analyst = Annotated[Caller, Depends(_at_least("analyst", platform=True))]
Admin = Annotated[Caller, Depends(_at_least("admin", platform=True))]
# Of their own workspace at least; the route looks at nothing else for them (`Caller.sees`).
WorkspaceAnalyst = Annotated[Caller, Depends(_at_least("analyst", platform=False))]
WorkspaceAdmin = Annotated[Caller, Depends(_at_least("admin", platform=False))]
