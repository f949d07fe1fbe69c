"""Anthropic's messages format and OpenAI's shape say the same, both ways."""

from __future__ import annotations

import base64
import itertools
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.call.providers.anthropic import (
    from_anthropic_answer,
    from_anthropic_request,
    to_anthropic_answer,
    to_anthropic_request,
)
from gateway.call.providers.anthropic_models import claude
from gateway.call.providers.wire import ProviderFailure
from gateway.usage import Usage
from store.errors import InvalidValue

OLD, NEW = "claude-sonnet-4-5-20250929", "claude-opus-5-5"
PNG = base64.b64encode(b"\x89PNG").decode()
PDF = base64.b64encode(b"%PDF-1.7").decode()
WEATHER = {
    "name": "weather",
    "description": "Weather of a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


def ask(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"model": "auto", "messages": list(messages) or [{"role": "user", "content": "hi"}], **more}


def called(number: str, city: str = "Rome") -> dict[str, Any]:
    function = {"name": "weather", "arguments": orjson.dumps({"city": city}).decode()}
    return {"id": number, "type": "function", "function": function}


def test_a_request_in_full() -> None:
    body = ask(
        {"role": "system", "content": "Be brief."},
        {"role": "developer", "content": "In French."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
                {"type": "image_url", "image_url": {"url": "https://example.org/a.jpg"}},
                {"type": "file", "file": {"file_data": f"data:application/pdf;base64,{PDF}", "filename": "a.pdf"}},
            ],
        },
        {"role": "assistant", "content": "Let me see.", "tool_calls": [called("toolu_1"), called("toolu_2", "Oslo")]},
        {"role": "tool", "tool_call_id": "toolu_1", "content": "sunny"},
        {"role": "tool", "tool_call_id": "toolu_2", "content": [{"type": "text", "text": "rain"}], "is_error": True},
        {"role": "user", "content": "And?"},
        max_completion_tokens=100,
        temperature=1.7,
        stop=["END", " "],
        tools=[{"type": "function", "function": WEATHER}],
        tool_choice="required",
        parallel_tool_calls=False,
        user="u-7",
        presence_penalty=1,
    )
    assert to_anthropic_request(body, OLD) == {
        "model": OLD,
        "max_tokens": 100,
        "system": "Be brief.\n\nIn French.",
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is this?"},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
                    {"type": "image", "source": {"type": "url", "url": "https://example.org/a.jpg"}},
                    {
                        "type": "document",
                        "source": {"type": "base64", "media_type": "application/pdf", "data": PDF},
                        "title": "a.pdf",
                    },
                ],
            },
            {
                "role": "assistant",
                "content": [
                    {"type": "text", "text": "Let me see."},
                    {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Rome"}},
                    {"type": "tool_use", "id": "toolu_2", "name": "weather", "input": {"city": "Oslo"}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "toolu_1", "content": "sunny"},
                    {"type": "tool_result", "tool_use_id": "toolu_2", "content": "rain", "is_error": True},
                    {"type": "text", "text": "And?"},
                ],
            },
        ],
        "tools": [
            {"name": "weather", "description": "Weather of a city.", "input_schema": WEATHER["parameters"]},
        ],
        "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
        "temperature": 1.0,
        "stop_sequences": ["END"],
        "metadata": {"user_id": "u-7"},
    }


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("auto", {"type": "auto"}),
        ("none", {"type": "none"}),
        ("required", {"type": "any"}),
        ({"type": "function", "function": {"name": "weather"}}, {"type": "tool", "name": "weather"}),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "required", "tools": [{"function": {"name": "weather"}}]},
            },
            {"type": "any"},
        ),
        (None, None),
    ],
)
def test_the_choice_among_tools(asked: Any, expected: Any) -> None:
    more = {} if asked is None else {"tool_choice": asked}
    sent = to_anthropic_request(ask(tools=[{"type": "function", "function": WEATHER}], **more), NEW)
    assert sent.get("tool_choice") == expected


