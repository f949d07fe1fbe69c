"""Anthropic's events and OpenAI's chunks say the same, both ways, however they are cut."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.call.providers.anthropic import AnthropicEncoder
from gateway.call.providers.anthropic_events import Event
from gateway.call.providers.anthropic_stream import AnthropicDecoder
from gateway.call.providers.wire import Piece, Provider, ProviderFailure
from gateway.usage import Usage

PROVIDER = Provider("anthropic", "anthropic", "https://api.anthropic.com")
START = {
    "type": "message_start",
    "message": {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-opus-5-5", "content": [],
        "stop_reason": None, "stop_sequence": None,
        "usage": {
            "input_tokens": 10, "cache_read_input_tokens": 1000, "cache_creation_input_tokens": 50, "output_tokens": 1,
        },
    },
}  # fmt: skip
STOP = {"type": "message_stop"}


def begin(index: int, block: dict[str, Any]) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": block}


def delta(index: int, kind: str, **more: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **more}}


def end(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


def closing(reason: str, **usage: Any) -> dict[str, Any]:
    told = {"output_tokens": 40, **usage}
    return {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None}, "usage": told}


EVENTS = [
    START,
    {"type": "ping"},
    begin(0, {"type": "thinking", "thinking": "", "signature": ""}),
    delta(0, "thinking_delta", thinking="Let me "),
    delta(0, "thinking_delta", thinking="think."),
    delta(0, "signature_delta", signature="c2ln"),
    end(0),
    begin(1, {"type": "text", "text": ""}),
    delta(1, "text_delta", text="Hello "),
    delta(1, "text_delta", text="w\u00f6rld"),
    end(1),
    begin(2, {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}}),
    delta(2, "input_json_delta", partial_json=""),
    delta(2, "input_json_delta", partial_json='{"city":'),
    delta(2, "input_json_delta", partial_json='"Rome"}'),
    end(2),
    begin(3, {"type": "tool_use", "id": "toolu_2", "name": "now", "input": {}}),
    end(3),
    closing("tool_use", output_tokens_details={"thinking_tokens": 12}),
    STOP,
]


def decode(
    events: list[dict[str, Any]], *, native: bool = False, wanted: bool = False, source: str = "anthropic"
) -> list[Piece]:
    decoder = AnthropicDecoder(PROVIDER, source, wanted, native)
    pieces = [piece for event in events for piece in decoder.event(event["type"], orjson.dumps(event))]
    return pieces if decoder.ended else [*pieces, *decoder.finish()]


def gathered(pieces: list[Piece]) -> dict[str, Any]:
    """The message that a client of OpenAI's format puts together."""
    message: dict[str, Any] = {"content": "", "reasoning_content": "", "reasoning_blocks": [], "tool_calls": {}}
    for piece in pieces:
        for choice in piece.chunk["choices"] if piece.chunk else ():
            given = choice["delta"]
            message["content"] += given.get("content") or ""
            message["reasoning_content"] += given.get("reasoning_content") or ""
            message["reasoning_blocks"] += given.get("reasoning_blocks") or []
            for call in given.get("tool_calls") or ():
                known = message["tool_calls"].setdefault(
                    call["index"], {"id": call.get("id"), "name": "", "arguments": ""}
                )
                known["name"] += call["function"].get("name") or ""
                known["arguments"] += call["function"].get("arguments") or ""
            if choice["finish_reason"]:
                message["finish_reason"] = choice["finish_reason"]
    return message


def test_a_stream_in_full() -> None:
    pieces = decode(EVENTS)
    assert gathered(pieces) == {
        "content": "Hello wörld",
        "reasoning_content": "Let me think.",
        "reasoning_blocks": [
            {"provider": "anthropic", "type": "thinking", "thinking": "Let me think.", "signature": "c2ln"}
        ],
        "tool_calls": {
            0: {"id": "toolu_1", "name": "weather", "arguments": '{"city":"Rome"}'},
            1: {"id": "toolu_2", "name": "now", "arguments": "{}"},
        },
        "finish_reason": "tool_calls",
    }
    assert {piece.chunk["id"] for piece in pieces if piece.chunk} == {"chatcmpl-msg_1"}
    assert pieces[-1].usage == Usage(input=1060, cached=1000, cache_write=50, output=40, reasoning=12)
    assert pieces[0].usage == Usage(input=1060, cached=1000, cache_write=50, output=1)


def test_usage_is_shown_at_the_end_to_who_asked_for_it() -> None:
    last = decode(EVENTS, wanted=True)[-1].chunk
    assert last is not None
    assert last["choices"] == []
    assert last["usage"]["prompt_tokens"] == 1060
    assert last["usage"]["completion_tokens"] == 40
    assert all(piece.chunk is None or piece.chunk["choices"] for piece in decode(EVENTS))


