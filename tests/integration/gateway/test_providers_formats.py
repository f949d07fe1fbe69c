"""Every wire format over a real connection: what is sent where, with the key in its header, and what comes back."""

from __future__ import annotations

import asyncio
import base64
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import anthropic
import orjson
import pytest

from gateway.call.providers.anthropic import AnthropicEncoder
from gateway.call.providers.http import Http
from gateway.call.providers.wire import Answer, Piece, Provider, ProviderFailure, Wire
from gateway.call.providers.wires import WIRES, open_wires
from gateway.prompt import Prompt, Tenant
from gateway.usage import Usage
from tests.integration.gateway.providers_upstream import CHAT, EVENTS, KEY, Exchange, Script, Upstream, upstream

BODY = {"model": "auto", "messages": [{"role": "user", "content": "hi"}]}
MESSAGE = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-opus-5-5",
    "content": [{"type": "text", "text": "hi"}], "stop_reason": "end_turn", "stop_sequence": None,
    "usage": {"input_tokens": 3, "cache_read_input_tokens": 5, "output_tokens": 1},
    "some_new_field": {"kept": True},
}  # fmt: skip
GENERATED = {
    "candidates": [{"content": {"role": "model", "parts": [{"text": "hi"}]}, "finishReason": "STOP", "index": 0}],
    "usageMetadata": {"promptTokenCount": 8, "cachedContentTokenCount": 5, "candidatesTokenCount": 1},
    "responseId": "r1",
}  # fmt: skip
WHOLE = {"openai": CHAT, "anthropic": MESSAGE, "gemini": GENERATED}
PATHS = {
    "openai": "/v1/chat/completions",
    "anthropic": "/v1/messages",
    "gemini": "/v1beta/models/some-model:generateContent",
}
KEYS = {
    "openai": ("authorization", f"Bearer {KEY}"),
    "anthropic": ("x-api-key", KEY),
    "gemini": ("x-goog-api-key", KEY),
}


def prompt(body: dict[str, Any] | None = None, **more: Any) -> Prompt:
    return Prompt("1" * 32, Tenant(), "chat", "acme/some-model", BODY if body is None else body, **more)


def provider(server: Upstream, wire: str, **more: Any) -> Provider:
    path = {"openai": "/v1", "anthropic": "/v1", "gemini": "/v1beta"}[wire]
    given: dict[str, Any] = {"base_url": server.url + path, "key": KEY, "local": True, **more}
    return Provider("acme", wire, **given)


def run(
    script: Script, wire: str, ask: Callable[[Wire, Provider], Awaitable[Any]], **more: Any
) -> tuple[Any, Upstream]:
    async def scenario() -> tuple[Any, Upstream]:
        http = Http()
        async with upstream(script) as server:
            try:
                return await ask(open_wires(http)[wire], provider(server, wire, **more)), server
            finally:
                await http.close()

    return asyncio.run(scenario())


def answering(body: Any) -> Script:
    async def answers(exchange: Exchange) -> None:
        await exchange.answer(body)

    return answers


def streaming(*events: Any) -> Script:
    async def streams(exchange: Exchange) -> None:
        await exchange.send(EVENTS)
        await exchange.events(*events)

    return streams


async def gather(wire: Wire, asked: Provider, given: Prompt) -> list[Piece]:
    async with wire.stream(asked, "some-model", given, 5.0) as answer:
        return [piece async for piece in answer]


@pytest.mark.parametrize("wire", WIRES)
def test_a_whole_answer(wire: str) -> None:
    async def ask(spoken: Wire, asked: Provider) -> Answer:
        return await spoken.complete(asked, "some-model", prompt(), 5.0)

    answer, server = run(answering(WHOLE[wire]), wire, ask, headers={"X-Team": "blue"})
    seen = server.seen[0]
    assert (seen.method, seen.path) == ("POST", PATHS[wire])
    name, value = KEYS[wire]
    assert seen.headers[name] == value
    assert KEY not in seen.path + seen.body.decode()
    assert seen.headers["x-team"] == "blue"
    assert seen.headers["content-type"] == "application/json"
    assert "stream" not in seen.json
    assert answer.finish_reason == "stop"
    assert answer.body["choices"][0]["message"]["content"] == "hi"
    assert answer.body["object"] == "chat.completion"
    assert answer.usage == (Usage(3, output=1) if wire == "openai" else Usage(8, 5, output=1))
    assert answer.native is None
    assert answer.body["usage"]["prompt_tokens"] == answer.usage.input


