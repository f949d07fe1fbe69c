"""What is private stays on the own machines, whatever shape the request has and whatever fails there: the provider sees
no single request for a model that is not local."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

AWAY = ("nano", "small", "medium", "large", "coder", "thinker", "vision", "embed")
LOCAL = ("small", "large")
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
SHAPES: tuple[dict[str, Any], ...] = (
    {},
    {"stream": True},
    {"tools": [TOOL]},
    {"response_format": {"type": "json_object"}},
    {"max_tokens": 20, "n": 2},
    {"max_tokens": 9_000},  # more than any local model says at once
    {"messages": [{"role": "user", "content": [PICTURE]}]},
)
# How a request says that it is private.
WAYS: tuple[dict[str, Any], ...] = (
    {"model": "private"},
    {"model": "private", "merit": {"fallbacks": True}},
    {"model": "auto", "merit": {"local_only": True}},
    {"model": "best", "merit": {"local_only": True, "capabilities": ["code"]}},
    {"model": "cheapest", "merit": {"local_only": True, "explore": True}},
    {"model": "simulated-local/local-small", "merit": {"local_only": True, "fallbacks": True}},
    {"model": "simulated/large", "merit": {"local_only": True, "fallbacks": True}},
    {"model": "ensemble/majority", "merit": {"local_only": True}},
    {"model": "ensemble/jury", "merit": {"local_only": True}},
    {"model": "ensemble/best-of-n", "merit": {"local_only": True, "judge": "simulated/large"}},
)
FAULTS: tuple[dict[str, Any], ...] = (
    {"kind": "status", "status": 500},
    {"kind": "status", "status": 429, "retry_after": 0.01},
    {"kind": "status", "status": 401},
    {"kind": "close", "after_tokens": 0},
    {"kind": "malformed", "after_tokens": 3},
    {"kind": "empty"},
)


@pytest.fixture(scope="module")
def secretive(shared_gateway: Any) -> Any:
    """Somebody in a workspace that sends nothing away, and somebody who says so with each request."""
    return shared_gateway.asker(local_only=True), shared_gateway.asker()


@settings(max_examples=50, deadline=None)
@given(
    way=st.sampled_from(WAYS),
    shape=st.sampled_from(SHAPES),
    fault=st.sampled_from((None, *FAULTS)),
    failing=st.sampled_from((("small",), ("large",), LOCAL)),
    whole_workspace=st.booleans(),
    drained=st.booleans(),
)
def test_what_is_private_never_leaves(
    secretive: Any,
    shared_gateway: Any,
    simulator_process: Any,
    way: dict[str, Any],
    shape: dict[str, Any],
    fault: dict[str, Any] | None,
    failing: tuple[str, ...],
    whole_workspace: bool,
    drained: bool,
) -> None:
    simulator_process.reset()
    shared_gateway.calm()
    watched(simulator_process)
    if fault is not None:
        for name in failing:
            simulator_process.fault(**fault, model=f"simulated-local/{name}")
    if drained:
        shared_gateway.admin.post("/v1/llm/providers/simulated-local/drain")
    asker = secretive[0] if whole_workspace else secretive[1]
    if whole_workspace:
        # Says nothing itself, or asks for the opposite: the workspace's word counts.
        way = {**way, "model": "auto" if way["model"] == "private" else way["model"]}
        way["merit"] = {**way.get("merit", {}), "local_only": False}
    answer = asker.chat("What is 17 * 23?", **{**shape, **way})
    assert answer.status_code in (200, 400, 409, 422, 429, 502, 503), answer.text
    assert sent_away(simulator_process) == 0
    assert set(simulator_process.bill()["by_model"]) <= {f"simulated-local/{name}" for name in LOCAL}
    if answer.status_code == 200 and not way["model"].startswith("ensemble"):
        assert answer.headers["x-merit-model"].startswith("simulated-local/")


def test_no_local_model_embeds_and_so_nothing_is_embedded(gateway: Any, simulator: Any) -> None:
    watched(simulator)
    for asked in ({"model": "private"}, {"model": "auto", "merit": {"local_only": True}}):
        answer = gateway.asker().api.post("/v1/embeddings", json={**asked, "input": "a secret"})
        assert answer.status_code == 422
        assert "not local" in answer.text
    assert sent_away(simulator) == 0


def test_a_conversation_that_becomes_private_leaves_the_model_it_was_with(gateway: Any, simulator: Any) -> None:
    asker = gateway.asker(keep="plain")
    thread = gateway.told(asker.api.post("/v1/llm/conversations", json={}))["id"]
    tool = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {}}}}
    first = asker.answer("What is the weather?", tools=[tool], tool_choice="required", merit={"conversation": thread})
    call = first["choices"][0]["message"]["tool_calls"][0]["id"]
    watched(simulator)
    result = {"messages": [{"role": "tool", "tool_call_id": call, "content": "mild"}]}
    second = asker.answer(model="private", tools=[tool], merit={"conversation": thread}, **result)
    assert second["merit"]["model"].startswith("simulated-local/")
    assert "mild" in second["choices"][0]["message"]["content"]
    assert sent_away(simulator) == 0


def test_the_same_without_being_private_does_leave(gateway: Any, simulator: Any) -> None:
    """The tests above would see it."""
    watched(simulator)
    for name in LOCAL:
        simulator.fault("status", status=500, model=f"simulated-local/{name}")
    assert gateway.asker().chat(model="simulated-local/local-small", merit={"fallbacks": True}).status_code == 200
    assert sent_away(simulator) == 1


def watched(simulator: Any) -> None:
    """Count the requests for models that are away: a fault that changes nothing strikes them."""
    simulator.faults(*({"kind": "price", "factor": 1, "model": f"simulated/{name}", "calls": 1_000} for name in AWAY))


def sent_away(simulator: Any) -> int:
    left = [one["calls"] for one in simulator._call("GET", "faults")["faults"] if one["kind"] == "price"]
    return 1_000 * len(AWAY) - sum(left)
