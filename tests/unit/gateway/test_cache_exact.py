"""The exact cache: one request, one key; nobody gets another's answer; only whole answers, in bounded memory."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from gateway.call.cache import AnswerCache, is_complete, replay
from gateway.call.cache_key import IRRELEVANT, canonical, key, prompt_key
from gateway.call.providers.wire import Piece
from gateway.call.reading import Reading
from gateway.prompt import Limits, Options, Prompt, Tenant

T = TypeVar("T")
BODY: dict[str, Any] = {
    "model": "auto",
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is 2+2?"}],
    "temperature": 0.0,
    "max_tokens": 16,
    "tools": [{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}],
    "response_format": {"type": "json_object"},
    "seed": 7,
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def done(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def answer(text: str = "4", finish: str = "stop", **message: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": text, **message}, "finish_reason": finish}
    return {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "large", "choices": [choice]}


def prompt(**changes: Any) -> Prompt:
    made = Prompt(id="1", tenant=Tenant(workspace="a"), kind="chat", model="auto", body=BODY)
    return replace(made, **changes)


# Keys ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(IRRELEVANT))
def test_how_it_is_delivered_and_who_asks_does_not_count(name: str) -> None:
    assert key(Tenant("a"), "auto", {**BODY, name: {"any": "thing"}}) == key(Tenant("a"), "auto", BODY)


@pytest.mark.parametrize(
    "changes",
    [
        {"temperature": 0.1}, {"max_tokens": 17}, {"seed": 8}, {"top_p": 1.0}, {"n": 2}, {"stop": "\n"}, {"tools": []},
        {"tool_choice": "none"}, {"response_format": {"type": "text"}}, {"logprobs": True}, {"logit_bias": {"50": 1}},
        {"presence_penalty": 0.5}, {"reasoning_effort": "low"}, {"web_search_options": {}}, {"model": "best"},
        {"a_field_of_next_year": 1}, {"temperature": 0}, {"temperature": None}, {"temperature": "0.0"},
    ],
)  # fmt: skip
def test_every_parameter_counts_also_those_that_nobody_here_knows(changes: dict[str, Any]) -> None:
    assert key(Tenant("a"), "auto", {**BODY, **changes}) != key(Tenant("a"), "auto", BODY)


@pytest.mark.parametrize("name", sorted(BODY))
def test_a_parameter_left_out_is_another_request(name: str) -> None:
    assert key(Tenant("a"), "auto", {one: BODY[one] for one in BODY if one != name}) != key(Tenant("a"), "auto", BODY)


def test_workspace_models_and_what_merit_says_count() -> None:
    keys = {
        key(Tenant("a"), "auto", BODY),
        key(Tenant("b"), "auto", BODY),
        key(Tenant("a"), "acme/large", BODY),
        key(Tenant("a"), ["acme/large"], BODY),
        key(Tenant("a"), ["acme/large", "acme/small"], BODY),
        prompt_key(prompt(limits=Limits(max_cost=0.1)), "auto"),
        prompt_key(prompt(limits=Limits(local_only=True)), "auto"),
        prompt_key(prompt(limits=Limits(capabilities=frozenset({"code"}))), "auto"),
        prompt_key(prompt(limits=Limits(regions=frozenset({"code"}))), "auto"),
        prompt_key(prompt(options=Options(task="code")), "auto"),
        prompt_key(prompt(options=Options(members=("x", "y"))), "auto"),
        prompt_key(prompt(options=Options(weights={"x": 1.0})), "auto"),
        prompt_key(prompt(kind="embeddings"), "auto"),
        prompt_key(prompt(native={"top_k": 5}), "auto"),
        prompt_key(prompt(native={"top_k": 6}), "auto"),
    }
    assert len(keys) == 15
    assert key(Tenant("a"), "auto", BODY) == prompt_key(prompt(), "auto") in keys
    same = prompt(tenant=Tenant("a", user="ann", key_id="k"), stream=True, deadline=1.0, options=Options(tags=("x",)))
    assert prompt_key(same, "auto") == prompt_key(replace(same, stream=False, deadline=None), "auto")


def test_the_order_of_members_does_not_count_and_that_of_messages_does() -> None:
    turned = json.loads(json.dumps(dict(reversed(BODY.items()))))
    assert key(Tenant("a"), "auto", turned) == key(Tenant("a"), "auto", BODY)
    swapped = {**BODY, "messages": BODY["messages"][::-1]}
    assert key(Tenant("a"), "auto", swapped) != key(Tenant("a"), "auto", BODY)


@given(JSON, JSON)
def test_one_json_is_one_key(one: Any, other: Any) -> None:
    def strict(value: Any) -> str:
        return json.dumps(value, sort_keys=True)

    assert (canonical(one) == canonical(other)) == (strict(one) == strict(other))


def test_half_a_character_and_huge_numbers_have_keys() -> None:
    odd = {**BODY, "messages": [{"role": "user", "content": "\ud800"}], "seed": 2**80}
    assert key(Tenant("a"), "auto", odd) != key(Tenant("a"), "auto", {**odd, "seed": 2**80 + 1})


# What is kept -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("finish", ["stop", "tool_calls", "function_call", "length"])
def test_answers_that_ended_are_kept(finish: str) -> None:
    assert is_complete(answer(finish=finish))


@pytest.mark.parametrize(
    "body",
    [
        answer(finish="content_filter"),
        answer(finish=None),  # type: ignore[arg-type]
        answer(finish="error"),
        answer(""),
        answer("", refusal="I cannot help with that."),
        answer("No.", refusal="No."),
        {**answer(), "error": {"message": "x"}},
        {**answer(), "choices": []},
        {**answer(), "choices": [*answer()["choices"], *answer(finish="content_filter")["choices"]]},
        {"error": {"message": "overloaded"}},
        {"object": "list", "data": []},
        {},
    ],
)
def test_what_is_no_whole_answer_is_not(body: dict[str, Any]) -> None:
    cache = AnswerCache()
    assert not cache.put("a", b"k", body)
    assert done(cache.get("a", b"k")) is None


def test_tool_calls_and_embeddings_are_answers() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    assert is_complete(answer(None, "tool_calls", tool_calls=[call]))  # type: ignore[arg-type]
    assert is_complete({"object": "list", "data": [{"embedding": [0.1]}]})


def test_an_answer_is_the_callers_own_copy() -> None:
    cache, given_ = AnswerCache(), answer()
    cache.put("a", b"k", given_)
    given_["choices"][0]["message"]["content"] = "changed"
    first = done(cache.get("a", b"k"))
    assert first == answer()
    first["choices"].clear()
    assert done(cache.get("a", b"k")) == answer()


def test_another_workspace_gets_nothing_even_with_the_same_key() -> None:
    cache = AnswerCache()
    cache.put("a", b"k", answer())
    assert done(cache.get("b", b"k")) is None


def test_an_answer_has_its_time() -> None:
    clock = Clock()
    cache = AnswerCache(clock=clock)
    cache.put("a", b"k", answer(), ttl_s=10.0)
    cache.put("a", b"long", answer(), ttl_s=1e9)
    clock.now = 9.9
    assert cache.has(b"k")
    assert done(cache.get("a", b"k")) == answer()
    clock.now = 10.0
    assert not cache.has(b"k")
    assert done(cache.get("a", b"k")) is None
    assert cache.statistics().entries == 1
    clock.now = 86_400.0
    assert done(cache.get("a", b"long")) is None


def test_memory_is_bounded_and_what_was_used_longest_ago_goes_first() -> None:
    cache = AnswerCache(most_bytes=100_000)
    for number in range(50):
        cache.put("a", str(number).encode(), answer("x" * 3000))
        done(cache.get("a", b"0"))
    told = cache.statistics()
    assert told.bytes <= 100_000
    assert told.entries < 30
    assert told.evicted == 50 - told.entries
    assert done(cache.get("a", b"0")) is not None
    assert done(cache.get("a", b"49")) is not None
    assert done(cache.get("a", b"1")) is None
    assert not cache.put("a", b"huge", answer("x" * 50_000))
    few = AnswerCache(most_entries=2)
    for name in (b"1", b"2", b"3"):
        few.put("a", name, answer())
    assert [few.has(name) for name in (b"1", b"2", b"3")] == [False, True, True]


def test_replacing_and_erasing_give_memory_back() -> None:
    cache = AnswerCache()
    cache.put("a", b"1", answer("x" * 1000), user="ann")
    cache.put("a", b"1", answer("y"), user="ann")
    cache.put("a", b"2", answer("z"), user="bob")
    cache.put("b", b"3", answer("z"), user="ann")
    assert done(cache.erase("a", "ann")) == 1
    assert [cache.has(name) for name in (b"1", b"2", b"3")] == [False, True, True]
    assert done(cache.erase("a")) == 1
    assert done(cache.erase("b")) == 1
    assert (cache.statistics().entries, cache.statistics().bytes) == (0, 0)


# Told again ---------------------------------------------------------------------------------------------------------

TEXT = st.text(max_size=120)
CALL = st.fixed_dictionaries(
    {
        "id": st.text("abc123", min_size=1, max_size=5),
        "type": st.just("function"),
        "function": st.fixed_dictionaries({"name": st.text("abc", min_size=1, max_size=5), "arguments": TEXT}),
    }
)


@st.composite
def answers(draw: st.DrawFn) -> dict[str, Any]:
    choices = []
    for index in range(draw(st.integers(1, 3))):
        message: dict[str, Any] = {"role": "assistant", "content": draw(st.none() | TEXT.filter(bool))}
        if draw(st.booleans()):
            message["reasoning_content"] = draw(TEXT.filter(bool))
        if draw(st.booleans()):
            message["tool_calls"] = draw(st.lists(CALL, min_size=1, max_size=3))
        if draw(st.booleans()):
            message["reasoning_blocks"] = [{"provider": "anthropic", "type": "thinking", "thinking": draw(TEXT)}]
        choices.append({"index": index, "message": message, "finish_reason": draw(st.sampled_from(["stop", "length"]))})
    return {"id": "c", "created": 3, "model": "m", "object": "chat.completion", "choices": choices}


@given(answers())
def test_told_piece_by_piece_and_put_together_it_is_the_same_answer(body: dict[str, Any]) -> None:
    before = copy.deepcopy(body)
    reading = Reading()
    for chunk in replay(body):
        assert chunk["object"] == "chat.completion.chunk"
        reading.take(Piece(chunk))
    assert reading.body() == before == body


def test_a_stream_begins_with_the_role_and_ends_with_why_it_ended() -> None:
    text = "The quick brown fox jumps over the lazy dog, again and again."
    usage = {"prompt_tokens": 3, "completion_tokens": 14, "total_tokens": 17}
    chunks = replay({**answer(text), "usage": usage}, include_usage=True)
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant"}
    pieces = [one["choices"][0]["delta"]["content"] for one in chunks[1:-2]]
    assert "".join(pieces) == text
    assert len(pieces) > 2
    assert all(0 < len(piece) <= 24 for piece in pieces)
    assert all(piece.startswith(" ") for piece in pieces[1:])
    assert chunks[-2]["choices"][0] == {"index": 0, "delta": {}, "finish_reason": "stop"}
    assert (chunks[-1]["choices"], chunks[-1]["usage"]) == ([], usage)
    assert all("usage" not in one for one in replay({**answer(text), "usage": usage}))


# In any order -------------------------------------------------------------------------------------------------------


class CacheMachine(RuleBasedStateMachine):
    """Requests of two workspaces that differ in one thing each; every one has an answer of its own."""

    @initialize()
    def start(self) -> None:
        self.clock = Clock()
        self.cache = AnswerCache(clock=self.clock, most_bytes=40_000, most_entries=12)
        self.given: dict[str, float] = {}

    requests = st.tuples(
        st.sampled_from(["a", "b"]), st.sampled_from(["auto", "acme/large"]), st.sampled_from([0.0, 0.5, None]),
        st.sampled_from(["one", "two"]), st.sampled_from([None, "strict"]),
    )  # fmt: skip

    @staticmethod
    def asked(request: tuple[Any, ...]) -> tuple[str, bytes, str]:
        workspace, model, temperature, text, unknown = request
        body: dict[str, Any] = {"messages": [{"role": "user", "content": text}], "x_unknown": unknown}
        if temperature is not None:
            body["temperature"] = temperature
        return workspace, key(Tenant(workspace), model, body), repr(request)

    @rule(request=requests, user=st.sampled_from([None, "ann", "bob"]), ttl=st.sampled_from([5.0, 50.0]))
    def put(self, request: tuple[Any, ...], user: str | None, ttl: float) -> None:
        workspace, found, own = self.asked(request)
        assert self.cache.put(workspace, found, answer(own), user=user, ttl_s=ttl)
        self.given[own] = self.clock.now + ttl

    @rule(request=requests)
    def get(self, request: tuple[Any, ...]) -> None:
        workspace, found, own = self.asked(request)
        body = done(self.cache.get(workspace, found))
        if body is not None:
            assert body == answer(own)
            assert self.clock.now < self.given[own]
        other = "b" if workspace == "a" else "a"
        assert done(self.cache.get(other, found)) is None

    @rule(workspace=st.sampled_from(["a", "b"]), user=st.sampled_from([None, "ann"]))
    def erase(self, workspace: str, user: str | None) -> None:
        done(self.cache.erase(workspace, user))
        if user is None:
            self.given = {own: until for own, until in self.given.items() if not own.startswith(f"('{workspace}'")}

    @rule(seconds=st.sampled_from([1.0, 6.0, 60.0]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @invariant()
    def bounded(self) -> None:
        told = self.cache.statistics()
        assert told.entries <= 12
        assert 0 <= told.bytes <= 40_000
        assert (told.bytes == 0) == (told.entries == 0)


TestCacheMachine = CacheMachine.TestCase
TestCacheMachine.settings = hypothesis_settings(max_examples=30, stateful_step_count=40, deadline=None)