def test_the_limit_of_an_answer_is_never_missing() -> None:
    assert to_anthropic_request(ask(), NEW)["max_tokens"] == 4096
    assert to_anthropic_request(ask(max_tokens=7), NEW)["max_tokens"] == 7


def test_a_model_is_sent_only_what_its_generation_takes() -> None:
    assert "temperature" in to_anthropic_request(ask(temperature=0.5), OLD)
    assert "temperature" not in to_anthropic_request(ask(temperature=0.5, top_p=0.5, top_k=3), NEW)
    both = to_anthropic_request(ask(temperature=0.5, top_p=0.5), OLD)
    assert "top_p" not in both
    old = to_anthropic_request(ask(reasoning_effort="high", max_tokens=100, temperature=0.2), OLD)
    assert old["thinking"] == {"type": "enabled", "budget_tokens": 16_384}
    assert old["max_tokens"] == 100 + 16_384
    assert "temperature" not in old
    new = to_anthropic_request(ask(reasoning_effort="minimal"), NEW)
    assert new["thinking"] == {"type": "adaptive"}
    assert new["output_config"] == {"effort": "low"}
    assert "thinking" not in to_anthropic_request(ask(reasoning_effort="high"), "claude-3-5-haiku-20241022")
    assert "thinking" not in to_anthropic_request(ask(reasoning_effort="none"), NEW)


@pytest.mark.parametrize(
    ("model", "sampling", "budget", "adaptive"),
    [
        ("claude-3-haiku-20240307", True, False, False),
        ("claude-3-7-sonnet-latest", True, True, False),
        ("claude-sonnet-4-20250514", True, True, False),
        ("claude-opus-4-5", True, True, False),
        ("us.anthropic.claude-opus-4-6-v1", True, False, True),
        ("claude-opus-4-7", False, False, True),
        ("claude-haiku-5-5", False, False, True),
        ("claude-someday", False, False, False),
        ("MiniMax-M2", True, False, False),
    ],
)
def test_what_a_model_takes_stands_in_its_name(model: str, sampling: bool, budget: bool, adaptive: bool) -> None:
    able = claude(model)
    assert (able.sampling, able.budget, able.adaptive) == (sampling, budget, adaptive)


def test_an_answer_in_json_is_asked_for() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "additionalProperties": False}
    asked = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": True}}
    held = to_anthropic_request(ask(response_format=asked), NEW)
    assert held["output_config"] == {"format": {"type": "json_schema", "schema": schema}}
    assert "system" not in held
    told = to_anthropic_request(ask(response_format=asked), "claude-3-5-haiku-20241022")
    assert "JSON" in told["system"]
    assert '"additionalProperties":false' in told["system"]
    assert "JSON" in to_anthropic_request(ask(response_format={"type": "json_object"}), NEW)["system"]
    assert "system" not in to_anthropic_request(ask(response_format={"type": "text"}), NEW)


def test_marks_of_what_to_cache_go_through() -> None:
    mark = {"type": "ephemeral", "ttl": "1h"}
    part = {"type": "text", "text": "long", "cache_control": mark}
    sent = to_anthropic_request(ask({"role": "system", "content": [part]}, {"role": "user", "content": [part]}), NEW)
    assert sent["system"] == [part]
    assert sent["messages"][0]["content"] == [part]


def test_turns_are_what_anthropic_demands_of_them() -> None:
    def turns(*messages: dict[str, Any]) -> list[Any]:
        return list(to_anthropic_request(ask(*messages), NEW)["messages"])

    user, said = {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}
    assert [turn["role"] for turn in turns(said, user)] == ["user", "assistant", "user"]
    assert turns(user, user) == [{"role": "user", "content": [{"type": "text", "text": "a"}] * 2}]
    assert turns(user, {"role": "assistant", "content": "b  \n"})[-1]["content"] == "b"
    assert turns(user, {"role": "assistant", "content": ""}, user)[0]["content"] == [{"type": "text", "text": "a"}] * 2
    assert turns({"role": "system", "content": "only this"})[0]["role"] == "user"
    loop = turns(
        user, {"role": "assistant", "tool_calls": [called("1")]}, {"role": "tool", "tool_call_id": "1", "content": ""}
    )
    assert loop[2]["content"] == [{"type": "tool_result", "tool_use_id": "1"}]


