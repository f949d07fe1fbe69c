"""What an operator does to a running gateway: take out, let in again, probe, reset, read the configuration."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel
from starlette.responses import Response

from serving import llm_state, problems
from serving.access import Caller
from serving.audited import note
from serving.dependencies import Admin, GatewayDep, GatewayServices
from serving.llm_gateway import Reloaded
from serving.llm_state import ModelHealth, ProviderAnswer

if TYPE_CHECKING:
    from gateway.gateway import Parts

router = APIRouter(prefix="/v1/llm", tags=["Operation"])

ProviderName = Annotated[str, Path(description="Name of a provider", examples=["simulated"], max_length=64)]
ModelId = Annotated[str, Path(description="Id of a model", examples=["simulated/small"], min_length=1, max_length=256)]


class ProbeAnswer(BaseModel):
    """A probe: the provider was asked for its list of models."""

    provider: str
    at: str
    ok: bool
    took_ms: float
    kind: str | None
    message: str | None
    failures: int


@router.post("/providers/{name}/drain", summary="Take a provider out")
async def drain_provider(name: ProviderName, request: Request, services: GatewayDep, caller: Admin) -> ProviderAnswer:
    """It gets no new calls; those under way end as they would. Lasts until it is let in again, or, without Redis, until
    the gateway starts anew."""
    return await _provider(services, request, caller, name, "drain")


@router.post("/providers/{name}/undrain", summary="Let a provider in again")
async def undrain_provider(name: ProviderName, request: Request, services: GatewayDep, caller: Admin) -> ProviderAnswer:
    """It gets calls again, as far as its circuit breakers allow."""
    return await _provider(services, request, caller, name, "undrain")


@router.post("/providers/{name}/reset", summary="Close a provider's circuits")
async def reset_provider(name: ProviderName, request: Request, services: GatewayDep, caller: Admin) -> ProviderAnswer:
    """Closes its circuit breaker and those of all its models, and forgets what they counted."""
    return await _provider(services, request, caller, name, "reset")


@router.post("/providers/{name}/probe", summary="Probe a provider now")
async def probe(name: ProviderName, request: Request, services: GatewayDep, caller: Admin) -> ProbeAnswer:
    """Asks for its list of models, which costs nothing. An answer closes the provider's own circuit, and lets the next
    call to a model whose circuit is open be its probe."""
    found = (await services.gateway.parts.prober.probe_now(name)).explain()
    await asyncio.to_thread(note, services, request, caller, "provider.probe", name, after=found)
    return ProbeAnswer(**found)


@router.post("/models/{model:path}/drain", summary="Take a model out")
async def drain_model(model: ModelId, request: Request, services: GatewayDep, caller: Admin) -> ModelHealth:
    """It gets no new calls; those under way end as they would."""
    return await _model(services, request, caller, model, "drain")


@router.post("/models/{model:path}/undrain", summary="Let a model in again")
async def undrain_model(model: ModelId, request: Request, services: GatewayDep, caller: Admin) -> ModelHealth:
    """It gets calls again, as far as its circuit breaker allows."""
    return await _model(services, request, caller, model, "undrain")


@router.post("/models/{model:path}/reset", summary="Close a model's circuit")
async def reset_model(model: ModelId, request: Request, services: GatewayDep, caller: Admin) -> ModelHealth:
    """Closes its circuit breaker and forgets what it counted."""
    return await _model(services, request, caller, model, "reset")


class ReloadAnswer(BaseModel):
    """The configuration that counts now."""

    changed: bool
    source: str
    digest: str
    providers: list[str]
    models: list[str]
    notes: list[str]


@router.post(
    "/reload",
    summary="Read the configuration now",
    response_model=ReloadAnswer,
    responses={409: {"description": "The file is wrong and the configuration stays as it was; `errors` lists all"}},
)
async def reload(request: Request, services: GatewayDep, caller: Admin) -> ReloadAnswer | Response:
    """Takes over a changed `providers.toml`, without dropping a stream; opens the gateway where a wrong one had kept it
    closed. Happens by itself every few seconds, too."""
    found = await services.llm.reload()
    if found.problems:
        return _refused(found, request.scope.get("request_id"))
    configuration = services.gateway.parts.configuration
    answer = ReloadAnswer(
        changed=found.changed,
        source=configuration.source,
        digest=configuration.digest,
        providers=sorted(configuration.providers),
        models=sorted(configuration.models),
        notes=list(configuration.notes),
    )
    if found.changed:
        told = {"digest": answer.digest, "providers": answer.providers}
        await asyncio.to_thread(note, services, request, caller, "gateway.reload", answer.source, after=told)
    return answer


def _refused(found: Reloaded, request_id: str | None) -> Response:
    errors = [
        {"field": f"{one.section}.{one.key}".strip(".") or "file", "message": one.message, "remedy": one.remedy}
        for one in found.problems
    ]
    count = "an error" if len(errors) == 1 else f"{len(errors)} errors"
    first = errors[0]
    return problems.problem(
        409,
        f"The configuration has {count} and stays as it was. {first['field']}: {first['message']}",
        kind="settings-error",
        title="Settings error",
        remedy=first["remedy"],
        errors=errors,
        request_id=request_id,
    )


async def _provider(
    services: GatewayServices, request: Request, caller: Caller, name: str, action: str
) -> ProviderAnswer:
    parts = services.gateway.parts
    before = llm_state.provider(parts, name)
    _act(parts, name, action)
    after = llm_state.provider(parts, name)
    await asyncio.to_thread(
        note, services, request, caller, f"provider.{action}", name, before=before.breaker, after=after.breaker
    )
    return after


async def _model(services: GatewayServices, request: Request, caller: Caller, model: str, action: str) -> ModelHealth:
    parts = services.gateway.parts
    if model not in parts.configuration.models:
        raise llm_state.unknown("model", model, parts.configuration.models)
    before = llm_state.model_health(parts, model)
    _act(parts, model, action)
    after = llm_state.model_health(parts, model)
    await asyncio.to_thread(
        note, services, request, caller, f"model.{action}", model, before=before.breaker, after=after.breaker
    )
    return after


def _act(parts: Parts, key: str, action: str) -> None:
    act: Any = {"drain": parts.breakers.drain, "undrain": parts.breakers.undrain, "reset": parts.breakers.reset}
    act[action](key)
