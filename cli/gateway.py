"""`merit gateway`: which providers and models there are, whether their configuration is right, and how they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.api_client import Api, Url
from cli.output import AsJson, dump, errors, screen, show
from gateway.choose.catalogue import CAPABILITIES, Model, Price
from store.errors import InvalidValue
from store.settings import load_settings

app = typer.Typer(help="Check the providers, list the models, see how they are.", no_args_is_help=True)

_EVERY_CHAT = frozenset({"chat", "stream"})


@app.command("check")
def check(
    file: Annotated[
        Path | None,
        typer.Argument(help="providers.toml. (default: MERIT_PROVIDERS_FILE, the one in MERIT_HOME, or ours)"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Explain every error of a configuration; nothing is called. Exits 2 when there is one."""
    from gateway.configuration import check as look
    from gateway.configuration import read, source_of
    from gateway.configuration.problems import raise_for

    settings = load_settings()
    source = file or source_of(settings)
    made, problems = look(read(source), settings, source=source)
    if as_json:
        dump(
            {
                "source": str(source),
                "problems": [asdict(one) for one in problems],
                "notes": made.notes,
                "providers": sorted(made.providers),
                "models": sorted(made.models),
            }
        )
        if problems:
            raise typer.Exit(2)
        return
    raise_for(problems, str(source))
    for note in made.notes:
        errors.print(note, style="yellow", highlight=False, markup=False, soft_wrap=True)
    screen.print(
        f"{source} is right: {len(made.models)} models of {len(made.providers)} providers.",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


@app.command("models")
def models(
    provider: Annotated[str | None, typer.Option(help="Only this provider's.")] = None,
    capability: Annotated[str | None, typer.Option(help="Only those that can do this: tools, vision, …")] = None,
    as_json: AsJson = False,
) -> None:
    """Every model that may be called, with its price in dollars per million tokens and what is believed of it."""
    from gateway.configuration import load_configuration
    from gateway.configuration.problems import did_you_mean

    made = load_configuration(load_settings())
    if provider is not None and provider not in made.providers:
        remedy = did_you_mean(provider, made.providers)
        raise InvalidValue(f"There is no provider {provider!r}.", remedy=remedy, field="provider", value=provider)
    if capability is not None and capability not in CAPABILITIES:
        remedy = did_you_mean(capability, CAPABILITIES)
        raise InvalidValue(f"{capability!r} is no capability.", remedy=remedy, field="capability", value=capability)
    chosen = [
        one
        for one in sorted(made.models.values(), key=lambda one: (one.provider, one.price.output, one.price.input))
        if provider in (None, one.provider) and (capability is None or capability in one.capabilities)
    ]
    if as_json:
        dump([_whole(one) for one in chosen])
        return
    for note in made.notes:
        errors.print(note, style="yellow", highlight=False, markup=False, soft_wrap=True)
    rows = [
        {
            "model": one.id,
            "$/M in": one.price.input / 1_000,
            "$/M out": one.price.output / 1_000,
            "context": f"{one.context:,}",
            "local": one.local,
            "quality": one.expected_quality(""),
            "capabilities": sorted(one.capabilities - _implied(one.capabilities)),
        }
        for one in chosen
    ]
    show(rows, ["model", "$/M in", "$/M out", "context", "local", "quality", "capabilities"], as_json=False)


@app.command("health")
def health(url: Url = None, as_json: AsJson = False) -> None:
    """How the models of a running API are: calls of the last minutes, speed, failures, circuit breakers."""
    answer = Api(url).get("/v1/llm/health")
    if as_json:
        dump(answer)
        return
    columns = ["model", "calls", "answered", "p50 ms", "p95 ms", "first token ms", "tokens/s", "breaker", "failures"]
    show([_health_row(one) for one in answer["models"]], columns, as_json=False)
    for one in answer["models"]:
        if why := one.get("unavailable"):
            screen.print(f"{_name_of(one)}: {why}", style="yellow", highlight=False, markup=False)


def _whole(model: Model) -> dict[str, Any]:
    """Everything that is believed of a model; prices in dollars per million tokens."""
    price = {
        name: value / 1_000
        for name, value in asdict(model.price).items()
        if name not in ("request", "tiers") and value is not None
    }
    price["request"] = model.price.request / 1e9
    tiers = [
        {"above": above, "input": one.input / 1_000, "output": one.output / 1_000} for above, one in model.price.tiers
    ]
    return {
        **asdict(replace(model, price=Price(), quality={})),
        "capabilities": sorted(model.capabilities),
        "price": price | ({"tiers": tiers} if tiers else {}),
        "quality": {domain or "default": value for domain, value in model.quality.items()},
    }


def _implied(capabilities: frozenset[str]) -> frozenset[str]:
    """What a table need not tell: nearly every model can, or another column says so."""
    return _EVERY_CHAT | {"long_context"} | ({"json"} if "json_schema" in capabilities else frozenset())


def _name_of(told: Mapping[str, Any]) -> str:
    return str(told.get("model") or told.get("key"))


def _health_row(told: Mapping[str, Any]) -> dict[str, Any]:
    latency, first = told.get("latency_ms") or {}, told.get("first_token_ms") or {}
    breaker = told.get("breaker")
    rate = told.get("success_rate")
    return {
        "model": _name_of(told),
        "calls": told.get("samples", 0),
        "answered": None if rate is None else f"{rate:.0%}",
        "p50 ms": latency.get("p50"),
        "p95 ms": latency.get("p95"),
        "first token ms": first.get("p50"),
        "tokens/s": told.get("tokens_per_second"),
        "breaker": breaker.get("state") if isinstance(breaker, Mapping) else breaker,
        "failures": told.get("errors") or None,
    }