def test_later_usage_wins_but_for_what_it_does_not_repeat() -> None:
    events = [START, closing("end_turn", input_tokens=11, cache_read_input_tokens=999), STOP]
    assert decode(events)[-1].usage == Usage(input=11 + 999 + 50, cached=999, cache_write=50, output=40)


def test_a_caller_of_the_same_format_gets_the_events_themselves() -> None:
    pieces = decode(EVENTS, native=True)
    assert [event for piece in pieces for event in piece.native] == [(event["type"], event) for event in EVENTS]
    encoder = AnthropicEncoder("any")
    through = [event for piece in pieces for event in encoder.encode(piece)] + encoder.finish()
    assert through == [(event["type"], event) for event in EVENTS]
    assert gathered(pieces) == gathered(decode(EVENTS))


def test_thinking_of_an_imitator_is_marked_as_its_own() -> None:
    pieces = decode(EVENTS, native=True, source="minimax")
    signatures = [
        event["delta"]["signature"]
        for piece in pieces
        for _, event in piece.native
        if event["type"] == "content_block_delta" and event["delta"]["type"] == "signature_delta"
    ]
    assert signatures == ["merit.minimax:c2ln"]
    block = gathered(pieces)["reasoning_blocks"][0]
    assert (block["provider"], block["signature"]) == ("minimax", "c2ln")


def test_redacted_thinking_and_whole_inputs_are_kept() -> None:
    events = [
        START,
        begin(0, {"type": "redacted_thinking", "data": "b3BhcXVl"}),
        end(0),
        begin(1, {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}),
        end(1),
        begin(2, {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}),
        delta(2, "input_json_delta", partial_json='{"q":1}'),
        end(2),
        closing("tool_use"),
        STOP,
    ]
    message = gathered(decode(events))
    assert message["reasoning_blocks"] == [{"provider": "anthropic", "type": "redacted_thinking", "data": "b3BhcXVl"}]
    assert message["tool_calls"] == {0: {"id": "t", "name": "f", "arguments": '{"a":1}'}}


@pytest.mark.parametrize(
    ("events", "kind"),
    [
        (EVENTS[:-1], None),
        (EVENTS[:-2], "closed"),
        ([], "closed"),
        ([START, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}], "overloaded"),
        ([START, {"type": "error", "error": {"type": "api_error", "message": "Oops"}}], "server"),
        ([{"type": "message_start"}], "malformed"),
        ([START, {"type": "content_block_delta", "delta": None}], "malformed"),
        ([START, {"type": "something_new", "x": 1}, closing("end_turn"), STOP], None),
    ],
)
def test_how_a_stream_ends(events: list[dict[str, Any]], kind: str | None) -> None:
    if kind is None:
        assert decode(events)
        return
    with pytest.raises(ProviderFailure) as caught:
        decode(events)
    assert caught.value.kind == kind


@pytest.mark.parametrize("data", [b"{", b"7", b"{}", b"null", b"[]"])
def test_what_is_no_event_is_malformed(data: bytes) -> None:
    decoder = AnthropicDecoder(PROVIDER, "anthropic", False, False)
    with pytest.raises(ProviderFailure) as caught:
        decoder.event("", data)
    assert caught.value.kind == "malformed"


def chunk(given: dict[str, Any], finish: str | None = None) -> Piece:
    return Piece({"id": "chatcmpl-9", "choices": [{"index": 0, "delta": given, "finish_reason": finish}]})


def call(index: int, arguments: str, number: str | None = None) -> dict[str, Any]:
    function: dict[str, Any] = {"arguments": arguments}
    if number is not None:
        function["name"] = f"f{index}"
    return {"index": index, "function": function, **({"id": number} if number else {})}


def encode(*pieces: Piece, usage: Usage | None = None) -> list[Event]:
    encoder = AnthropicEncoder("claude-like", input_tokens=99)
    return [event for piece in pieces for event in encoder.encode(piece)] + encoder.finish(usage)