STREAMS: dict[str, list[Any]] = {
    "openai": [
        {"id": "c", "choices": [{"index": 0, "delta": {"role": "assistant", "content": "h"}, "finish_reason": None}]},
        {"id": "c", "choices": [{"index": 0, "delta": {"content": "i"}, "finish_reason": "stop"}]},
        {"id": "c", "choices": [], "usage": {"prompt_tokens": 8, "completion_tokens": 1, "prompt_cache_hit_tokens": 5}},
        b"data: [DONE]\n\n",
    ],
    "anthropic": [
        b"event: %s\ndata: %s\n\n" % (event["type"].encode(), orjson.dumps(event))
        for event in (
            {"type": "message_start", "message": {**MESSAGE, "content": [], "stop_reason": None}},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "ping"},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "h"}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "i"}},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}},
            {"type": "message_stop"},
        )
    ],
    "gemini": [
        {"candidates": [{"content": {"parts": [{"text": "h"}]}}], "usageMetadata": {"promptTokenCount": 8}},
        {**GENERATED, "candidates": [{"content": {"parts": [{"text": "i"}]}, "finishReason": "STOP"}]},
    ],
}  # fmt: skip


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("wanted", [False, True])
def test_a_streamed_answer(wire: str, wanted: bool) -> None:
    given = prompt(
        {**BODY, "stream": True, **({"stream_options": {"include_usage": True}} if wanted else {})}, stream=True
    )

    async def ask(spoken: Wire, asked: Provider) -> list[Piece]:
        return await gather(spoken, asked, given)

    pieces, server = run(streaming(*STREAMS[wire]), wire, ask)
    seen = server.seen[0]
    if wire == "gemini":
        assert seen.path == "/v1beta/models/some-model:streamGenerateContent?alt=sse"
    else:
        assert seen.json["stream"] is True
    if wire == "openai":
        assert seen.json["stream_options"] == {"include_usage": True}
    chunks = [piece.chunk for piece in pieces if piece.chunk]
    deltas = [choice for chunk in chunks for choice in chunk["choices"]]
    assert "".join(choice["delta"].get("content") or "" for choice in deltas) == "hi"
    assert deltas[-1]["finish_reason"] == "stop"
    assert [piece.usage for piece in pieces if piece.usage][-1] == Usage(8, 5, output=1)
    told = [chunk for chunk in chunks if not chunk["choices"]]
    assert len(told) == int(wanted), "the chunk with usage alone comes when it was asked for"
    assert all(chunk["usage"]["prompt_tokens"] == 8 for chunk in told)


@pytest.mark.parametrize(
    ("wire", "body", "path"),
    [
        ("openai", {"object": "list", "data": [{"id": "a"}, {"id": "b"}]}, "/v1/models"),
        ("openai", [{"id": "a"}, {"id": "b"}], "/v1/models"),
        (
            "anthropic",
            {"data": [{"id": "a", "type": "model"}, {"id": "b"}], "has_more": False},
            "/v1/models?limit=1000",
        ),
        ("gemini", {"models": [{"name": "models/a"}, {"name": "models/b"}]}, "/v1beta/models?pageSize=1000"),
    ],
)
def test_the_models_on_offer(wire: str, body: Any, path: str) -> None:
    async def ask(spoken: Wire, asked: Provider) -> list[str]:
        return await spoken.models(asked, 5.0)

    names, server = run(answering(body), wire, ask)
    assert names == ["a", "b"]
    assert (server.seen[0].method, server.seen[0].path) == ("GET", path)
    with pytest.raises(ProviderFailure) as caught:
        run(answering({"x": 1}), wire, ask)
    assert caught.value.kind == "malformed"


def test_embeddings_of_openai_go_through() -> None:
    body = {
        "object": "list",
        "data": [{"embedding": [0.1], "index": 0}],
        "usage": {"prompt_tokens": 2, "total_tokens": 2},
    }

    async def ask(spoken: Wire, asked: Provider) -> Answer:
        return await spoken.embed(asked, "some-model", prompt({"model": "x", "input": "hi", "dimensions": 1}), 5.0)

    answer, server = run(answering(body), "openai", ask)
    assert server.seen[0].path == "/v1/embeddings"
    assert server.seen[0].json == {"model": "some-model", "input": "hi", "dimensions": 1}
    assert answer.body == body
    assert answer.usage == Usage(2)


