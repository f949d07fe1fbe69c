"""Secrets and personal data do not leave in an answer, whole or streamed, wherever the stream is cut."""

from __future__ import annotations

import itertools
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.account.workspace_settings import Filters
from gateway.call import filters as filtering
from gateway.call.filters import AnswerFilter, HeldText, filter_of
from gateway.call.providers.wire import Answer, Piece
from gateway.usage import Usage
from store.errors import ContentRefused

ALL = AnswerFilter(Filters(secrets=True, personal_data=True))
SECRETS = AnswerFilter(Filters(secrets=True))
PERSONAL = AnswerFilter(Filters(personal_data=True))
REFUSING = AnswerFilter(Filters(secrets=True, personal_data=True, mode="refuse"))

PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA\nann@example.com\n-----END RSA PRIVATE KEY-----"
SECRET = {
    "OpenAI": "sk-proj-Abc123_def456-ghi789jkl012",
    "Anthropic": "sk-ant-api03-abcdefghijklmnop-qrstuv_wx",
    "Google": "AIzaSyA-1234567890abcdefghijklmnopqrs",
    "AWS": "AKIAIOSFODNN7EXAMPLE",
    "GitHub": "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
    "Slack": "xoxb-1234567890-abcdefghij",
    "JWT": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P",
    "private key": PEM,
    "ours": "merit_0123456789ab_" + "f" * 48,
}
PERSON = {
    "e-mail": "ann.lee+news@mail.example.co.uk",
    "card in groups": "4111 1111 1111 1111",
    "card": "5555555555554444",
    "card with hyphens": "4012-8888-8888-1881",
    "American Express": "3782 822463 10005",
    "IBAN": "DE89370400440532013000",
    "IBAN in groups": "GB29 NWBK 6016 1331 9268 19",
    "international phone": "+49 30 901820",
    "phone with brackets": "+44 (0)20 7946 0958",
    "national phone": "030-9018200",
    "US phone": "(212) 555-0187",
    "US phone with dots": "212.555.0187",
    "IPv4": "203.0.113.42",
    "IPv6": "2001:db8:85a3::8a2e:370:7334",
}
HARMLESS = [
    "The year 2026 had 365 days, 8,760 hours and 31,536,000 seconds.",
    "Use version 1.2.3 of the library, or 10.4.1-beta; see section 4.1.2.",
    "Meet at 12:30:45 on 2026-11-30T12:30:45, in room 0815.",
    "for i in range(1000000): total += numbers[i]  # O(n)",
    "std::vector<int> a; rust::module::path; http://example.com:8080/path?x=1",
    "pi is 3.14159265358979, e is 2.718281828459045, 1234567890123456 is no card.",
    "order 4111111111111112, reference DE89370400440532013001",
    "sk-learn and task-force are no keys; neither is AKIA, eyJ, or ghp_short.",
    "git commit 9fceb02d0ae598e95dc970b74767f19372d61af8 and uuid 123e4567-e89b-12d3-a456-426614174000",
    "listen on 127.0.0.1 or 0.0.0.0 or ::1; 256.1.1.1 is no address",
    "@decorator, user@host, a@b, 5 @ 3 dollars",
    "ALL CAPS TEXT WITH NUMBERS 12 AND 34 AND 56 IS FINE",
]


@pytest.mark.parametrize("text", SECRET.values(), ids=SECRET)
def test_secrets_are_masked(text: str) -> None:
    assert ALL.text(f"It is {text}, keep it.") == "It is [secret removed], keep it."
    assert SECRETS.text(text) == "[secret removed]"
    if text != PEM:
        assert PERSONAL.text(f"It is '{text}'.") == f"It is '{text}'."


