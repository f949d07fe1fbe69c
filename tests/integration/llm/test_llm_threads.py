"""A thread that wanders between models of three formats, with thoughts, signatures and tool calls in it, never breaks:
the provider refuses whatever it would in truth refuse, a signature of another model's thought for example."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

MODELS = (
    "simulated/thinker", "claude/thinker", "gemini/thinker", "simulated/small", "claude/small", "gemini/large",
    "simulated-local/local-large",
)  # fmt: skip
WEATHER = {
    "name": "get_weather",
    "description": "The weather of a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
TOOL = {"type": "function", "function": WEATHER}
STEPS = st.lists(
    st.tuples(st.sampled_from(MODELS), st.sampled_from(["words", "thoughts", "tool"]), st.booleans()),
    min_size=3,
    max_size=5,
)


@pytest.fixture(scope="module")
def talker(shared_gateway: Any) -> Any:
    return shared_gateway.asker(keep="plain")


def asked(kind: str, model: str) -> dict[str, Any]:
    """A request of one kind, without its messages."""
    fields: dict[str, Any] = {"max_tokens": 2_000}
    if kind != "words" and model.endswith(("/thinker", "/large")):
        fields["reasoning_effort"] = "medium"
    if kind == "tool":
        fields |= {"tools": [TOOL], "tool_choice": "auto"}
    return fields


def said(asker: Any, *, stream: bool, **fields: Any) -> tuple[dict[str, Any], str]:
    """The assistant's message, and the model that it is of."""
    if not stream:
        answer = asker.chat(**fields)
        assert answer.status_code == 200, answer.text
        return answer.json()["choices"][0]["message"], answer.headers["x-merit-model"]
    heard = asker.hear(**fields)
    assert heard.done, heard.error
    message: dict[str, Any] = {"role": "assistant", "content": heard.text or None}
    for frame in heard.frames:
        for choice in frame.get("choices", ()):
            delta = choice["delta"]
            if delta.get("reasoning_content"):
                message["reasoning_content"] = message.get("reasoning_content", "") + delta["reasoning_content"]
            message.setdefault("reasoning_blocks", []).extend(delta.get("reasoning_blocks") or ())
            for part in delta.get("tool_calls") or ():
                calls = message.setdefault("tool_calls", [])
                if part["index"] == len(calls):
                    calls.append({"id": part["id"], "type": "function", "function": {"name": "", "arguments": ""}})
                for name in ("name", "arguments"):
                    calls[part["index"]]["function"][name] += (part.get("function") or {}).get(name) or ""
    return message, heard.headers["x-merit-model"]


def results(message: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"role": "tool", "tool_call_id": call["id"], "content": "mild and dry"}
        for call in message.get("tool_calls") or ()
    ]


@settings(max_examples=12, deadline=None)
@given(steps=STEPS)
def test_a_kept_conversation_goes_on_with_any_model(
    talker: Any, shared_gateway: Any, simulator_process: Any, steps: list[tuple[str, str, bool]]
) -> None:
    simulator_process.reset()
    shared_gateway.calm()
    thread = shared_gateway.told(talker.api.post("/v1/llm/conversations", json={"title": "a walk"}))["id"]
    count = 0
    for number, (model, kind, stream) in enumerate(steps):
        fields = {**asked(kind, model), "merit": {"conversation": thread}, "stream": stream}
        new = [{"role": "user", "content": f"What is the weather in Oslo on day {number}, and what is 17 * {number}?"}]
        message, answered = said(talker, **fields, model=model, messages=new)
        assert answered == model
        count += 2
        while new := results(message):
            # Whoever asked for the tool goes on, whatever is asked for now.
            message, answered = said(talker, **fields, model="auto", messages=new)
            assert answered == model
            count += len(new) + 1
    kept = shared_gateway.told(talker.api.get(f"/v1/llm/conversations/{thread}"))
    assert len(kept["messages"]) == count
    assert not kept["in_tool_loop"]


@settings(max_examples=12, deadline=None)
@given(steps=STEPS)
def test_a_thread_that_the_client_keeps_goes_on_with_any_model(
    talker: Any, shared_gateway: Any, simulator_process: Any, steps: list[tuple[str, str, bool]]
) -> None:
    simulator_process.reset()
    shared_gateway.calm()
    messages: list[dict[str, Any]] = [{"role": "system", "content": "Be brief."}]
    for number, (model, kind, stream) in enumerate(steps):
        fields = {**asked(kind, model), "stream": stream, "model": model}
        messages.append({"role": "user", "content": f"What is the weather in Bergen on day {number}?"})
        message, _ = said(talker, **fields, messages=messages)
        messages.append(message)
        # With a client, another model may even answer in the middle of a tool loop.
        other = MODELS[(MODELS.index(model) + 1) % len(MODELS)]
        later = {**asked(kind, other), "stream": stream, "model": other}
        while new := results(message):
            messages += new
            message, _ = said(talker, **later, messages=messages)
            messages.append(message)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_thread_in_anthropics_format_goes_on_with_any_model(stream: bool, gateway: Any, simulator: Any) -> None:
    import anthropic

    asker = gateway.asker()
    client = anthropic.Anthropic(base_url=gateway.url, api_key=asker.secret, max_retries=0)
    tool: Any = {"name": "get_weather", "description": "The weather", "input_schema": WEATHER["parameters"]}
    thinking: Any = {"type": "enabled", "budget_tokens": 1_024}
    messages: list[Any] = []
    for number, model in enumerate(("claude/thinker", "simulated/thinker", "gemini/thinker", "claude/large", *MODELS)):
        messages.append({"role": "user", "content": f"Think: what is the weather in Oslo on day {number}?"})
        for _ in range(3):
            fields: Any = {"model": model, "max_tokens": 2_000, "tools": [tool], "messages": messages}
            if "thinker" in model:
                fields["thinking"] = thinking
            if stream:
                with client.messages.stream(**fields) as streamed:
                    answer = streamed.get_final_message()
            else:
                answer = client.messages.create(**fields)
            content = [block.model_dump(exclude_none=True) for block in answer.content]
            messages.append({"role": "assistant", "content": content})
            calls = [block for block in content if block["type"] == "tool_use"]
            if not calls:
                break
            messages.append(
                {
                    "role": "user",
                    "content": [{"type": "tool_result", "tool_use_id": one["id"], "content": "mild"} for one in calls],
                }
            )
        assert answer.stop_reason == "end_turn"
    kinds = {block["type"] for one in messages if one["role"] == "assistant" for block in one["content"]}
    assert kinds == {"thinking", "text", "tool_use"}
    client.close()
