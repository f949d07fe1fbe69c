"""What is counted, waited for and asked again when a call does not go as it should."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.call.bare_thread import without_reasoning
from gateway.call.breaker import Breakers
from gateway.call.providers.wire import Piece, ProviderFailure
from gateway.call.reading import Reading
from gateway.call.retry_budget import RetryBudget
from gateway.prompt import Prompt, Tenant
from gateway.usage import Usage


def read(text: str, *usages: Usage | None) -> Reading:
    reading = Reading()
    for place, word in enumerate(text.split(" ")):
        usage = usages[place] if place < len(usages) else None
        chunk = {"choices": [{"index": 0, "delta": {"content": f"{word} "}, "finish_reason": None}]}
        reading.take(Piece(chunk, usage))
    return reading


SENTENCE = "one two three four five six seven eight nine ten"


def test_a_whole_stream_used_what_its_provider_tells() -> None:
    told = Usage(input=7, output=3)
    assert read(SENTENCE, told).counted(99) is told


def test_a_stream_that_broke_used_at_least_what_was_read_of_it() -> None:
    early = Usage(input=7, cached=2, output=1)
    found = read(SENTENCE, early).counted(99, ended=False)
    assert (found.input, found.cached, found.estimated) == (7, 2, True)
    assert 10 <= found.output <= 14
    running = Usage(input=7, output=500, reasoning=400)
    assert read(SENTENCE, running).counted(99, ended=False) is running


@pytest.mark.parametrize("usage", [None, Usage(), Usage(input=7)])
def test_a_stream_whose_output_nobody_told_is_counted(usage: Usage | None) -> None:
    found = read(SENTENCE, usage).counted(99)
    assert found.estimated
    assert found.input == (7 if usage is not None and usage.input else 99)
    assert 10 <= found.output <= 14


def test_an_answer_without_words_used_what_its_provider_tells() -> None:
    told = Usage(input=7)
    reading = Reading()
    reading.take(Piece({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}, told))
    assert reading.counted(99) is told


def test_a_model_that_asked_to_be_left_alone_says_for_how_long_and_a_broken_one_does_not() -> None:
    now = 100.0
    breakers = Breakers(clock=lambda: now)
    assert breakers.aside_for("acme/one") is None
    permit = breakers.admit("acme/one")
    assert permit is not None
    breakers.failed(permit, "overloaded", 4.0)
    assert breakers.aside_for("acme/one") == pytest.approx(4.0)
    now = 103.0
    assert breakers.aside_for("acme/one") == pytest.approx(1.0)
    now = 104.5
    assert breakers.aside_for("acme/one") is None
    for _ in range(5):
        permit = breakers.admit("acme/two")
        assert permit is not None
        breakers.failed(permit, "server", 3.0 if _ == 4 else None)
    assert breakers.admit("acme/two") is None
    assert breakers.aside_for("acme/two") is None
    breakers.failed(breakers.admit("acme/three") or pytest.fail("not admitted"), "overloaded", 9.0)
    breakers.drain("acme")
    assert breakers.aside_for("acme/three") is None


def test_a_budget_of_retries_follows_the_configuration() -> None:
    retries = RetryBudget(clock=lambda: 0.0, share=0.0, floor=5.0)
    assert retries.left("acme") == 5.0
    retries.configure(0.5, 2.0)
    for _ in range(4):
        retries.requested("acme")
    assert [retries.allow("acme") for _ in range(10)].count(True) == 7
    assert retries.left("other") == 2.0


THOUGHT = {"role": "assistant", "content": "4", "reasoning_content": "hm", "reasoning_blocks": [{"provider": "claude"}]}


def prompt(*messages: Any, **fields: Any) -> Prompt:
    body = {"model": "m", "messages": list(messages)}
    return Prompt(id="1", tenant=Tenant(), kind="chat", model="m", body=body, **fields)


def test_reasoning_that_is_refused_is_taken_out_and_nothing_else() -> None:
    user, answer = {"role": "user", "content": "2 + 2"}, {"role": "user", "content": "Sure?"}
    asked = prompt(user, THOUGHT, answer, native={"messages": []}, wire="anthropic")
    refusal = ProviderFailure("refused", "claude answered 400: Invalid `signature` in `thinking` block", status=400)
    bare = without_reasoning(asked, refusal)
    assert bare is not None
    assert bare.native is None
    assert bare.body["messages"] == [user, {"role": "assistant", "content": "4"}, answer]
    assert asked.body["messages"][1] is THOUGHT
    # A second time there is nothing left to take out.
    assert without_reasoning(bare, refusal) is None


@pytest.mark.parametrize(
    "failure",
    [
        ProviderFailure("refused", "max_tokens is too large", status=400),
        ProviderFailure("server", "thinking took too long", status=500),
    ],
)
def test_what_was_refused_for_something_else_is_left_as_it_is(failure: ProviderFailure) -> None:
    assert without_reasoning(prompt(THOUGHT), failure) is None