@pytest.mark.parametrize("text", PERSON.values(), ids=PERSON)
def test_personal_data_is_masked(text: str) -> None:
    for frame in ("{}", "It is {}.", "({})", "It is {}, and so on", '{{"a": "{}"}}', "Ann:\n{}\nBob"):
        shown = PERSONAL.text(frame.format(text))
        before, _, after = frame.replace("{{", "{").replace("}}", "}").partition("{}")
        assert shown.startswith(before + "[")
        assert shown.endswith(" removed]" + after)
        assert text not in shown
    assert SECRETS.text(f"It is {text}.") == f"It is {text}."


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_neither_stays(text: str) -> None:
    assert ALL.text(text) == text
    assert REFUSING.text(text) == text


@pytest.mark.parametrize("text", [*SECRET.values(), *PERSON.values()])
def test_refusing_tells_what_it_was_and_not_which(text: str) -> None:
    with pytest.raises(ContentRefused) as caught:
        REFUSING.text(f"It is {text}, yes.")
    assert text not in str(caught.value)
    assert caught.value.details["found"] in str(caught.value)


def in_pieces(rule: AnswerFilter, pieces: list[str]) -> str:
    held = HeldText(rule)
    return "".join(held.push(piece) for piece in pieces) + held.push("", last=True)


parts = st.one_of(
    st.sampled_from([*SECRET.values(), *PERSON.values(), *HARMLESS]),
    st.sampled_from([" ", "\n", ". ", ", ", "-", "A ", "a ", "7 ", ".", "@", ":", "x" * 300, "1 " * 200, "AB " * 300]),
    st.text(max_size=5),
    st.sampled_from(["sk-" + "a" * 3000, "Z" * 2000, "a." * 900, "sk-" + "b." * 700, "eyJ" + "c" * 250, "." * 500]),
)
texts = st.lists(parts, max_size=8).map("".join)


@settings(deadline=None)
@given(texts, st.data())
@example("sk-" + "a" * 3000 + ".com", None)
@example("sk-" + "a" * 3000 + PEM, None)
@example("sk-" + "a" * 3000 + "-----BEGIN and no key", None)
@example("x " + "sk-" + "b." * 700 + " y", None)
def test_wherever_a_stream_is_cut_the_same_leaves(text: str, data: Any) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=12))) if data else range(0, len(text), 7)
    edges = [0, *cuts, len(text)]
    pieces = [text[begin:end] for begin, end in itertools.pairwise(edges)]
    assert in_pieces(ALL, pieces) == ALL.text(text)


@settings(deadline=None)
@given(texts)
@example("sk-" + "a" * 1500 + PEM)
@example("sk-" + "a" * 1500 + "--" + PEM)
def test_character_by_character(text: str) -> None:
    assert in_pieces(ALL, list(text)) == ALL.text(text)


@pytest.mark.parametrize("text", [*SECRET.values(), *PERSON.values()])
def test_a_secret_cut_anywhere_does_not_leave(text: str) -> None:
    whole = f"It is {text} and more"
    for cut in range(len(whole)):
        shown = in_pieces(ALL, [whole[:cut], whole[cut:]])
        assert shown == ALL.text(whole)
        assert text not in shown


@settings(deadline=None)
@given(st.lists(st.text(alphabet="abcdefg .,\n", min_size=1, max_size=20), min_size=5, max_size=50))
def test_little_waits(pieces: list[str]) -> None:
    held = HeldText(ALL)
    sent = 0
    left = 0
    for piece in pieces:
        sent += len(piece)
        left += len(held.push(piece))
        text = "".join(pieces)[:sent]
        word = len(text) - max(text.rfind(" "), text.rfind("\n")) - 1
        assert sent - left <= max(word + 25, 25)


@settings(deadline=None)
@given(st.lists(st.sampled_from(["A", "1", " ", "x", "-", ")"]), max_size=400))
def test_never_more_than_a_kilobyte_waits(pieces: list[str]) -> None:
    held = HeldText(ALL)
    sent = left = 0
    for piece in pieces:
        sent += 20
        left += len(held.push(piece * 20))
        assert sent - left <= filtering.MOST_HELD


def test_off_is_no_filter_at_all() -> None:
    assert filter_of(Filters()) is None
    assert filter_of(Filters(secrets=True)) is filter_of(Filters(secrets=True))