def test_embeddings_of_gemini_look_like_openais() -> None:
    body = {"embeddings": [{"values": [0.5, -1.0]}, {"values": [0.25, 2.0]}], "usageMetadata": {"promptTokenCount": 4}}

    def asking(given: dict[str, Any]) -> Callable[[Wire, Provider], Awaitable[Answer]]:
        async def ask(spoken: Wire, asked: Provider) -> Answer:
            return await spoken.embed(asked, "some-model", prompt(given), 5.0)

        return ask

    answer, server = run(answering(body), "gemini", asking({"input": ["a", "b"], "dimensions": 2}))
    assert server.seen[0].path == "/v1beta/models/some-model:batchEmbedContents"
    assert server.seen[0].json["requests"][1] == {
        "model": "models/some-model", "outputDimensionality": 2, "content": {"parts": [{"text": "b"}]},
    }  # fmt: skip
    assert [found["embedding"] for found in answer.body["data"]] == [[0.5, -1.0], [0.25, 2.0]]
    assert answer.usage == Usage(4)
    packed, _ = run(answering(body), "gemini", asking({"input": ["a", "b"], "encoding_format": "base64"}))
    raw = base64.b64decode(packed.body["data"][0]["embedding"])
    assert struct.unpack("<2f", raw) == (0.5, -1.0)
    for wrong in ([1, 2], [[1]], [], None, ["x"] * 101):
        with pytest.raises(ProviderFailure) as caught:
            run(answering(body), "gemini", asking({"input": wrong}))
        assert (caught.value.kind, caught.value.sent) == ("refused", False)
    with pytest.raises(ProviderFailure) as caught:
        run(answering(body), "gemini", asking({"input": "one text, two embeddings"}))
    assert caught.value.kind == "malformed"


def test_anthropic_has_no_embeddings() -> None:
    async def ask(spoken: Wire, asked: Provider) -> Answer:
        return await spoken.embed(asked, "some-model", prompt({"input": "hi"}), 5.0)

    with pytest.raises(ProviderFailure) as caught:
        run(answering({}), "anthropic", ask)
    assert (caught.value.kind, caught.value.sent) == ("unknown_model", False)


NATIVE = {
    "model": "auto",
    "max_tokens": 10,
    "stream": True,
    "some_beta_field": [1],
    "messages": [
        {"role": "user", "content": "hi"},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "mine", "signature": "c2ln"},
                {"type": "thinking", "thinking": "not mine", "signature": "merit.deepseek:"},
                {"type": "text", "text": "hello", "citations": None},
            ],
        },
        {"role": "user", "content": [{"type": "text", "text": "go on", "cache_control": {"type": "ephemeral"}}]},
    ],
}


def test_a_caller_of_anthropics_format_gets_through_untouched() -> None:
    given = prompt(wire="anthropic", native=NATIVE)

    async def ask(spoken: Wire, asked: Provider) -> Answer:
        return await spoken.complete(asked, "some-model", given, 5.0)

    answer, server = run(answering(MESSAGE), "anthropic", ask)
    marked = {**MESSAGE}
    assert answer.native == marked
    sent = server.seen[0].json
    kept = [block for block in NATIVE["messages"][1]["content"] if block.get("thinking") is None]  # type: ignore[index]
    assert sent["messages"][1]["content"] == kept, "to `acme` all of this thinking is foreign"
    assert {key: sent[key] for key in sent if key not in ("messages", "model")} == {
        "max_tokens": 10,
        "some_beta_field": [1],
    }
    assert sent["model"] == "some-model"
    assert server.seen[0].headers["anthropic-version"] == "2023-06-01"

    async def own(spoken: Wire, asked: Provider) -> Answer:
        named = Provider("anthropic", "anthropic", asked.base_url, key=KEY, local=True)
        return await spoken.complete(named, "some-model", given, 5.0)

    _, server = run(answering(MESSAGE), "anthropic", own)
    content = server.seen[0].json["messages"][1]["content"]
    assert [block.get("thinking") for block in content] == ["mine", None], "its own stays as it was signed"

    async def streamed(spoken: Wire, asked: Provider) -> list[Piece]:
        return await gather(spoken, asked, given)

    pieces, server = run(streaming(*STREAMS["anthropic"]), "anthropic", streamed)
    assert server.seen[0].json["stream"] is True
    raw = b"".join(
        b"event: %s\ndata: %s\n\n" % (name.encode(), orjson.dumps(event))
        for piece in pieces
        for name, event in piece.native
    )
    assert raw == b"".join(STREAMS["anthropic"])


