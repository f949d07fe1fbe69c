"""`merit gateway drain|undrain|reset|probe|reload`: what an operator does to a running gateway."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import quote

import typer

from cli.api_client import Api, Url
from cli.output import AsJson, dump, errors, screen

Target = Annotated[
    str, typer.Argument(metavar="PROVIDER|MODEL", help="A provider, or a model as provider/name.", show_default=False)
]
ProviderName = Annotated[str, typer.Argument(metavar="PROVIDER", show_default=False)]


def drain(target: Target, url: Url = None, as_json: AsJson = False) -> None:
    """Take a provider or a model out: no new calls, those under way end as they would."""
    told = _act(url, target, "drain")
    _say(f"{target} gets no new calls. `merit gateway undrain {target}` lets it in again.", told, as_json)


def undrain(target: Target, url: Url = None, as_json: AsJson = False) -> None:
    """Let a drained provider or model in again."""
    told = _act(url, target, "undrain")
    _say(f"{target} gets calls again{_unless(told)}.", told, as_json)


def reset(target: Target, url: Url = None, as_json: AsJson = False) -> None:
    """Close the circuit breaker of a model, or of a provider with all its models."""
    told = _act(url, target, "reset")
    _say(f"The circuit of {target} is closed{_unless(told)}.", told, as_json)


def probe(provider: ProviderName, url: Url = None, as_json: AsJson = False) -> None:
    """Ask a provider for its list of models now, which costs nothing. Exits 5 when it does not answer."""
    told = Api(url).post(f"/v1/llm/providers/{quote(provider)}/probe", {})
    if told["ok"]:
        _say(f"{provider} answers, in {told['took_ms']:,.0f} ms.", told, as_json)
        return
    if as_json:
        dump(told)
    else:
        said = f"{provider} does not answer ({told['kind']}): {told['message']}"
        errors.print(said, style="bold red", highlight=False, markup=False, soft_wrap=True)
    raise typer.Exit(5)


def reload(url: Url = None, as_json: AsJson = False) -> None:
    """Read providers.toml now; it happens by itself every few seconds, too. Exits 2 when it is wrong."""
    told = Api(url).post("/v1/llm/reload", {})
    changed = "was read anew" if told["changed"] else "is as it was"
    counts = f"{len(told['models'])} models of {len(told['providers'])} providers"
    _say(f"{told['source']} {changed}: {counts}.", told, as_json)
    if not as_json:
        for note in told["notes"]:
            errors.print(note, style="yellow", highlight=False, markup=False, soft_wrap=True)


def _act(url: str | None, target: str, action: str) -> Any:
    kind = "models" if "/" in target else "providers"
    return Api(url).post(f"/v1/llm/{kind}/{quote(target)}/{action}", {})


def _unless(told: Mapping[str, Any]) -> str:
    """Why it gets no calls all the same."""
    why = told.get("unavailable") or (told.get("health") or {}).get("unavailable")
    return f", but: {why}" if why else ""


def _say(text: str, told: Any, as_json: bool) -> None:
    if as_json:
        dump(told)
    else:
        screen.print(text, highlight=False, markup=False, soft_wrap=True)