def body(**message: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "stop", "logprobs": {"a": 1}}
    return {"id": "1", "model": "m", "choices": [choice]}


def test_a_whole_answer() -> None:
    clean = Answer(body(content="Hello"), Usage(), native={"content": "Hello"})
    assert ALL.answer(clean) is clean
    dirty = Answer(
        body(
            content="ann@example.com",
            reasoning_content="ask bob@example.com",
            tool_calls=[
                {
                    "id": "call_4111111111111111",
                    "type": "function",
                    "function": {
                        "name": "send",
                        "arguments": '{"to": "ann@example.com", "card": 4111111111111111, "n": 7, "ok": true}',
                    },
                }
            ],
        ),
        Usage(),
        native={"content": "ann@example.com"},
    )
    found = ALL.answer(dirty)
    message = found.body["choices"][0]["message"]
    assert message["content"] == "[e-mail address removed]"
    assert message["reasoning_content"] == "ask [e-mail address removed]"
    call = message["tool_calls"][0]
    assert call["id"] == "call_4111111111111111"
    assert orjson.loads(call["function"]["arguments"]) == {
        "to": "[e-mail address removed]",
        "card": "[card number removed]",
        "n": 7,
        "ok": True,
    }
    assert found.native is None
    assert found.body["choices"][0]["logprobs"] is None
    assert dirty.body["choices"][0]["message"]["content"] == "ann@example.com"
    with pytest.raises(ContentRefused):
        REFUSING.answer(dirty)


def chunk(finish: str | None = None, **delta: Any) -> Piece:
    return Piece(
        {
            "id": "1",
            "object": "chat.completion.chunk",
            "model": "m",
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        },
        native=[("event", {"text": "ann@example.com"})],
    )


def test_a_streamed_answer() -> None:
    stream = ALL.stream()
    pieces = [
        chunk(role="assistant", content=""),
        chunk(content="Write to ann@exam"),
        chunk(content="ple.com or "),
        chunk(content="call +49 30 901"),
        chunk(content="820"),
        chunk(tool_calls=[{"index": 0, "id": "c", "function": {"name": "send", "arguments": '{"to": "ann@ex'}}]),
        chunk(tool_calls=[{"index": 0, "function": {"arguments": 'ample.com", "n": 5555555555554444}'}}]),
        chunk("tool_calls"),
        Piece(None, Usage(1, output=2)),
    ]
    sent = [stream.piece(one) for one in pieces]
    assert stream.rest() == []
    assert all(not one.native for one in sent)
    assert sent[-1].usage == Usage(1, output=2)
    deltas = [one.chunk["choices"][0]["delta"] for one in sent if one.chunk is not None]
    assert deltas[0]["role"] == "assistant"
    text = "".join(one.get("content") or "" for one in deltas)
    assert text == "Write to [e-mail address removed] or call [telephone number removed]"
    calls = [call for one in deltas for call in one.get("tool_calls") or ()]
    assert (calls[0]["id"], calls[0]["function"]["name"]) == ("c", "send")
    arguments = "".join(call["function"]["arguments"] for call in calls)
    assert orjson.loads(arguments) == {"to": "[e-mail address removed]", "n": "[card number removed]"}
    assert sent[-2].chunk is not None
    assert sent[-2].chunk["choices"][0]["finish_reason"] == "tool_calls"


def test_a_stream_that_breaks_off_says_what_was_held() -> None:
    stream = ALL.stream()
    (first,) = [stream.piece(chunk(content="so far"))]
    assert first.chunk is not None
    (rest,) = stream.rest()
    assert rest.chunk is not None
    told = first.chunk["choices"][0]["delta"]["content"] + rest.chunk["choices"][0]["delta"]["content"]
    assert told == "so far"
    assert rest.chunk["id"] == "1"
    assert stream.rest() == []


def test_a_stream_is_refused_where_the_secret_comes() -> None:
    stream = REFUSING.stream()
    stream.piece(chunk(content="Write to ann@exam"))
    with pytest.raises(ContentRefused):
        stream.piece(chunk(content="ple.com or so"))
