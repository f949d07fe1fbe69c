"""What the demo shows of the LLM gateway: a chat, a stream, a failover, a budget that refuses, the ledger's table."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from store.errors import ServiceUnavailable
from store.settings import Settings

_QUESTION = "What is 17 * 23?"
_STORY = "Write three sentences about why a grid switches on the cheapest plant first."
# So little that the first call of the large model is past it.
_BUDGET = 0.000001
_SPENDER = "demo-budget"


@dataclass
class GatewayStory:
    """What happened, for the table at the end.

    Attributes
    ----------
    steps : `request`, `answer` in words.
    usage : one row for each model, from the ledger.
    """

    steps: list[dict[str, str]] = field(default_factory=list)
    usage: list[dict[str, Any]] = field(default_factory=list)


def show_gateway(settings: Settings, base: str) -> GatewayStory:
    """Ask the gateway what an application would ask; the simulated provider answers, so that nothing costs money.

    Raises
    ------
    ServiceUnavailable : an answer was not what it should be.
    """
    story = GatewayStory()
    simulator = f"http://127.0.0.1:{settings.simulator_port}"
    with httpx.Client(base_url=base, timeout=60) as client:
        steps: tuple[Callable[[], dict[str, str]], ...] = (
            lambda: _chat(client),
            lambda: _stream(client),
            lambda: _failover(client, simulator),
            lambda: _vote(client),
            lambda: _budget(client),
        )
        for step in steps:
            story.steps.append(step())
        story.usage = _ok(client.get("/v1/usage", params={"by": "model,outcome"}))["rows"]
    return story


def _chat(client: httpx.Client) -> dict[str, str]:
    body = {"model": "auto", "messages": [{"role": "user", "content": _QUESTION}]}
    answer = _ok(client.post("/v1/chat/completions", json=body))
    return {
        "request": f"chat, model auto: {_QUESTION}",
        "answer": f"{_text(answer)!r} from {answer['merit']['model']}, ${answer['merit']['cost']:.6f}: "
        f"{answer['merit']['reason']}",
    }


def _stream(client: httpx.Client) -> dict[str, str]:
    body = {
        "model": "best",
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [{"role": "user", "content": _STORY}],
    }
    begun, first, pieces, last = time.perf_counter(), 0.0, 0, {}
    with client.stream("POST", "/v1/chat/completions", json=body) as response:
        if response.status_code != 200:
            response.read()
            raise ServiceUnavailable(f"The stream was answered by {response.status_code}: {response.text}")
        for line in response.iter_lines():
            if not line.startswith("data: {"):
                continue
            last = json.loads(line[6:])
            if any((choice["delta"] or {}).get("content") for choice in last["choices"]):
                pieces += 1
                first = first or time.perf_counter() - begun
    merit = last.get("merit", {})
    return {
        "request": f"stream, model best: {_STORY}",
        "answer": f"{pieces} pieces from {merit.get('model')}, the first after {1000 * first:.0f} ms, "
        f"${merit.get('cost', 0.0):.6f}",
    }


def _failover(client: httpx.Client, simulator: str) -> dict[str, str]:
    """The model that would be chosen fails once; another one answers the same request."""
    body = {"model": "best", "messages": [{"role": "user", "content": _QUESTION}], "merit": {"explore": False}}
    decision = _ok(client.post("/v1/llm/route", json=body))
    chosen = str(decision.get("decision", decision)["model"])
    fault = {"model": chosen, "kind": "status", "status": 500, "calls": 1}
    _ok(httpx.post(f"{simulator}/simulator/faults", json=fault, timeout=10))
    answer = _ok(client.post("/v1/chat/completions", json=body))
    httpx.delete(f"{simulator}/simulator/faults", timeout=10)
    return {
        "request": f"failover: {chosen} is made to fail with 500",
        "answer": f"{_text(answer)!r} from {answer['merit']['model']} at attempt {answer['merit']['attempts']}",
    }


def _vote(client: httpx.Client) -> dict[str, str]:
    body = {"model": "ensemble/majority", "messages": [{"role": "user", "content": _QUESTION}]}
    answer = _ok(client.post("/v1/chat/completions", json=body))
    ensemble = answer["merit"]["ensemble"]
    votes = "; ".join(f"{len(vote['models'])} for {vote['answer']!r}" for vote in ensemble["votes"])
    return {"request": "ensemble/majority, the same question", "answer": f"{_text(answer)!r}, votes: {votes}"}


def _budget(client: httpx.Client) -> dict[str, str]:
    """A budget that pays for nothing: the call is refused before anybody is asked."""
    what = {"scope": "user", "subject": _SPENDER, "workspace": "", "period": "day"}
    listed = _ok(client.get("/v1/budgets"))["budgets"]
    if not any(one["scope"] == "user" and one["subject"] == _SPENDER for one in listed):
        _ok(client.post("/v1/budgets", json={**what, "amount": _BUDGET, "action": "refuse"}))
    body = {
        "model": "simulated/large",
        "user": _SPENDER,
        "messages": [{"role": "user", "content": _STORY}],
    }
    response = client.post("/v1/chat/completions", json=body)
    if response.status_code != 402:
        raise ServiceUnavailable(f"A call past its budget was answered by {response.status_code}: {response.text}")
    return {
        "request": f"simulated/large for the user {_SPENDER}, who may spend ${_BUDGET:.6f} a day",
        "answer": f"402: {response.json()['detail']}",
    }


def _text(answer: Mapping[str, Any]) -> str:
    text = str(answer["choices"][0]["message"]["content"])
    return text if len(text) <= 60 else "…" + text[-60:]


def _ok(response: httpx.Response) -> dict[str, Any]:
    if response.status_code >= 300:
        raise ServiceUnavailable(
            f"{response.request.method} {response.request.url.path} answered {response.status_code}: {response.text}"
        )
    found: dict[str, Any] = response.json() if response.content else {}
    return found