def rebuilt(events: list[Event]) -> dict[str, Any]:
    """The message that a client of Anthropic's format puts together, with every rule of the order checked."""
    assert events[0][0] == "message_start"
    assert [name for name, _ in events[-2:]] == ["message_delta", "message_stop"]
    message: dict[str, Any] = dict(events[0][1]["message"], content=[])
    open_block: dict[str, Any] | None = None
    for name, event in events[1:-2]:
        assert event["type"] == name
        if name == "content_block_start":
            assert open_block is None, "one block at a time"
            assert event["index"] == len(message["content"])
            open_block = dict(event["content_block"], given="")
        elif name == "content_block_delta":
            assert open_block is not None
            assert event["index"] == len(message["content"])
            given = event["delta"]
            field, target = {
                "text_delta": ("text", "text"),
                "thinking_delta": ("thinking", "thinking"),
                "signature_delta": ("signature", "signature"),
                "input_json_delta": ("partial_json", "given"),
            }[given["type"]]
            open_block[target] += given[field]
        else:
            assert name == "content_block_stop"
            assert open_block is not None
            arguments = open_block.pop("given")
            if open_block["type"] == "tool_use":
                open_block["input"] = orjson.loads(arguments or "{}")
            message["content"].append(open_block)
            open_block = None
    assert open_block is None
    message["stop_reason"] = events[-2][1]["delta"]["stop_reason"]
    message["usage"] = events[-2][1]["usage"]
    return message


def test_chunks_of_another_provider_become_events() -> None:
    events = encode(
        chunk({"role": "assistant", "content": ""}),
        chunk({"reasoning_content": "hm", "reasoning_blocks": [{"provider": "deepseek", "type": "reasoning"}]}),
        chunk({"content": "Let me "}),
        chunk({"content": "look."}),
        chunk({"tool_calls": [call(0, "", "call:1")]}),
        chunk({"tool_calls": [call(0, '{"a":1}')]}),
        chunk({"tool_calls": [call(1, "{}", "call_2")]}),
        chunk({}, "tool_calls"),
        Piece(None, Usage(input=20, cached=5, output=7)),
    )
    message = rebuilt(events)
    assert message["id"] == "msg_9"
    assert message["model"] == "claude-like"
    assert message["stop_reason"] == "tool_use"
    assert message["usage"] == {
        "input_tokens": 15, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 5, "output_tokens": 7,
    }  # fmt: skip
    thinking, text, first, second = message["content"]
    assert (thinking["thinking"], thinking["signature"]) == ("hm", "merit.deepseek:")
    assert text == {"type": "text", "text": "Let me look."}
    assert (first["name"], first["input"]) == ("f0", {"a": 1})
    assert ":" not in first["id"]
    assert (second["id"], second["input"]) == ("call_2", {})


def test_calls_that_arrive_interleaved_are_written_one_after_the_other() -> None:
    events = encode(
        chunk({"tool_calls": [call(0, '{"a"', "x"), call(1, '{"b"', "y")]}),
        chunk({"tool_calls": [call(1, ":2}"), call(2, "{}", "z"), call(0, ":1}")]}),
        chunk({}, "tool_calls"),
    )
    content = rebuilt(events)["content"]
    assert [(block["id"], block["input"]) for block in content] == [("x", {"a": 1}), ("y", {"b": 2}), ("z", {})]


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(1, 4)), max_size=15),
    st.lists(st.dictionaries(st.sampled_from("abc"), st.integers(0, 9), max_size=3), min_size=3, max_size=3),
)
def test_no_order_of_arguments_loses_any(order: list[tuple[int, int]], inputs: list[dict[str, int]]) -> None:
    left = [orjson.dumps(given).decode() for given in inputs]
    begun: set[int] = set()
    pieces = []
    for index, size in [*order, (0, 99), (1, 99), (2, 99)]:
        part, left[index] = left[index][:size], left[index][size:]
        pieces.append(chunk({"tool_calls": [call(index, part, None if index in begun else f"id_{index}")]}))
        begun.add(index)
    content = rebuilt(encode(*pieces))["content"]
    assert {block["id"]: block["input"] for block in content} == {f"id_{at}": inputs[at] for at in range(3)}


def test_a_stream_translated_there_and_back_is_the_same_message() -> None:
    pieces = decode(EVENTS)
    message = rebuilt(encode(*pieces))
    assert [block["type"] for block in message["content"]] == ["thinking", "text", "tool_use", "tool_use"]
    assert message["content"][0] == {"type": "thinking", "thinking": "Let me think.", "signature": "c2ln"}
    assert message["content"][2]["input"] == {"city": "Rome"}
    assert message["usage"]["cache_creation_input_tokens"] == 50
    again = decode([event for _, event in encode(*pieces)])
    assert gathered(again) == gathered(pieces)


def test_an_answer_of_nothing_is_still_a_message() -> None:
    message = rebuilt(encode())
    assert message["content"] == []
    assert message["usage"]["input_tokens"] == 99


def test_a_stream_that_broke_off_says_so_and_nothing_more() -> None:
    encoder = AnthropicEncoder("m")
    encoder.encode(chunk({"content": "a"}))
    assert encoder.fail("It broke.", "overloaded_error")[0][1]["error"]["type"] == "overloaded_error"
    assert encoder.finish() == []
    assert encoder.encode(chunk({"content": "b"})) == []
