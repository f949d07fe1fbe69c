"""OpenAI's format and its dialects: what goes out is what came in, and usage is counted once, wherever it is told."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.call.providers.endpoints import endpoint
from gateway.call.providers.http import Http, Opened
from gateway.call.providers.openai import ChunkDecoder, chat_body, read_answer
from gateway.call.providers.openai_quirks import Quirks, quirks_of
from gateway.call.providers.openai_usage import read_usage
from gateway.call.providers.streaming import PieceStream
from gateway.call.providers.wire import Piece, Provider, ProviderFailure
from gateway.prompt import Prompt, Tenant
from gateway.usage import Usage

PROVIDER = Provider("acme", "openai", "https://api.acme.example/v1", key="sk-acme-1234567890")


def prompt(body: dict[str, Any], **more: Any) -> Prompt:
    return Prompt("1" * 32, Tenant(), "chat", "auto", body, **more)


@pytest.mark.parametrize(
    ("who", "told", "expected"),
    [
        (
            "openai",
            {
                "prompt_tokens": 1200, "completion_tokens": 300, "total_tokens": 1500,
                "prompt_tokens_details": {"cached_tokens": 1024, "audio_tokens": 20, "cache_write_tokens": 64},
                "completion_tokens_details": {"reasoning_tokens": 192, "audio_tokens": 10},
            },
            Usage(1200, 1024, 64, 300, 192, 20, 10),
        ),
        ("plain", {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}, Usage(9, output=4)),
        (
            "deepseek",
            {
                "prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150, "prompt_cache_hit_tokens": 64,
                "prompt_cache_miss_tokens": 36, "completion_tokens_details": {"reasoning_tokens": 30},
            },
            Usage(100, 64, 0, 50, 30),
        ),
        ("moonshot", {"prompt_tokens": 9, "completion_tokens": 5, "cached_tokens": 8}, Usage(9, 8, 0, 5)),
        (
            "xai counts reasoning beside the completion",
            {
                "prompt_tokens": 37, "completion_tokens": 530, "total_tokens": 800,
                "completion_tokens_details": {"reasoning_tokens": 233},
            },
            Usage(37, output=763, reasoning=233),
        ),
        (
            "gemini's compatible API leaves thoughts out",
            {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 40},
            Usage(10, output=30, reasoning=25),
        ),
        (
            "cached tokens beside the prompt",
            {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 115, "cache_read_input_tokens": 100},
            Usage(110, 100, 0, 5),
        ),
        (
            "responses' names",
            {
                "input_tokens": 7, "output_tokens": 3, "input_tokens_details": {"cached_tokens": 2},
                "output_tokens_details": {"reasoning_tokens": 1},
            },
            Usage(7, 2, 0, 3, 1),
        ),
        ("embeddings", {"prompt_tokens": 8, "total_tokens": 8}, Usage(8)),
        ("nulls", {"prompt_tokens": 8, "completion_tokens": None, "prompt_tokens_details": None}, Usage(8)),
        ("floats and negatives", {"prompt_tokens": 8.0, "completion_tokens": -3}, Usage(8)),
        ("more cached than given", {"prompt_tokens": 5, "completion_tokens": 1, "cached_tokens": 9}, Usage(9, 9, 0, 1)),
        ("nothing", {}, None),
        ("null", None, None),
        ("words", {"prompt_tokens": "many"}, None),
    ],
)  # fmt: skip
def test_usage_of_each_dialect(who: str, told: Any, expected: Usage | None) -> None:
    assert read_usage(told) == expected


COUNTS = st.none() | st.integers(-5, 10**12) | st.floats(allow_nan=True) | st.text(max_size=3)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "prompt_tokens": COUNTS,
            "completion_tokens": COUNTS,
            "total_tokens": COUNTS,
            "cached_tokens": COUNTS,
            "reasoning_tokens": COUNTS,
            "prompt_tokens_details": st.fixed_dictionaries(
                {}, optional={"cached_tokens": COUNTS, "audio_tokens": COUNTS}
            ),
            "completion_tokens_details": st.fixed_dictionaries({}, optional={"reasoning_tokens": COUNTS}),
        },
    )
)
def test_parts_of_usage_are_never_more_than_the_whole(told: dict[str, Any]) -> None:
    usage = read_usage(told)
    if usage is not None:
        assert 0 <= usage.cached + usage.cache_write <= usage.input
        assert 0 <= usage.reasoning <= usage.output
        assert 0 <= usage.audio_input <= usage.input


def test_the_body_goes_out_as_it_came_but_for_the_model() -> None:
    body = {
        "model": "auto",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}, {"type": "weird", "x": 1}]}],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
        "max_tokens": 5,
        "some_new_field": {"deep": [1]},
    }
    before = orjson.dumps(body)
    sent = chat_body(prompt(body), "acme-large", "acme", Quirks())
    assert sent == {**body, "model": "acme-large"}
    assert sent["messages"] is body["messages"], "not even copied"
    assert orjson.dumps(body) == before


def test_a_whole_answer_is_never_asked_as_a_stream() -> None:
    body = {"messages": [], "stream": True, "stream_options": {"include_usage": True}}
    assert chat_body(prompt(body), "m", "acme", Quirks()) == {"messages": [], "model": "m"}


@pytest.mark.parametrize(
    ("host", "given", "expected"),
    [
        ("api.openai.com", {"max_tokens": 5}, {"max_completion_tokens": 5}),
        ("api.openai.com", {"max_tokens": 5, "max_completion_tokens": 7}, {"max_completion_tokens": 7}),
        ("api.mistral.ai", {"max_completion_tokens": 5}, {"max_tokens": 5}),
        ("api.acme.example", {"max_tokens": 5}, {"max_tokens": 5}),
        ("api.acme.example", {"max_completion_tokens": 5}, {"max_completion_tokens": 5}),
    ],
)
def test_the_limit_of_an_answer_has_the_name_its_provider_knows(
    host: str, given: dict[str, Any], expected: dict[str, Any]
) -> None:
    quirks = quirks_of(Provider("p", "openai", f"https://{host}/v1"))
    sent = chat_body(prompt({"messages": [], **given}), "m", "p", quirks)
    assert {key: value for key, value in sent.items() if "tokens" in key} == expected


def test_what_only_anthropic_knows_is_not_sent_to_others() -> None:
    marked = {"type": "text", "text": "long", "cache_control": {"type": "ephemeral"}}
    body = {
        "messages": [{"role": "user", "content": [marked]}],
        "tools": [{"type": "function", "function": {"name": "f"}, "cache_control": {"type": "ephemeral"}}],
        "top_k": 5,
        "thinking": {"type": "adaptive"},
    }
    sent = chat_body(prompt(body, wire="anthropic"), "m", "acme", Quirks())
    assert "cache_control" not in orjson.dumps(sent).decode()
    assert not {"top_k", "thinking"} & sent.keys()
    kept = chat_body(prompt(body, wire="anthropic"), "m", "acme", Quirks(cache_control=True))
    assert kept["messages"] == body["messages"]


ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    "provider": "Somebody",
}


def test_a_whole_answer_is_given_as_it_came() -> None:
    answer = read_answer(PROVIDER, "acme", orjson.dumps(ANSWER))
    assert answer.body == ANSWER
    assert answer.finish_reason == "stop"
    assert answer.usage == Usage(1, output=1)


def test_reasoning_is_marked_with_whose_it_is() -> None:
    message = {"role": "assistant", "content": "4", "reasoning_content": "2+2"}
    answer = read_answer(PROVIDER, "acme", orjson.dumps({"choices": [{"message": message, "finish_reason": "stop"}]}))
    said = answer.body["choices"][0]["message"]
    assert said == {**message, "reasoning_blocks": [{"provider": "acme", "type": "reasoning"}]}
    assert answer.usage is None


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (b"", "malformed"),
        (b"<html>", "malformed"),
        (b"[]", "malformed"),
        (b"{}", "malformed"),
        (b'{"choices": []}', "malformed"),
        (b'{"choices": [null]}', "malformed"),
        (b'{"error": {"message": "overloaded", "type": "overloaded_error"}}', "overloaded"),
        (b'{"object": "error", "message": "maximum context length", "code": 400}', "too_long"),
        (b'{"choices": [{"error": {"code": 502, "message": "upstream"}, "finish_reason": "error"}]}', "server"),
    ],
)
def test_an_answer_that_is_none_is_a_failure(raw: bytes, kind: str) -> None:
    with pytest.raises(ProviderFailure) as caught:
        read_answer(PROVIDER, "acme", raw)
    assert caught.value.kind == kind


class Cut(Opened):
    """A connection whose bytes are given, cut where the test says."""

    __slots__ = ("pieces",)

    def __init__(self, pieces: list[bytes]) -> None:
        super().__init__(Http(), endpoint(PROVIDER, "/x", {}), b"", 1.0)
        self.pieces = pieces

    async def read(self) -> bytes:
        while self.pieces:
            piece = self.pieces.pop(0)
            if piece:
                return piece
        return b""


def stream(raw: bytes, cuts: Sequence[int] = (), wanted: bool = False) -> tuple[list[Piece], ProviderFailure | None]:
    """The pieces of a stream, and what it failed with."""

    async def read() -> tuple[list[Piece], ProviderFailure | None]:
        places = [0, *sorted(cuts), len(raw)]
        opened = Cut([raw[start:end] for start, end in itertools.pairwise(places)])
        pieces: list[Piece] = []
        try:
            async for piece in PieceStream(opened, ChunkDecoder(PROVIDER, "acme", wanted)):
                pieces.append(piece)
        except ProviderFailure as failure:
            return pieces, failure
        return pieces, None

    return asyncio.run(read())


def frame(body: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(body) + b"\n\n"


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, index: int = 0, **more: Any) -> bytes:
    choice = {"index": index, "delta": delta or {}, "finish_reason": finish}
    return frame({"id": "c", "object": "chat.completion.chunk", "choices": [choice], **more})


USAGE = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
DONE = b"data: [DONE]\n\n"
TEXT = chunk({"role": "assistant", "content": "h\u00e4"}) + chunk({"content": "llo \U0001f600"})


def text(pieces: list[Piece]) -> str:
    chunks = [piece.chunk for piece in pieces if piece.chunk and piece.chunk["choices"]]
    return "".join(one["choices"][0]["delta"].get("content") or "" for one in chunks)


def last_usage(pieces: list[Piece]) -> Usage | None:
    return next((piece.usage for piece in reversed(pieces) if piece.usage is not None), None)


@pytest.mark.parametrize(
    ("where", "raw"),
    [
        ("late, alone", TEXT + chunk(finish="stop") + frame({"choices": [], "usage": USAGE}) + DONE),
        ("on the last choice", TEXT + chunk(finish="stop", usage=USAGE) + DONE),
        ("early", chunk({"role": "assistant"}, usage=USAGE) + TEXT + chunk(finish="stop") + DONE),
        ("growing", chunk(usage={**USAGE, "completion_tokens": 1}) + TEXT + chunk(finish="stop", usage=USAGE) + DONE),
        ("groq's own place", TEXT + chunk(finish="stop", x_groq={"id": "r", "usage": USAGE}) + DONE),
    ],
)  # fmt: skip
def test_usage_is_found_wherever_a_stream_tells_it(where: str, raw: bytes) -> None:
    pieces, failure = stream(raw)
    assert failure is None
    assert last_usage(pieces) == Usage(5, output=2)
    assert text(pieces) == "hällo \U0001f600"


def test_usage_that_never_comes_is_none() -> None:
    pieces, failure = stream(TEXT + chunk(finish="stop") + DONE)
    assert failure is None
    assert last_usage(pieces) is None


def test_the_chunk_with_usage_alone_is_hidden_from_who_did_not_ask_for_it() -> None:
    raw = chunk({"content": "a"}, usage=None) + chunk(finish="stop", usage=None)
    raw += frame({"choices": [], "usage": USAGE}) + DONE
    pieces, _ = stream(raw)
    assert [piece.chunk is None for piece in pieces] == [False, False, True]
    assert all("usage" not in piece.chunk for piece in pieces if piece.chunk)
    pieces, _ = stream(raw, wanted=True)
    assert pieces[-1].chunk == {"choices": [], "usage": USAGE}
    assert pieces[0].chunk is not None
    assert pieces[0].chunk["usage"] is None


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (TEXT + chunk(finish="stop") + DONE, None),
        (TEXT + chunk(finish="stop"), None),
        (TEXT + chunk(finish="stop") + b"data: [DONE]", None),
        (TEXT + chunk(finish="stop").rstrip(b"\n"), None),
        (TEXT + chunk(finish="stop") + b'data: {"choices": [], "usa', None),
        (TEXT + DONE, None),
        (TEXT, "closed"),
        (TEXT + b'data: {"id": "c", "choi', "closed"),
        (b"", "closed"),
        (TEXT + chunk(finish="stop", index=1), "closed"),
        (TEXT + b"data: nonsense\n\n", "malformed"),
        (TEXT + b"data: [1]\n\n", "malformed"),
        (TEXT + b'data: {"choices": 7}\n\n', "malformed"),
        (TEXT + frame({"error": {"message": "boom", "code": 502}}), "server"),
        (TEXT + b'event: error\ndata: {"message": "slow down", "type": "rate_limit_error"}\n\n', "overloaded"),
        (b": keep-alive\n\n" + TEXT + chunk(finish="length") + DONE, None),
    ],
)
def test_how_a_stream_ends(raw: bytes, kind: str | None) -> None:
    pieces, failure = stream(raw)
    assert (failure.kind if failure else None) == kind
    assert text(pieces) == ("" if not raw else "hällo \U0001f600"), "what came before a failure is handed out"


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (b'{"error": {"message": "slow down", "type": "rate_limit_error"}}', "overloaded"),
        (b'\n[{"error": {"code": 503, "status": "UNAVAILABLE"}}]', "overloaded"),
        (orjson.dumps(ANSWER), "malformed"),
        (b"{" * 100_000, "malformed"),
    ],
)
@pytest.mark.parametrize("cuts", [[], [1, 2, 30]])
def test_json_instead_of_a_stream_is_read_as_what_it_says(raw: bytes, kind: str, cuts: list[int]) -> None:
    pieces, failure = stream(raw, cuts)
    assert (pieces, failure.kind if failure else None) == ([], kind)


@given(st.data())
def test_any_cut_of_a_stream_gives_the_same_pieces(data: st.DataObject) -> None:
    call = {"index": 0, "id": "call_1", "function": {"name": "f", "arguments": '{"a":'}}
    raw = TEXT + chunk({"reasoning_content": "hm"}) + chunk({"tool_calls": [call]}) + b": note\r\n\r\n"
    raw += chunk(finish="tool_calls", usage=USAGE) + DONE
    if data.draw(st.booleans()):
        raw = raw.replace(b"\n", b"\r\n")
    cuts = data.draw(st.lists(st.integers(0, len(raw)), max_size=10))
    assert stream(raw, cuts) == stream(raw)


def test_reasoning_in_a_stream_is_marked_once() -> None:
    raw = chunk({"reasoning": "a"}) + chunk({"reasoning": "b"}) + chunk({"content": "c"}, "stop") + DONE
    pieces, _ = stream(raw)
    deltas = [piece.chunk["choices"][0]["delta"] for piece in pieces if piece.chunk]
    assert [delta.get("reasoning_blocks") for delta in deltas] == [
        [{"provider": "acme", "type": "reasoning"}],
        None,
        None,
    ]
