"""`merit chat`: a prompt through the gateway of a running API."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from cli.api_client import Api, Url
from cli.llm_options import (
    Ask,
    Capabilities,
    Llm,
    LocalOnly,
    MaxCost,
    MaxLatency,
    MinQuality,
    System,
    chat_body,
)
from cli.output import AsJson, dump, errors

Stream = Annotated[
    bool | None, typer.Option("--stream/--no-stream", help="Print the answer as it comes. (default: on a terminal)")
]


def chat(
    prompt: Ask,
    model: Llm = "auto",
    stream: Stream = None,
    system: System = None,
    max_cost: MaxCost = None,
    max_latency_ms: MaxLatency = None,
    min_quality: MinQuality = None,
    capabilities: Capabilities = None,
    local_only: LocalOnly = False,
    max_tokens: Annotated[int | None, typer.Option(help="Longest answer, in tokens.", min=1)] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Ask a model, the one that is good enough, cheap enough and alive; the answer alone goes to standard output."""
    body = chat_body(
        prompt,
        model=model,
        system=system,
        max_cost=max_cost,
        max_latency_ms=max_latency_ms,
        min_quality=min_quality,
        capabilities=capabilities,
        local_only=local_only,
    )
    if max_tokens is not None:
        body["max_tokens"] = max_tokens
    api = Api(url)
    if as_json:
        dump(api.post("/v1/chat/completions", body))
        return
    if sys.stdout.isatty() if stream is None else stream:
        told = _stream(api, body)
    else:
        answer = api.post("/v1/chat/completions", body)
        sys.stdout.write(_text(answer, "message") + "\n")
        told = answer
    _say(told)


def _stream(api: Api, body: dict[str, Any]) -> dict[str, Any]:
    """Print pieces as they come; returns what was told about the call."""
    body |= {"stream": True, "stream_options": {"include_usage": True}}
    told: dict[str, Any] = {}
    ended = True
    try:
        for event in api.events("/v1/chat/completions", body):
            if text := _text(event, "delta"):
                sys.stdout.write(text)
                sys.stdout.flush()
                ended = text.endswith("\n")
            told |= {name: event[name] for name in ("merit", "usage") if event.get(name)}
    finally:
        if not ended:
            sys.stdout.write("\n")
    return told


def _text(answer: Mapping[str, Any], part: str) -> str:
    """The text of the first choice; tools that the model wants called are told by name."""
    choices = answer.get("choices") or [{}]
    said = choices[0].get(part) or {}
    calls = [call.get("function", {}).get("name") for call in said.get("tool_calls") or []]
    named = [f"[calls {name}]" for name in calls if name]
    return str(said.get("content") or "") + " ".join(named)


def _say(told: Mapping[str, Any]) -> None:
    """Which model answered, for how much: on standard error, so that the answer can be piped."""
    merit, usage = told.get("merit") or {}, told.get("usage") or {}
    said = [str(merit.get("model") or "")]
    if merit.get("cost") is not None:
        said.append(f"${merit['cost']:.6f}")
    if usage.get("total_tokens"):
        said.append(f"{usage.get('prompt_tokens')} + {usage.get('completion_tokens')} tokens")
    if (merit.get("attempts") or 1) > 1:
        said.append(f"{merit['attempts']} attempts")
    if merit.get("cache"):
        said.append(f"cache: {merit['cache']}")
    if merit.get("downgraded"):
        said.append(str(merit["downgraded"]))
    if merit.get("id"):
        said.append(str(merit["id"]))
    errors.print(" · ".join(one for one in said if one), style="dim", highlight=False, markup=False, soft_wrap=True)
