"""Gemini's format and OpenAI's shape: requests, schemas, answers, streams, tokens."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.call.providers.gemini_answer import GeminiDecoder, from_gemini_answer, read_gemini_usage
from gateway.call.providers.gemini_request import NO_SIGNATURE, to_gemini_request
from gateway.call.providers.gemini_schema import gemini_schema
from gateway.call.providers.wire import Piece, Provider, ProviderFailure
from gateway.usage import Usage

PROVIDER = Provider("gemini", "gemini", "https://generativelanguage.googleapis.com")
MODEL = "gemini-3-pro"
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {"type": "function", "function": {"name": "weather", "description": "Of a city.", "parameters": PARAMETERS}}


def ask(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"model": "auto", "messages": list(messages) or [{"role": "user", "content": "hi"}], **more}


def called(number: str, city: str = "Rome") -> dict[str, Any]:
    function = {"name": "weather", "arguments": orjson.dumps({"city": city}).decode()}
    return {"id": number, "type": "function", "function": function}


def test_a_request_in_full() -> None:
    body = ask(
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "See"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                {"type": "image_url", "image_url": {"url": "https://example.org/a.webp?x=1"}},
                {"type": "input_audio", "input_audio": {"data": "BBBB", "format": "mp3"}},
                {"type": "file", "file": {"file_data": "data:application/pdf;base64,CCCC"}},
            ],
        },
        {"role": "assistant", "content": "Hm.", "tool_calls": [called("a"), called("b", "Oslo")]},
        {"role": "tool", "tool_call_id": "a", "content": '{"sky": "blue"}'},
        {"role": "tool", "tool_call_id": "b", "content": "rain", "is_error": True},
        {"role": "user", "content": "So?"},
        temperature=1.5,
        top_p=0.9,
        max_tokens=50,
        stop="END",
        n=2,
        seed=7,
        presence_penalty=0.1,
        tools=[TOOL],
        tool_choice={"type": "function", "function": {"name": "weather"}},
        reasoning_effort="low",
    )
    assert to_gemini_request(body, MODEL) == {
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "contents": [
            {
                "role": "user",
                "parts": [
                    {"text": "See"},
                    {"inlineData": {"mimeType": "image/png", "data": "AAAA"}},
                    {"fileData": {"fileUri": "https://example.org/a.webp?x=1", "mimeType": "image/webp"}},
                    {"inlineData": {"mimeType": "audio/mp3", "data": "BBBB"}},
                    {"inlineData": {"mimeType": "application/pdf", "data": "CCCC"}},
                ],
            },
            {
                "role": "model",
                "parts": [
                    {"text": "Hm."},
                    {
                        "functionCall": {"name": "weather", "args": {"city": "Rome"}, "id": "a"},
                        "thoughtSignature": NO_SIGNATURE,
                    },
                    {"functionCall": {"name": "weather", "args": {"city": "Oslo"}, "id": "b"}},
                ],
            },
            {
                "role": "user",
                "parts": [
                    {"functionResponse": {"name": "weather", "id": "a", "response": {"sky": "blue"}}},
                    {"functionResponse": {"name": "weather", "id": "b", "response": {"error": "rain"}}},
                    {"text": "So?"},
                ],
            },
        ],
        "generationConfig": {
            "temperature": 1.5,
            "topP": 0.9,
            "maxOutputTokens": 50,
            "stopSequences": ["END"],
            "candidateCount": 2,
            "seed": 7,
            "presencePenalty": 0.1,
            "thinkingConfig": {"thinkingLevel": "low", "includeThoughts": True},
        },
        "tools": [
            {"functionDeclarations": [{"name": "weather", "description": "Of a city.", "parameters": PARAMETERS}]}
        ],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["weather"]}},
    }


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("auto", {"mode": "AUTO"}),
        ("none", {"mode": "NONE"}),
        ("required", {"mode": "ANY"}),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [TOOL]}},
            {"mode": "VALIDATED", "allowedFunctionNames": ["weather"]},
        ),
    ],
)
def test_the_choice_among_tools(asked: Any, expected: dict[str, Any]) -> None:
    sent = to_gemini_request(ask(tools=[TOOL], tool_choice=asked), MODEL)
    assert sent["toolConfig"] == {"functionCallingConfig": expected}


def test_json_is_asked_for_where_it_can_be_had_beside_tools() -> None:
    asked = {"type": "json_schema", "json_schema": {"name": "x", "schema": PARAMETERS}}
    alone = to_gemini_request(ask(response_format=asked), "gemini-2.5-flash")["generationConfig"]
    assert alone == {"responseMimeType": "application/json", "responseSchema": PARAMETERS}
    old = to_gemini_request(ask(response_format=asked, tools=[TOOL]), "gemini-2.5-flash")
    assert "generationConfig" not in old
    assert "JSON" in old["systemInstruction"]["parts"][0]["text"]
    new = to_gemini_request(ask(response_format={"type": "json_object"}, tools=[TOOL]), MODEL)
    assert new["generationConfig"] == {"responseMimeType": "application/json"}


@pytest.mark.parametrize(
    ("model", "effort", "expected"),
    [
        ("gemini-2.5-pro", "high", {"thinkingBudget": 24_576, "includeThoughts": True}),
        ("gemini-2.5-flash", "none", {"thinkingBudget": 0, "includeThoughts": False}),
        ("gemini-3-flash", "minimal", {"thinkingLevel": "minimal", "includeThoughts": True}),
        ("gemini-2.0-flash", "high", None),
        ("gemini-3-pro", "enormous", None),
    ],
)
def test_effort_is_said_as_the_generation_knows_it(model: str, effort: str, expected: Any) -> None:
    settings = to_gemini_request(ask(reasoning_effort=effort), model).get("generationConfig", {})
    assert settings.get("thinkingConfig") == expected


def test_signatures_stand_where_they_stood() -> None:
    blocks = [
        {"provider": "gemini", "type": "thought_signature", "signature": "AAAA", "tool_call_id": "a"},
        {"provider": "gemini", "type": "thought_signature", "signature": "BBBB"},
    ]
    said = {"role": "assistant", "content": "Hm.", "tool_calls": [called("a"), called("b")], "reasoning_blocks": blocks}
    parts = to_gemini_request(ask({"role": "user", "content": "x"}, said), MODEL)["contents"][1]["parts"]
    assert [part.get("thoughtSignature") for part in parts] == ["BBBB", "AAAA", None]
    foreign = {**said, "reasoning_blocks": [{**block, "provider": "anthropic"} for block in blocks]}
    parts = to_gemini_request(ask({"role": "user", "content": "x"}, foreign), MODEL)["contents"][1]["parts"]
    assert [part.get("thoughtSignature") for part in parts] == [None, NO_SIGNATURE, None]
    parts = to_gemini_request(ask({"role": "user", "content": "x"}, foreign), "gemini-2.5-pro")["contents"][1]["parts"]
    assert not any("thoughtSignature" in part for part in parts), "older models check none"


def test_turns_are_what_gemini_demands_of_them() -> None:
    alone = to_gemini_request(ask({"role": "system", "content": "only"}), MODEL)
    assert alone == {"contents": [{"role": "user", "parts": [{"text": "only"}]}]}
    begun = to_gemini_request(ask({"role": "assistant", "content": "x"}, {"role": "user", "content": "y"}), MODEL)
    assert [turn["role"] for turn in begun["contents"]] == ["user", "model", "user"]


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (PARAMETERS, PARAMETERS),
        ({"type": "object", "properties": {}}, None),
        ({}, None),
        (None, None),
        ({"type": ["string", "null"], "minLength": 1}, {"type": "string", "nullable": True, "minLength": 1}),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, {"type": "string", "nullable": True}),
        ({"oneOf": [{"type": "string"}, {"type": "integer"}]}, {"anyOf": [{"type": "string"}, {"type": "integer"}]}),
        ({"const": "a"}, {"type": "string", "enum": ["a"]}),
        ({"enum": ["a", "b", None]}, {"type": "string", "enum": ["a", "b"], "nullable": True}),
        ({"enum": [1, 2], "description": "Size."}, {"type": "integer", "description": "Size. One of: 1, 2."}),
        ({"type": "string", "format": "date-time"}, {"type": "string", "format": "date-time"}),
        ({"type": "string", "format": "uri"}, {"type": "string"}),
        ({"type": "array"}, {"type": "array", "items": {"type": "string"}}),
        ({"items": {"type": "integer"}}, {"type": "array", "items": {"type": "integer"}}),
        (
            {
                "$schema": "x", "type": "object", "additionalProperties": False, "required": ["a", "gone"],
                "properties": {"a": {"$ref": "#/$defs/A", "description": "An a."}}, "$defs": {"A": {"type": "number"}},
            },
            {"type": "object", "required": ["a"], "properties": {"a": {"type": "number", "description": "An a."}}},
        ),
        (
            {
                "allOf": [
                    {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
                    {"properties": {"b": {"type": "integer"}}},
                ]
            },
            {
                "type": "object", "required": ["a"],
                "properties": {"a": {"type": "string"}, "b": {"type": "integer"}},
            },
        ),
    ],
)  # fmt: skip
def test_schemas_in_the_subset(schema: Any, expected: Any) -> None:
    assert gemini_schema(schema) == expected


def test_a_schema_that_refers_to_itself_ends() -> None:
    tree = {"type": "object", "properties": {"child": {"$ref": "#"}, "name": {"type": "string"}}}
    cleaned = gemini_schema(tree)
    assert cleaned is not None
    assert "$ref" not in orjson.dumps(cleaned).decode()
    assert gemini_schema({"$ref": "#"}) is None


WORDS = st.sampled_from(
    [
        "type",
        "properties",
        "items",
        "anyOf",
        "allOf",
        "oneOf",
        "enum",
        "const",
        "$ref",
        "required",
        "format",
        "$defs",
        "a",
    ]
)
SCHEMAS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(["object", "array", "string", "null", "#/a", "#/$defs/a"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=15,
)


@given(SCHEMAS)
def test_no_schema_breaks_the_cleaning(schema: Any) -> None:
    cleaned = gemini_schema(schema)
    if cleaned is not None:
        assert not {"$ref", "oneOf", "allOf", "const", "additionalProperties"} & keywords(cleaned)


def keywords(schema: Any) -> set[str]:
    """Every key that is a word of the schema, not the name of a property."""
    if not isinstance(schema, dict):
        return set()
    found = set(schema)
    for inner in schema.get("anyOf", ()):
        found |= keywords(inner)
    for inner in (schema.get("items"), *(schema.get("properties") or {}).values()):
        found |= keywords(inner)
    return found


TOLD = {
    "promptTokenCount": 1000,
    "cachedContentTokenCount": 800,
    "candidatesTokenCount": 60,
    "thoughtsTokenCount": 40,
    "totalTokenCount": 1100,
    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 900}, {"modality": "AUDIO", "tokenCount": 100}],
    "candidatesTokensDetails": [{"modality": "AUDIO", "tokenCount": 20}],
}


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (TOLD, Usage(1000, 800, 0, 100, 40, 100, 20)),
        ({"promptTokenCount": 5, "toolUsePromptTokenCount": 7, "candidatesTokenCount": 1}, Usage(12, output=1)),
        ({"promptTokenCount": 5, "thoughtsTokenCount": 3, "totalTokenCount": 8}, Usage(5, output=3, reasoning=3)),
        ({"promptTokenCount": 5, "totalTokenCount": 9}, Usage(5, output=4)),
        ({"promptTokenCount": "x"}, Usage()),
        (None, None),
    ],
)
def test_usage(told: Any, expected: Usage | None) -> None:
    assert read_gemini_usage(told) == expected


def candidate(*parts: dict[str, Any], reason: str | None = "STOP", **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}, **more}
    if reason is not None:
        found["finishReason"] = reason
    return found


THOUGHT = {"text": "Hm, ", "thought": True}
CALL = {"functionCall": {"name": "weather", "args": {"city": "Rome"}, "id": "fc1"}, "thoughtSignature": "AAAA"}


def test_an_answer_in_full() -> None:
    body = {
        "candidates": [candidate(THOUGHT, {"text": "Sunny."}, CALL)],
        "usageMetadata": TOLD,
        "modelVersion": "gemini-3-pro-001",
        "responseId": "r1",
    }
    answer, usage = from_gemini_answer(PROVIDER, body, MODEL)
    assert usage == Usage(1000, 800, 0, 100, 40, 100, 20)
    assert answer["usage"]["completion_tokens"] == 100
    assert (answer["id"], answer["model"]) == ("chatcmpl-r1", "gemini-3-pro-001")
    assert answer["choices"] == [
        {
            "index": 0,
            "finish_reason": "tool_calls",
            "logprobs": None,
            "message": {
                "role": "assistant",
                "content": "Sunny.",
                "refusal": None,
                "reasoning_content": "Hm, ",
                "tool_calls": [called("fc1")],
                "reasoning_blocks": [
                    {"provider": "gemini", "type": "thought_signature", "signature": "AAAA", "tool_call_id": "fc1"}
                ],
            },
        }
    ]


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("STOP", "stop"), ("MAX_TOKENS", "length"), ("SAFETY", "content_filter"), ("RECITATION", "content_filter"),
        ("PROHIBITED_CONTENT", "content_filter"), ("OTHER", "stop"), ("SOMETHING_NEW", "stop"),
    ],
)  # fmt: skip
def test_why_an_answer_ended(reason: str, finish: str) -> None:
    answer, _ = from_gemini_answer(PROVIDER, {"candidates": [candidate({"text": "x"}, reason=reason)]}, MODEL)
    assert answer["choices"][0]["finish_reason"] == finish


def test_a_blocked_prompt_is_a_refusal_not_an_error() -> None:
    body = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": {"promptTokenCount": 9}}
    answer, usage = from_gemini_answer(PROVIDER, body, MODEL)
    assert answer["choices"][0]["finish_reason"] == "content_filter"
    assert "PROHIBITED_CONTENT" in answer["choices"][0]["message"]["refusal"]
    assert usage == Usage(9)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({}, "malformed"),
        ({"candidates": []}, "malformed"),
        ({"error": {"code": 503, "status": "UNAVAILABLE", "message": "overloaded"}}, "overloaded"),
        ({"candidates": [candidate(reason="MALFORMED_FUNCTION_CALL")]}, "malformed"),
    ],
)
def test_an_answer_that_is_none_is_a_failure(body: dict[str, Any], kind: str) -> None:
    with pytest.raises(ProviderFailure) as caught:
        from_gemini_answer(PROVIDER, body, MODEL)
    assert caught.value.kind == kind


def test_pictures_and_code_are_shown() -> None:
    parts = (
        {"inlineData": {"mimeType": "image/png", "data": "AAAA"}},
        {"executableCode": {"language": "PYTHON", "code": "print(1)"}},
        {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}},
    )
    message = from_gemini_answer(PROVIDER, {"candidates": [candidate(*parts)]}, MODEL)[0]["choices"][0]["message"]
    assert message["images"] == [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]
    assert "```python\nprint(1)\n```" in message["content"]


def decode(*bodies: dict[str, Any], wanted: bool = False) -> list[Piece]:
    decoder = GeminiDecoder(PROVIDER, MODEL, "gemini", wanted)
    pieces = [piece for body in bodies for piece in decoder.event("", orjson.dumps(body))]
    return [*pieces, *decoder.finish()]


def test_a_stream_in_full() -> None:
    other = {"functionCall": {"name": "now", "args": {}}}
    pieces = decode(
        {
            "candidates": [candidate(THOUGHT, reason=None)],
            "responseId": "r1",
            "usageMetadata": {"promptTokenCount": 1000},
        },
        {"candidates": [candidate({"text": "Sun"}, reason=None)], "responseId": "r1"},
        {"candidates": [candidate({"text": "ny."}, CALL, reason=None)], "responseId": "r1"},
        {"candidates": [candidate(other)], "responseId": "r1", "usageMetadata": TOLD},
        wanted=True,
    )
    chunks = [piece.chunk for piece in pieces if piece.chunk]
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks if chunk["choices"]]
    assert deltas[0]["role"] == "assistant"
    assert "".join(delta.get("content") or "" for delta in deltas) == "Sunny."
    assert "".join(delta.get("reasoning_content") or "" for delta in deltas) == "Hm, "
    calls = [call for delta in deltas for call in delta.get("tool_calls") or ()]
    assert [(call["index"], call["function"]["name"]) for call in calls] == [(0, "weather"), (1, "now")]
    assert calls[1]["id"].startswith("call_")
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks[:-1]] == [None, None, None, "tool_calls"]
    assert {chunk["id"] for chunk in chunks} == {"chatcmpl-r1"}
    assert chunks[-1]["usage"]["total_tokens"] == 1100
    assert [piece.usage for piece in pieces if piece.usage][-1] == Usage(1000, 800, 0, 100, 40, 100, 20)


@pytest.mark.parametrize(
    ("bodies", "kind"),
    [
        ([{"candidates": [candidate({"text": "x"})]}], None),
        ([{"candidates": [candidate({"text": "x"}, reason=None)]}], "closed"),
        ([], "closed"),
        ([{"promptFeedback": {"blockReason": "SAFETY"}}], None),
        ([{"candidates": [candidate({"text": "x"}, reason=None)]}, {"error": {"code": 503, "message": "x"}}], "server"),
        ([{"candidates": [candidate(reason="MALFORMED_FUNCTION_CALL")]}], "malformed"),
        ([{"candidates": [candidate({"text": "x"})]}, {"usageMetadata": TOLD}], None),
    ],
)
def test_how_a_stream_ends(bodies: list[dict[str, Any]], kind: str | None) -> None:
    if kind is None:
        assert decode(*bodies)
        return
    with pytest.raises(ProviderFailure) as caught:
        decode(*bodies)
    assert caught.value.kind == kind


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["candidates", "content", "parts", "text", "functionCall", "finishReason", "usageMetadata", "type",
             "function", "image_url", "file", "index", "promptFeedback", "inlineData"]
        ),
        inner,
        max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@given(JSON, JSON)
def test_nonsense_is_a_failure_and_nothing_else(body: Any, more: Any) -> None:
    def kind(run: Any) -> str | None:
        try:
            run()
        except ProviderFailure as failure:
            return failure.kind
        return None

    wrapped = {"candidates": [body], "usageMetadata": more}
    assert kind(lambda: from_gemini_answer(PROVIDER, wrapped, MODEL)) in (None, "malformed")
    assert kind(lambda: decode(wrapped)) in (None, "closed", "malformed")
    said = {"role": "assistant", "content": body, "tool_calls": more}
    assert kind(lambda: to_gemini_request(ask({"role": "user", "content": more}, said, tools=body), MODEL)) in (
        None,
        "refused",
    )
