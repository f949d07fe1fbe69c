"""What is read from a request besides its words, the expected length of an answer, and that no body breaks it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.choose.catalogue import CAPABILITIES, DOMAINS
from gateway.choose.policy import COMPLEXITIES
from gateway.choose.request import HEAD, TAIL, text_of
from gateway.choose.task import LEAST_RESERVED, MOST_OUTPUT, analyse


def ask(text: Any, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], **more}


def part(kind: str) -> dict[str, Any]:
    return ask([{"type": "text", "text": "What is this?"}, {"type": kind, kind: {}}])


@pytest.mark.parametrize(
    ("body", "needs"),
    [
        (ask("Hi"), set()),
        (ask("Hi", stream=True, temperature=0.2, tools=[]), set()),
        (ask("Hi", tools=[{"type": "function", "function": {"name": "f"}}]), {"tools"}),
        (ask("Hi", functions=[{"name": "f"}]), {"tools"}),
        ({"messages": [{"role": "user", "content": "Hi"}, {"role": "tool", "content": "4"}]}, {"tools"}),
        ({"messages": [{"role": "assistant", "tool_calls": [{}]}, {"role": "user", "content": "Hi"}]}, {"tools"}),
        (ask("Hi", response_format={"type": "text"}), set()),
        (ask("Hi", response_format={"type": "json_object"}), {"json"}),
        (ask("Hi", response_format={"type": "json_schema", "json_schema": {}}), {"json_schema"}),
        (part("image_url"), {"vision"}),
        (part("input_audio"), {"audio"}),
        (part("file"), {"documents"}),
        (ask("Hi", modalities=["text", "audio"]), {"audio"}),
        (ask("Hi", modalities=["text"]), set()),
        (ask("Hi", reasoning_effort="high"), {"reasoning"}),
        (ask("Hi", reasoning_effort="none"), set()),
        (ask("Hi", thinking={"type": "enabled", "budget_tokens": 2000}), {"reasoning"}),
        (ask("Hi", thinking={"type": "disabled"}), set()),
    ],
)  # fmt: skip
def test_needs_come_from_the_request(body: dict[str, Any], needs: set[str]) -> None:
    assert analyse(body, "chat", 5).needs == needs
    assert needs <= set(CAPABILITIES)


def test_an_image_of_an_earlier_turn_is_needed_too() -> None:
    image = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}
    body = {
        "messages": [image, {"role": "assistant", "content": "A cat."}, {"role": "user", "content": "Which breed?"}]
    }
    assert analyse(body, "chat", 900).needs == {"vision"}


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_the_callers_maximum_is_what_is_reserved_for(name: str) -> None:
    task = analyse(ask("Write a long essay about rivers", **{name: 30}), "chat", 8)
    assert (task.output_tokens, task.most_output_tokens, task.bounded) == (30, 30, True)


@pytest.mark.parametrize("value", [None, 0, -5, "90", True, 1.5, []])
def test_a_maximum_that_is_none_is_passed_over(value: object) -> None:
    task = analyse(ask("Hi", max_tokens=value), "chat", 2)
    assert not task.bounded
    assert task.most_output_tokens == LEAST_RESERVED


def test_several_answers_are_as_many_times_as_long() -> None:
    one, three = (analyse(ask("Write a haiku", n=n), "chat", 5) for n in (1, 3))
    assert three.output_tokens == 3 * one.output_tokens
    assert three.most_output_tokens == 3 * one.most_output_tokens
    assert three.choices == 3


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("Explain tides in one sentence", 20, 60),
        ("Explain tides in 300 words", 350, 500),
        ("Write a 1000-word article about tides", 1_200, 1_700),
        ("Beschreibe Ebbe und Flut in drei Sätzen", 60, 130),
        ("Explique les marées en deux phrases", 30, 90),
        ("Explica las mareas en 100 palabras", 120, 200),
        ("Explain what a word is and why the page turns", 60, 400),
    ],
)
def test_a_length_that_is_asked_for_is_expected(text: str, low: int, high: int) -> None:
    assert low <= analyse(ask(text), "chat", 10).output_tokens <= high


def test_brief_and_detailed_answers_differ_in_length() -> None:
    lengths = [
        analyse(ask(f"Explain {how}how tides come about"), "chat", 10).output_tokens
        for how in ("briefly ", "", "in detail ")
    ]
    assert lengths == sorted(set(lengths))


def test_a_translation_is_as_long_as_its_text_and_never_reserved_below_it() -> None:
    task = analyse(ask("Translate into German:\n" + "The ship sails at noon. " * 2_000), "chat", 12_000)
    assert task.output_tokens > 12_000
    assert task.most_output_tokens >= 1.25 * task.output_tokens - 1


def test_thinking_harder_writes_more_and_is_no_easier() -> None:
    tasks = [
        analyse(ask("Why do cats purr?", reasoning_effort=effort), "chat", 8) for effort in ("low", "medium", "high")
    ]
    assert [task.output_tokens for task in tasks] == sorted({task.output_tokens for task in tasks})
    levels = [COMPLEXITIES.index(task.complexity) for task in tasks]
    assert levels == sorted(levels)


@pytest.mark.parametrize(
    ("hint", "domain", "complexity"),
    [
        ("code", "code", None),
        ("EXPERT", None, "expert"),
        ("expert code", "code", "expert"),
        ("hard-maths", "math", "complex"),
        ("creative", "writing", None),
        ("billing", None, None),
    ],
)
def test_the_callers_own_word_wins(hint: str, domain: str | None, complexity: str | None) -> None:
    plain, told = (analyse(ask("What is the capital of Peru?"), "chat", 8, one) for one in (None, hint))
    assert told.domain == (domain or plain.domain)
    assert told.complexity == (complexity or plain.complexity)
    assert any(hint in reason for reason in told.reasons) == (domain is not None or complexity is not None)


def test_the_instruction_counts_wherever_it_stands_around_long_material() -> None:
    material = "def run(queue):\n    return queue.pop()\n# the function of the class is tested\n" * 400
    for text in (
        f"Translate the comments into French.\n{material}",
        f"{material}\nTranslate the comments into French.",
    ):
        assert analyse(ask(text), "chat", 8_000).domain in ("translation", "code")
    prose = "The old mill stood by the river and nobody had lived there for many years. " * 400
    for text in (f"Summarize this text.\n{prose}", f"{prose}\nSummarize this text."):
        assert analyse(ask(text), "chat", 8_000).domain == "summary"


def test_the_systems_instructions_tell_what_data_is_for() -> None:
    data = {"role": "user", "content": "Dear team, the parcel has not arrived, order 4711, regards, Kim"}
    system = {"role": "system", "content": "Extract the order number and classify the sentiment of each message."}
    assert analyse({"messages": [system, data]}, "chat", 40).domain == "extraction"
    assert analyse({"messages": [data]}, "chat", 20).domain != "extraction"


def test_short_last_words_are_read_with_those_before() -> None:
    turns = [
        {"role": "user", "content": "Write a poem about the sea"},
        {"role": "assistant", "content": "The sea, the sea …"},
        {"role": "user", "content": "shorter"},
    ]
    assert analyse({"messages": turns}, "chat", 30).domain == "writing"


def test_long_words_are_looked_at_in_head_and_tail() -> None:
    text = "a" * 10_000 + "z" * 10_000
    shown = text_of(ask(text))
    assert len(shown) <= HEAD + TAIL + 1
    assert (shown[0], shown[-1]) == ("a", "z")


def test_embeddings_have_one_task() -> None:
    task = analyse({"input": ["Prove this", "Translate that"]}, "embeddings", 5)
    assert (task.complexity, task.output_tokens, task.needs, task.confidence) == ("simple", 0, frozenset(), 1.0)


@pytest.mark.parametrize(
    ("body", "marked"),
    [
        (ask("Hi"), False),
        (ask([{"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}]), False),
        (ask([{"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]), True),
        (ask("Hi", cache_control={"type": "ephemeral", "ttl": "1h"}), True),
        (ask("Hi", tools=[{"cache_control": {"type": "ephemeral", "ttl": "1h"}}]), True),
    ],
)
def test_a_mark_to_cache_for_an_hour_is_seen(body: dict[str, Any], marked: bool) -> None:
    assert analyse(body, "chat", 5).hour_cache is marked


def test_reasons_name_what_was_found() -> None:
    reasons = " ".join(analyse(ask("Prove that 2 + 2 = 4\n```python\nassert 2 + 2 == 4\n```"), "chat", 20).reasons)
    assert "prove" in reasons
    assert "code in the prompt" in reasons


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
names = st.sampled_from(
    ["messages", "tools", "functions", "response_format", "modalities", "reasoning_effort", "reasoning", "thinking",
     "max_tokens", "max_completion_tokens", "n", "cache_control", "ttl",
     "role", "content", "type", "text", "tool_calls", "effort"]
)  # fmt: skip
shaped = st.recursive(
    json_values | st.sampled_from(["user", "system", "text", "image_url", "json_schema", "high", "enabled"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=6),
    max_leaves=20,
)


@given(st.dictionaries(names, shaped, max_size=8), st.integers(0, 10**6), st.none() | st.text(max_size=200))
def test_any_json_gives_a_task(body: dict[str, Any], tokens: int, hint: str | None) -> None:
    task = analyse(body, "chat", tokens, hint)
    assert task.domain in DOMAINS
    assert task.complexity in COMPLEXITIES
    assert task.needs <= set(CAPABILITIES)
    assert 1 <= task.output_tokens <= task.most_output_tokens
    assert 0.0 <= task.confidence <= 1.0


@given(st.text(max_size=9_000))
def test_any_words_give_a_task_with_a_bounded_reservation(text: str) -> None:
    task = analyse(ask(text), "chat", len(text) // 4)
    assert task.output_tokens <= task.most_output_tokens
    assert task.most_output_tokens <= max(MOST_OUTPUT, 1.25 * task.output_tokens + 1)
    assert 4 * task.output_tokens <= task.most_output_tokens or task.most_output_tokens >= MOST_OUTPUT
    assert analyse(ask(text), "chat", len(text) // 4) == task