def test_the_version_of_the_format_can_be_configured() -> None:
    async def ask(spoken: Wire, asked: Provider) -> Answer:
        return await spoken.complete(asked, "some-model", prompt(), 5.0)

    _, server = run(answering(MESSAGE), "anthropic", ask, headers={"anthropic-version": "2026-10-21"})
    assert server.seen[0].headers["anthropic-version"] == "2026-10-21"


@pytest.mark.parametrize("wire", WIRES)
def test_anthropics_own_client_reads_the_stream_of_every_format(wire: str) -> None:
    """Chunks of each provider, encoded as events, put together by the official client."""

    async def pieces(spoken: Wire, asked: Provider) -> list[Piece]:
        return await gather(spoken, asked, prompt({**BODY, "stream": True}))

    found, _ = run(streaming(*STREAMS[wire]), wire, pieces)
    encoder = AnthropicEncoder("claude-like", input_tokens=7)
    events = [event for piece in found for event in encoder.encode(piece)] + encoder.finish()

    async def serves(exchange: Exchange) -> None:
        await exchange.send(EVENTS)
        await exchange.events(
            *[b"event: %s\ndata: %s\n\n" % (name.encode(), orjson.dumps(event)) for name, event in events]
        )

    async def scenario() -> None:
        async with upstream(serves) as server, anthropic.AsyncAnthropic(api_key="x", base_url=server.url) as client:
            turn: Any = {"role": "user", "content": "hi"}
            async with client.messages.stream(model="claude-like", max_tokens=5, messages=[turn]) as stream:
                message = await stream.get_final_message()
        assert [block.text for block in message.content if block.type == "text"] == ["hi"]
        assert message.stop_reason == "end_turn"
        assert (message.usage.input_tokens, message.usage.cache_read_input_tokens) == (3, 5)
        assert message.usage.output_tokens == 1

    asyncio.run(scenario())


def test_a_thread_survives_a_switch_to_every_provider() -> None:
    """One thread, answered by each provider in turn with reasoning and a call of a tool, goes to each of the others."""
    call = {"id": "functions.look:0", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    by_openai = {"role": "assistant", "content": None, "reasoning_content": "hm", "tool_calls": [call]}
    thinking = {"type": "thinking", "thinking": "hm", "signature": "c2ln"}
    answers: dict[str, Any] = {
        "openai": {"choices": [{"index": 0, "message": by_openai, "finish_reason": "tool_calls"}]},
        "anthropic": {
            **MESSAGE,
            "content": [thinking, {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}],
            "stop_reason": "tool_use",
        },
        "gemini": {
            "candidates": [
                {
                    "content": {"parts": [{"functionCall": {"name": "look", "args": {}}, "thoughtSignature": "AAAA"}]},
                    "finishReason": "STOP",
                }
            ]
        },
    }

    async def scenario() -> None:
        http = Http()
        wires = open_wires(http)
        answering_now: Any = None

        async def script(exchange: Exchange) -> None:
            await exchange.answer(answering_now)

        async with upstream(script) as server:
            asked = {wire: Provider(wire, wire, server.url + "/v1", key=KEY, local=True) for wire in WIRES}
            thread: list[dict[str, Any]] = [{"role": "user", "content": "look"}]
            for wire in ("openai", "anthropic", "gemini", "openai", "gemini", "anthropic"):
                answering_now = answers[wire]
                given = prompt({"messages": thread, "tools": [{"type": "function", "function": {"name": "look"}}]})
                answer = await wires[wire].complete(asked[wire], "gemini-3-pro", given, 5.0)
                sent = server.seen[-1].body.decode()
                for other, secret in (("anthropic", "c2ln"), ("gemini", "AAAA"), ("openai", '"reasoning_content"')):
                    before = any(
                        block["provider"] == other for said in thread for block in said.get("reasoning_blocks") or ()
                    )
                    assert (secret in sent) == (before and other == wire), (wire, other)
                message = answer.body["choices"][0]["message"]
                assert message["reasoning_blocks"][0]["provider"] == wire
                result = {"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "seen"}
                thread += [message, result]
            await http.close()

    asyncio.run(scenario())