def test_a_thread_with_calls_but_no_tools_can_still_be_read() -> None:
    sent = to_anthropic_request(
        ask(
            {"role": "user", "content": "a"},
            {"role": "assistant", "tool_calls": [called("1")]},
            {"role": "tool", "tool_call_id": "1", "content": "x"},
        ),
        NEW,
    )
    assert [tool["name"] for tool in sent["tools"]] == ["weather"]
    assert sent["tool_choice"] == {"type": "none"}


@pytest.mark.parametrize("arguments", ["", "{", "[1]", "7", None, "null"])
def test_arguments_that_are_no_object_are_wrapped_in_one(arguments: Any) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": arguments}}
    sent = to_anthropic_request(ask({"role": "user", "content": "a"}, {"role": "assistant", "tool_calls": [call]}), NEW)
    assert isinstance(sent["messages"][1]["content"][0]["input"], dict)


@pytest.mark.parametrize(
    "body",
    [
        ask(n=2),
        ask({"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}]}),
        ask(tools=[{"type": "custom", "custom": {"name": "x"}}]),
        {"model": "auto", "messages": "hi"},
        {"model": "auto", "messages": ["hi"]},
    ],
)
def test_what_the_format_cannot_say_is_refused_before_it_is_sent(body: dict[str, Any]) -> None:
    with pytest.raises(ProviderFailure) as caught:
        to_anthropic_request(body, NEW)
    assert (caught.value.kind, caught.value.sent) == ("refused", False)


THINKING = {"type": "thinking", "thinking": "First, ", "signature": "c2ln"}
REDACTED = {"type": "redacted_thinking", "data": "b3BhcXVl"}
USED = {
    "input_tokens": 10, "cache_read_input_tokens": 1000, "cache_creation_input_tokens": 50, "output_tokens": 40,
    "output_tokens_details": {"thinking_tokens": 30},
}  # fmt: skip


def message(*content: dict[str, Any], reason: str = "end_turn", **more: Any) -> dict[str, Any]:
    return {
        "id": "msg_1", "type": "message", "role": "assistant", "model": NEW, "content": list(content),
        "stop_reason": reason, "stop_sequence": None, "usage": USED, **more,
    }  # fmt: skip


def test_an_answer_with_cached_and_thought_tokens() -> None:
    use = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Rome"}}
    body, usage = from_anthropic_answer(
        message(THINKING, REDACTED, {"type": "text", "text": "Hm."}, use, reason="tool_use")
    )
    assert usage == Usage(input=1060, cached=1000, cache_write=50, output=40, reasoning=30)
    assert body["usage"]["prompt_tokens"] == 1060
    assert body["usage"]["prompt_tokens_details"] == {
        "cached_tokens": 1000,
        "audio_tokens": 0,
        "cache_write_tokens": 50,
    }
    assert body["usage"]["completion_tokens_details"]["reasoning_tokens"] == 30
    assert body["usage"]["total_tokens"] == 1100
    choice = body["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"] == {
        "role": "assistant",
        "content": "Hm.",
        "refusal": None,
        "reasoning_content": "First, ",
        "reasoning_blocks": [{"provider": "anthropic", **THINKING}, {"provider": "anthropic", **REDACTED}],
        "tool_calls": [called("toolu_1")],
    }


def test_what_is_cached_for_an_hour_is_told_apart() -> None:
    by_age = {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 30}
    body, usage = from_anthropic_answer(message(usage={**USED, "cache_creation": by_age}))
    assert (usage.cache_write, usage.cache_write_hour) == (50, 30)
    assert to_anthropic_answer(body, usage=usage)["usage"]["cache_creation"] == by_age


@pytest.mark.parametrize(
    ("reason", "finish", "back"),
    [
        ("end_turn", "stop", "end_turn"),
        ("stop_sequence", "stop", "end_turn"),
        ("pause_turn", "stop", "end_turn"),
        ("max_tokens", "length", "max_tokens"),
        ("model_context_window_exceeded", "length", "max_tokens"),
        ("tool_use", "tool_calls", "tool_use"),
        ("refusal", "content_filter", "refusal"),
        ("something_new", "stop", "end_turn"),
    ],
)
def test_why_an_answer_ended(reason: str, finish: str, back: str) -> None:
    body, _ = from_anthropic_answer(message({"type": "text", "text": "x"}, reason=reason))
    assert body["choices"][0]["finish_reason"] == finish
    assert to_anthropic_answer(body)["stop_reason"] == back


def test_a_refusal_says_why() -> None:
    details = {"type": "refusal", "category": "bio", "explanation": "Not this."}
    body, _ = from_anthropic_answer(message(reason="refusal", stop_details=details))
    assert body["choices"][0]["message"]["refusal"] == "Not this."


def test_thinking_goes_back_to_whom_it_came_from_in_its_place() -> None:
    again = {"type": "thinking", "thinking": "then", "signature": "YQ=="}
    use = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Rome"}}
    content = [THINKING, {"type": "text", "text": "One."}, again, {"type": "text", "text": "Two."}, REDACTED, use]
    body, _ = from_anthropic_answer(message(*content, reason="tool_use"))
    said = body["choices"][0]["message"]
    thread = ask({"role": "user", "content": "a"}, said, {"role": "tool", "tool_call_id": "toolu_1", "content": "x"})
    assert to_anthropic_request(thread, NEW)["messages"][1]["content"] == content
    elsewhere = to_anthropic_request(thread, "MiniMax-M2", source="minimax")
    assert "signature" not in orjson.dumps(elsewhere).decode()


def test_manual_thinking_is_left_out_where_it_would_be_refused() -> None:
    asked = {"type": "enabled", "budget_tokens": 2000}
    loop = ask(
        {"role": "user", "content": "a"},
        {"role": "assistant", "tool_calls": [called("1")]},
        {"role": "tool", "tool_call_id": "1", "content": "x"},
        thinking=asked,
        tools=[{"type": "function", "function": WEATHER}],
    )
    assert "thinking" not in to_anthropic_request(loop, OLD), "a loop that another model began has no thinking to show"
    forced = ask(thinking=asked, tools=[{"type": "function", "function": WEATHER}], tool_choice="required")
    assert "thinking" not in to_anthropic_request(forced, OLD)
    assert to_anthropic_request(ask(thinking=asked), OLD)["thinking"] == asked


def test_an_answer_of_another_provider_for_a_client_of_this_format() -> None:
    body = {
        "id": "chatcmpl-9",
        "model": "deepseek-chat",
        "choices": [
            {
                "index": 0,
                "finish_reason": "tool_calls",
                "message": {
                    "role": "assistant",
                    "content": "Well.",
                    "reasoning_content": "hm",
                    "reasoning_blocks": [{"provider": "deepseek", "type": "reasoning"}],
                    "tool_calls": [called("functions.weather:0")],
                },
            }
        ],
        "usage": {"prompt_tokens": 100, "completion_tokens": 50, "prompt_cache_hit_tokens": 64, "total_tokens": 150},
    }
    answer = to_anthropic_answer(body, "claude-like")
    assert answer["id"] == "msg_9"
    assert answer["model"] == "claude-like"
    assert [block["type"] for block in answer["content"]] == ["thinking", "text", "tool_use"]
    assert ":" not in answer["content"][2]["id"]
    assert answer["usage"] == {
        "input_tokens": 36, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 64, "output_tokens": 50,
    }  # fmt: skip
    # The client sends it back: to DeepSeek with its reasoning, to Anthropic without.
    turned = from_anthropic_request(
        {"model": "m", "max_tokens": 1, "messages": [{"role": "assistant", "content": answer["content"]}]}
    )
    said = turned["messages"][0]
    assert said["reasoning_blocks"][0]["provider"] == "deepseek"
    assert said["reasoning_content"] == "hm"
    sent = to_anthropic_request(ask({"role": "user", "content": "a"}, said), NEW)
    assert "thinking" not in orjson.dumps(sent).decode()


def test_signatures_of_other_formats_travel_through_a_client_of_this_one() -> None:
    block = {"provider": "gemini", "type": "thought_signature", "signature": "c2ln", "tool_call_id": "call_1"}
    body = {"choices": [{"message": {"content": "x", "reasoning_blocks": [block]}, "finish_reason": "stop"}]}
    content = to_anthropic_answer(body, "m")["content"]
    assert content[0]["type"] == "redacted_thinking"
    turned = from_anthropic_request(
        {"model": "m", "max_tokens": 1, "messages": [{"role": "assistant", "content": content}]}
    )
    assert turned["messages"][0]["reasoning_blocks"] == [block]


def test_a_request_of_a_client_of_this_format_in_full() -> None:
    mark = {"type": "ephemeral"}
    body = {
        "model": "auto",
        "max_tokens": 50,
        "system": [{"type": "text", "text": "Be brief.", "cache_control": mark}],
        "messages": [
            {"role": "user", "content": "hi"},
            {
                "role": "assistant",
                "content": [
                    THINKING,
                    {"type": "text", "text": "Let me look."},
                    {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Rome"}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {
                        "type": "tool_result",
                        "tool_use_id": "toolu_1",
                        "is_error": True,
                        "content": [
                            {"type": "text", "text": "broken"},
                            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
                        ],
                    },
                    {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "notes"}},
                    {"type": "text", "text": "so?"},
                ],
            },
        ],
        "tools": [
            {"name": "weather", "input_schema": WEATHER["parameters"], "description": "Weather of a city."},
            {"type": "web_search_20260318", "name": "web_search"},
        ],
        "tool_choice": {"type": "tool", "name": "weather", "disable_parallel_tool_use": True},
        "stop_sequences": ["END"],
        "metadata": {"user_id": "u-7"},
        "stream": True,
        "top_k": 3,
    }
    assert from_anthropic_request(body) == {
        "model": "auto",
        "max_tokens": 50,
        "stream": True,
        "top_k": 3,
        "stop": ["END"],
        "user": "u-7",
        "messages": [
            {"role": "system", "content": [{"type": "text", "text": "Be brief.", "cache_control": mark}]},
            {"role": "user", "content": "hi"},
            {
                "role": "assistant",
                "content": "Let me look.",
                "tool_calls": [called("toolu_1")],
                "reasoning_blocks": [{"provider": "anthropic", **THINKING}],
                "reasoning_content": "First, ",
            },
            {
                "role": "tool",
                "tool_call_id": "toolu_1",
                "is_error": True,
                "content": [
                    {"type": "text", "text": "broken"},
                    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
                ],
            },
            {"role": "user", "content": [{"type": "text", "text": "notes"}, {"type": "text", "text": "so?"}]},
        ],
        "tools": [
            {"type": "function", "function": WEATHER},
            {"type": "web_search_20260318", "name": "web_search"},
        ],
        "tool_choice": {"type": "function", "function": {"name": "weather"}},
        "parallel_tool_calls": False,
    }


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": ["x"]}, "messages.0"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "user"}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": ["x"]}]}, "messages.0"),
        ({"messages": [{"role": "assistant", "content": [7]}]}, "messages.0"),
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_tokens": "10"}, "max_tokens"),
        ({"model": None}, "model"),
        ({"tools": {}}, "tools"),
        ({"tools": ["x"]}, "tools.0"),
        ({"tool_choice": "auto"}, "tool_choice"),
    ],
)
def test_a_request_that_is_none_names_the_place(change: dict[str, Any], field: str) -> None:
    body = {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "x"}], **change}
    with pytest.raises(InvalidValue) as caught:
        from_anthropic_request(body)
    assert caught.value.field == field


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "text", "source", "content", "role", "id", "name", "input", "signature", "thinking"]
            ),
            inner
            | st.sampled_from(
                ["text", "image", "document", "tool_use", "tool_result", "thinking", "user", "assistant"]
            ),
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.lists(JSON, max_size=3), JSON, JSON, JSON)
def test_nonsense_is_refused_and_breaks_nothing(messages: list[Any], system: Any, tools: Any, choice: Any) -> None:
    body = {
        "model": "m",
        "max_tokens": 1,
        "messages": messages,
        "system": system,
        "tools": tools,
        "tool_choice": choice,
    }
    try:
        turned = from_anthropic_request(body)
    except InvalidValue:
        return
    assert kind_of_failure(turned) in (None, "refused")


