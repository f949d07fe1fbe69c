"""What the gateway is made of and how it is, as answers: providers, models, ensembles. Never a key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import BaseModel, Field

from gateway.call.providers.wire import Provider
from gateway.choose.ensemble import Ensemble
from store.errors import UnknownEntity

if TYPE_CHECKING:
    from gateway.gateway import Parts


class ProviderAnswer(BaseModel):
    """A provider as it is configured, and how it is."""

    name: str
    wire: str = Field(description="The format it speaks: openai, anthropic or gemini")
    address: str = Field(description="Scheme, host and port")
    has_key: bool
    local: bool
    region: str | None
    concurrency: int = Field(description="Most calls at once")
    timeout_s: float
    models: list[str]
    drained: bool
    health: dict[str, Any] = Field(description="The last five minutes, all its models together")
    breaker: dict[str, Any]
    probe: dict[str, Any] | None = Field(description="The last probe beside the traffic")


class ProviderList(BaseModel):
    providers: list[ProviderAnswer]
    source: str = Field(description="The configuration that counts")
    digest: str = Field(description="SHA-256 of it")
    notes: list[str] = Field(description="What was left out of it, and why")
    error: str | None = Field(description="Why the file as it is now was not taken; null: it was")


class ModelHealth(BaseModel):
    """The last five minutes of a model; see the fields of `breaker` for when it is tried again."""

    model: str
    key: str
    samples: int
    success_rate: float | None
    errors: dict[str, int]
    cancelled: int
    in_flight: int
    latency_ms: dict[str, float] | None
    first_token_ms: dict[str, float] | None
    tokens_per_second: float | None
    last_success_at: str | None
    last_failure_at: str | None
    unavailable: str | None = Field(description="Why it gets no traffic now; null: it does")
    breaker: dict[str, Any]


class HealthAnswer(BaseModel):
    models: list[ModelHealth]


class EnsembleAnswer(BaseModel):
    """Models that answer together, asked for as `ensemble/NAME`."""

    name: str
    description: str
    rule: str
    members: list[str] = Field(description="Empty: the best for the prompt are taken")
    weights: dict[str, float]
    size: int
    threshold: float
    least: int = Field(description="How many members must answer")
    judge: str | None


class EnsembleList(BaseModel):
    ensembles: list[EnsembleAnswer]


def providers(parts: Parts) -> list[ProviderAnswer]:
    """Every provider that may be called."""
    return [_provider(parts, one) for one in parts.configuration.providers.values()]


def provider(parts: Parts, name: str) -> ProviderAnswer:
    """One of them.

    Raises
    ------
    UnknownEntity : there is none of that name.
    """
    found = parts.configuration.providers.get(name)
    if found is None:
        raise unknown("provider", name, parts.configuration.providers)
    return _provider(parts, found)


def health(parts: Parts) -> list[ModelHealth]:
    """Every model that may be called, and how it is."""
    return [model_health(parts, name) for name in parts.configuration.models]


def model_health(parts: Parts, model_id: str) -> ModelHealth:
    """How one model is."""
    told = parts.health.snapshot(model_id).explain()
    return ModelHealth(model=model_id, breaker=parts.breakers.state(model_id).explain(), **told)


def ensembles(parts: Parts) -> list[EnsembleAnswer]:
    """Those that every gateway has, and those that are configured."""
    names = parts.chooser.names
    said = {one["id"].removeprefix("ensemble/"): one["description"] for one in names.listed()}
    return [_ensemble(name, said.get(name, ""), one) for name, one in names.ensembles.items()]


def unknown(what: str, name: str, known: Mapping[str, Any]) -> UnknownEntity:
    """The error for a provider or a model that is not configured."""
    listed = ", ".join(sorted(known)[:40]) or "those in providers.toml"
    return UnknownEntity(
        f"There is no {what} {name[:64]!r}.", remedy=f"Use one of {listed}.", field=what, value=name[:64]
    )


def _provider(parts: Parts, found: Provider) -> ProviderAnswer:
    state = parts.breakers.state(found.name)
    probe = parts.health.probe(found.name)
    return ProviderAnswer(
        name=found.name,
        wire=found.wire,
        address=_address(found.base_url),
        has_key=found.key is not None,
        local=found.local,
        region=found.region,
        concurrency=found.concurrency,
        timeout_s=found.timeout_s,
        models=[one.id for one in parts.configuration.models.values() if one.provider == found.name],
        drained=state.drained,
        health=parts.health.snapshot(found.name).explain(),
        breaker=state.explain(),
        probe=None if probe is None else probe.explain(),
    )


def _address(url: str) -> str:
    """Without user, password, path and query: any of them may hold a secret."""
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    host = parts.hostname or ""
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}"


def _ensemble(name: str, description: str, found: Ensemble) -> EnsembleAnswer:
    return EnsembleAnswer(
        name=name,
        description=description,
        rule=found.rule,
        members=list(found.members),
        weights=dict(found.weights),
        size=len(found.members) or found.size,
        threshold=found.threshold,
        least=found.least,
        judge=found.judge,
    )
