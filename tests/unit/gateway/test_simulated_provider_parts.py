"""The simulated provider without a server: faults strike as planned, streams say what whole answers say, the bill."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from features.world.llm.offers import MODELS
from gateway.simulated import anthropic_shape, gemini_shape, openai_shape
from gateway.simulated.asked import Refused
from gateway.simulated.exchange import ANTHROPIC, GEMINI, OPENAI, Exchange
from gateway.simulated.faults import Faults
from gateway.simulated.provider import SimulatedProvider

NANO = MODELS["simulated/nano"]
QUESTION = "Write an article of about 60 words on battery storage. Cover running costs and next steps."


@pytest.fixture
def provider() -> SimulatedProvider:
    return SimulatedProvider(speed=0)


def ask(provider: SimulatedProvider, text: str = QUESTION, call: str | None = None, **fields: Any) -> Exchange:
    body = {"model": "medium", "messages": [{"role": "user", "content": text}], **fields}
    return provider.chat(OPENAI, "simulated", openai_shape.parse, orjson.dumps(body), call)


def body_of(exchange: Exchange) -> bytes:
    """The body, and what it costs on the bill."""
    for step in exchange.steps:
        if step.books:
            exchange.book(step.tokens, True)
    return b"".join(step.data for step in exchange.steps)


def events(exchange: Exchange) -> Iterator[dict[str, Any]]:
    for line in body_of(exchange).decode().splitlines():
        if line.startswith("data: ") and line != "data: [DONE]":
            yield orjson.loads(line[6:])


def test_faults_strike_as_often_as_planned() -> None:
    faults = Faults(7, own=0)
    faults.plant({"kind": "status", "status": 503, "calls": 2, "model": NANO.id})
    assert faults.strike(MODELS["simulated/large"]) is None
    struck = [faults.strike(NANO) for _ in range(4)]
    assert [one.status if one else None for one in struck] == [503, 503, None, None]
    assert faults.listed() == []


def test_faults_strike_as_long_as_planned() -> None:
    now = [100.0]
    faults = Faults(7, own=0, clock=lambda: now[0])
    faults.plant({"kind": "slow", "factor": 4, "seconds": 10})
    faults.plant({"kind": "slow", "factor": 2})
    found = faults.strike(NANO)
    assert found is not None
    assert found.slower == 8
    now[0] = 111
    found = faults.strike(NANO)
    assert found is not None
    assert found.slower == 2


def test_faults_strike_with_their_probability_and_the_same_calls_each_time() -> None:
    def run() -> list[bool]:
        faults = Faults(7, own=0)
        faults.plant({"kind": "status", "probability": 0.3})
        return [faults.strike(NANO) is not None for _ in range(2_000)]

    assert run() == run()
    assert 500 < sum(run()) < 700


def test_models_fail_by_themselves_unless_nobody_waits() -> None:
    faults = Faults(7, own=20)
    kinds = {one.status for _ in range(3_000) if (one := faults.strike(NANO))}
    assert kinds == {429, 500, 503, 529}
    assert SimulatedProvider(speed=0).faults.own == 0
    assert SimulatedProvider(speed=20).faults.own == 1


@pytest.mark.parametrize(
    ("fault", "name"),
    [
        ({"kind": "explosion"}, "kind = 'explosion'"),
        ({"kind": "status", "status": 200}, "status = 200"),
        ({"kind": "slow", "colour": 1}, "'colour'"),
        ({"kind": "slow", "seconds": "long"}, "no fault"),
        ({}, "no fault"),
    ],
)
def test_what_is_no_fault_is_refused(fault: dict[str, Any], name: str) -> None:
    with pytest.raises(Refused, match=name):
        Faults(7).plant(fault)


@pytest.mark.parametrize("model", ["medium", "thinker", "nano"])
def test_a_stream_says_what_the_whole_answer_says(provider: SimulatedProvider, model: str) -> None:
    whole = orjson.loads(body_of(ask(provider, model=model)))
    parts = list(events(ask(provider, model=model, stream=True, stream_options={"include_usage": True})))
    message = whole["choices"][0]["message"]
    for name in ("content", "reasoning_content"):
        said = "".join(part["choices"][0]["delta"].get(name) or "" for part in parts if part["choices"])
        assert said == (message.get(name) or "")
    assert parts[-1]["usage"] == whole["usage"]
    assert [part["choices"][0]["finish_reason"] for part in parts[-2:-1]] == ["stop"]
    assert not any("usage" in part for part in parts[:-1])


def test_tools_stream_in_parts(provider: SimulatedProvider) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    tools = [{"type": "function", "function": {"name": "get_weather", "parameters": schema}}]
    whole = orjson.loads(body_of(ask(provider, "Weather in Rome, please?", tools=tools)))
    called = whole["choices"][0]["message"]["tool_calls"][0]["function"]
    parts = list(events(ask(provider, "Weather in Rome, please?", tools=tools, stream=True)))
    deltas = [call for part in parts for call in part["choices"][0]["delta"].get("tool_calls", ())]
    assert deltas[0]["function"]["name"] == called["name"] == "get_weather"
    assert "".join(one["function"]["arguments"] for one in deltas) == called["arguments"]
    assert parts[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_the_three_shapes_say_the_same(provider: SimulatedProvider) -> None:
    text = "How many days are there between 2024-02-28 and 2024-05-01?"
    first = orjson.loads(body_of(ask(provider, text)))
    second = {"model": "medium", "max_tokens": 500, "messages": [{"role": "user", "content": text}]}
    third = {"contents": [{"role": "user", "parts": [{"text": text}]}]}

    def parse(body: Any) -> Any:
        return gemini_shape.parse(body, "medium", streamed=False)

    anthropic = orjson.loads(
        body_of(provider.chat(ANTHROPIC, "simulated", anthropic_shape.parse, orjson.dumps(second), None))
    )
    gemini = orjson.loads(body_of(provider.chat(GEMINI, "simulated", parse, orjson.dumps(third), None)))
    said = first["choices"][0]["message"]["content"]
    assert anthropic["content"] == [{"type": "text", "text": said}]
    assert gemini["candidates"][0]["content"]["parts"] == [{"text": said}]
    assert anthropic["usage"]["output_tokens"] == first["usage"]["completion_tokens"]
    assert gemini["usageMetadata"]["candidatesTokenCount"] == first["usage"]["completion_tokens"]


@pytest.mark.parametrize(
    ("usage", "told"),
    [
        ("early", [True, False, False]),
        ("late", [False, False, True]),
        ("twice", [False, True, True]),
        ("never", [False, False, False]),
        ("wrong-choices", [False, False, True]),
    ],
)
def test_tokens_are_told_when_the_fault_says(provider: SimulatedProvider, usage: str, told: list[bool]) -> None:
    provider.faults.plant({"kind": "usage", "usage": usage})
    exchange = ask(provider, stream=True, stream_options={"include_usage": True})
    parts = list(events(exchange))
    assert ["usage" in parts[0], any("usage" in part for part in parts[1:-2]), "usage" in parts[-1]] == told
    late = body_of(exchange).rpartition(b"[DONE]")[2]
    assert (b"usage" in late) == (usage == "late")
    assert bool(parts[-1]["choices"]) == (usage in ("wrong-choices", "early", "never"))


def test_the_bill_has_every_call_that_was_answered(provider: SimulatedProvider) -> None:
    told = [orjson.loads(body_of(ask(provider, call=f"call-{n}"))) for n in range(3)]
    bill = provider.bill.statement()
    assert [one["call"] for one in bill["charges"]] == ["call-0", "call-1", "call-2"]
    assert [one["output"] for one in bill["charges"]] == [one["usage"]["completion_tokens"] for one in told]
    assert bill["total"] == sum(one["cost"] for one in bill["charges"]) == bill["by_model"]["simulated/medium"]
    assert bill["charges"][0]["cost"] == bill["charges"][0]["input"] * 800 + bill["charges"][0]["output"] * 3_200


def test_the_sum_holds_when_lines_are_dropped(provider: SimulatedProvider) -> None:
    from gateway.simulated.bill import Bill

    provider.bill = Bill(most=2)
    for _ in range(5):
        body_of(ask(provider))
    bill = provider.bill.statement()
    assert (bill["count"], len(bill["charges"])) == (5, 2)
    assert bill["total"] == 5 * bill["charges"][0]["cost"]
    assert provider.bill.statement(limit=0)["charges"] == []


@pytest.mark.parametrize(
    ("fault", "charged"),
    [
        ({"kind": "status", "status": 500}, 0),
        ({"kind": "hang"}, 0),
        ({"kind": "empty"}, 1),
        ({"kind": "truncated"}, 1),
        ({"kind": "truncated", "billed": False}, 0),
    ],
)
def test_what_is_spoiled_is_charged_where_something_was_made(
    provider: SimulatedProvider, fault: dict[str, Any], charged: int
) -> None:
    provider.faults.plant(fault)
    body_of(ask(provider))
    assert provider.bill.count == charged


def test_a_stream_that_closes_is_charged_for_what_was_made(provider: SimulatedProvider) -> None:
    provider.faults.plant({"kind": "close", "after_tokens": 10})
    exchange = ask(provider, stream=True)
    body_of(exchange)
    assert exchange.ending == "close"
    assert provider.bill.statement()["charges"][0]["output"] <= 10


def test_prices_and_quality_change_in_silence(provider: SimulatedProvider) -> None:
    first = body_of(ask(provider, "What is 12 * 12?"))
    provider.faults.plant({"kind": "price", "factor": 3})
    provider.faults.plant({"kind": "quality", "factor": -15})
    second = body_of(ask(provider, "What is 12 * 12?"))
    costs = [one["cost"] for one in provider.bill.statement()["charges"]]
    assert costs[1] > 1.5 * costs[0]
    assert b"144" in first
    assert b"144" not in second


def test_long_beginnings_are_cheaper_the_second_time(provider: SimulatedProvider) -> None:
    long = "The meter in the cellar was read on time. " * 200
    told = [orjson.loads(body_of(ask(provider, f"{long} What is 2 + {n}?"))) for n in (1, 2)]
    cached = [one["usage"]["prompt_tokens_details"]["cached_tokens"] for one in told]
    assert cached[0] == 0
    assert cached[1] >= 1_024
    for line, read in zip(provider.bill.statement()["charges"], cached, strict=True):
        assert line["cost"] == (line["input"] - read) * 800 + read * 160 + line["output"] * 3_200


def test_a_marked_prompt_is_written_to_the_cache_and_paid_for(provider: SimulatedProvider) -> None:
    long = "The meter in the cellar was read on time. " * 200
    system = [{"type": "text", "text": long, "cache_control": {"type": "ephemeral"}}]
    body = {"model": "large", "max_tokens": 50, "system": system, "messages": [{"role": "user", "content": "Hi"}]}
    parse = anthropic_shape.parse
    usages = [
        orjson.loads(body_of(provider.chat(ANTHROPIC, "simulated", parse, orjson.dumps(body), None)))["usage"]
        for _ in range(2)
    ]
    assert usages[0]["cache_creation_input_tokens"] > 1_024
    assert usages[0]["cache_read_input_tokens"] == 0
    assert usages[1]["cache_read_input_tokens"] > 1_024
    first = provider.bill.statement()["charges"][0]
    plain = first["input"] - first["cache_write"]
    assert first["cost"] == plain * 3_000 + first["cache_write"] * 3_750 + first["output"] * 15_000


@pytest.mark.parametrize(
    ("fields", "status", "said"),
    [
        ({"model": "gpt"}, 404, "does not exist"),
        ({"messages": []}, 400, "at least one"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, 400, "role"),
        ({"messages": [{"role": "tool", "tool_call_id": "a", "content": "x"}]}, 400, "preceding"),
        ({"messages": [{"role": "user", "content": [{"type": "smell"}]}]}, 400, "smell"),
        ({"n": 2}, 400, "n must be 1"),
        ({"temperature": 3}, 400, "temperature"),
        ({"max_tokens": 0}, 400, "max_tokens"),
        ({"max_tokens": 10**6}, 400, "too large"),
        ({"model": "nano", "tools": [{"type": "function", "function": {"name": "f"}}]}, 400, "does not support tools"),
        ({"model": "embed"}, 400, "not a chat model"),
        ({"response_format": {"type": "poem"}}, 400, "response_format"),
        ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, 400, "tool_choice"),
        ({"messages": [{"role": "user", "content": "long " * 250_000}]}, 400, "maximum context length"),
    ],
)
def test_what_is_wrong_is_refused_in_openais_words(
    provider: SimulatedProvider, fields: dict[str, Any], status: int, said: str
) -> None:
    exchange = ask(provider, **fields)
    assert exchange.status == status
    error = orjson.loads(body_of(exchange))["error"]
    assert said in error["message"]
    assert error["type"] == "invalid_request_error"
    assert provider.bill.count == 0


def test_a_thought_of_another_model_breaks_anthropics_shape(provider: SimulatedProvider) -> None:
    thought = {"type": "thinking", "thinking": "Hm.", "signature": anthropic_shape.signature("large", "Hm.")}
    messages = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": [thought, {"type": "text", "text": "Hello"}]},
        {"role": "user", "content": "Go on"},
    ]

    def status(model: str) -> int:
        body = orjson.dumps({"model": model, "max_tokens": 50, "messages": messages})
        return provider.chat(ANTHROPIC, "simulated", anthropic_shape.parse, body, None).status

    assert status("large") == 200
    assert status("thinker") == 400