def kind_of_failure(body: dict[str, Any]) -> str | None:
    try:
        to_anthropic_request(body, NEW)
    except ProviderFailure as failure:
        return failure.kind
    return None


@given(JSON, JSON, JSON)
def test_nonsense_of_a_caller_in_openais_shape_is_refused_too(content: Any, calls: Any, tools: Any) -> None:
    said = {"role": "assistant", "content": content, "tool_calls": calls}
    body = ask({"role": "user", "content": content}, said, {"role": "tool", "content": content}, tools=tools)
    assert kind_of_failure(body) in (None, "refused")


TEXTS = st.text(alphabet=st.characters(codec="utf-8"), min_size=1, max_size=20).filter(
    lambda text: text.strip() == text
)
PARTS = st.one_of(
    st.builds(lambda text: {"type": "text", "text": text}, TEXTS),
    st.builds(
        lambda raw: {
            "type": "image_url",
            "image_url": {"url": f"data:image/png;base64,{base64.b64encode(raw).decode()}"},
        },
        st.binary(min_size=1, max_size=10),
    ),
    st.just({"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}),
)


@st.composite
def threads(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Whole threads: a question, then answers, loops of tools, and further questions."""
    thread: list[dict[str, Any]] = []
    if draw(st.booleans()):
        thread.append({"role": "system", "content": draw(TEXTS)})
    number = 0
    for _ in range(draw(st.integers(1, 3))):
        thread.append({"role": "user", "content": draw(TEXTS | st.lists(PARTS, min_size=2, max_size=3))})
        if draw(st.booleans()):
            numbers = range(number, number + draw(st.integers(1, 3)))
            number += 3
            text = draw(st.none() | TEXTS)
            arguments = [orjson.dumps(draw(st.dictionaries(TEXTS, TEXTS, max_size=2))).decode() for _ in numbers]
            asked = [
                {"id": f"call_{at}", "type": "function", "function": {"name": "f", "arguments": given}}
                for at, given in zip(numbers, arguments, strict=True)
            ]
            thread.append({"role": "assistant", "content": text, "tool_calls": asked})
            thread.extend({"role": "tool", "tool_call_id": f"call_{at}", "content": draw(TEXTS)} for at in numbers)
        thread.append({"role": "assistant", "content": draw(TEXTS)})
    return thread


@given(threads())
def test_a_thread_comes_back_from_anthropics_format_as_it_was(thread: list[dict[str, Any]]) -> None:
    sent = to_anthropic_request(ask(*thread, max_tokens=5), NEW)
    assert from_anthropic_request(sent)["messages"] == thread


@given(threads())
def test_turns_alternate_and_every_call_is_answered_in_the_next(thread: list[dict[str, Any]]) -> None:
    turns = to_anthropic_request(ask(*thread), NEW)["messages"]
    assert turns[0]["role"] == "user"
    for before, after in itertools.pairwise(turns):
        assert before["role"] != after["role"]
        if isinstance(before["content"], list):
            asked = [block["id"] for block in before["content"] if block["type"] == "tool_use"]
            content = after["content"] if isinstance(after["content"], list) else []
            answered = [block["tool_use_id"] for block in content if block["type"] == "tool_result"]
            assert asked == answered or not asked
