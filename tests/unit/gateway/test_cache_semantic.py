"""The semantic cache finds the same question in other words, and never takes another question for it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from typing import Any, TypeVar
from zlib import crc32

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.call import lexical
from gateway.call.cache import AnswerCache
from gateway.call.likeness import read, replaced
from gateway.call.semantic import Asked, Embed, SemanticCache, SemanticIndex, asked
from gateway.prompt import Limits, Prompt, Tenant

T = TypeVar("T")
KEY = b"k" * 32

SAME = [
    ("What is the capital of France?", "Please, what is the capital of France?"),
    ("What is the capital of France?", "what's the capital of france"),
    ("What is the capital of France?", "Please tell me what is the capital of France."),
    ("What is the capital of France?", "Hi there! Could you tell me what is the capital of France?"),
    ("Explain photosynthesis.", "Can you please explain photosynthesis?"),
    ("Write a haiku about rain", "Hello, write a haiku about rain, please!"),
    ("Why isn't the sky green?", "why is not the sky green"),
    ("How do I reset my password?", "  how do I   reset my password  "),
    ("Translate 'cat' to French, thanks!", "Translate 'cat' to French."),
]
OTHER = [
    ("What is the capital of France?", "What is the capital of Germany?"),
    ("what is the capital of france", "what is the capital of germany"),
    ("What is 2+2?", "What is 2+3?"),
    ("What is 2+2?", "What is 2-2?"),
    ("What is (2+3)*4?", "What is 2+(3*4)?"),
    ("What is -2 + 3?", "What is 2 + -3?"),
    ("What is 5!?", "What is 5?"),
    ("What is 1.5 times 3?", "What is 15 times 3?"),
    ("Is aspirin safe for dogs?", "Is aspirin not safe for dogs?"),
    ("Is it safe?", "Isn't it safe?"),
    ("Is aspirin safe for dogs?", "Is aspirin unsafe for dogs?"),
    ("Is it legal to own a fox?", "Is it illegal to own a fox?"),
    ("Translate the word house into French", "Translate the word house into Spanish"),
    ("Translate from English to German: hello", "Translate from German to English: hello"),
    ("Answer in English: what is a tree?", "Answer in Dutch: what is a tree?"),
    ("Convert 5 USD to EUR", "Convert 5 EUR to USD"),
    ("Convert 5 USD to EUR", "Convert 50 USD to EUR"),
    ("Flights from Paris to London", "Flights to Paris from London"),
    ("Does the dog bite the man?", "Does the man bite the dog?"),
    ("Who is the president of France?", "Who was the president of France?"),
    ("Who won in 2018?", "Who won in 2022?"),
    ("What happened before the war?", "What happened after the war?"),
    ("A recipe with nuts", "A recipe without nuts"),
    ("Recipes for dinner", "Vegetarian recipes for dinner"),
    ("Increase the volume by ten", "Decrease the volume by ten"),
    ("What is the minimum of the list", "What is the maximum of the list"),
    ("What does `foo(a)` return?", "What does `foo(b)` return?"),
    ('What does "get" mean?', 'What does "got" mean?'),
    ("Summarise: 'I like it.'", "Summarise: 'I hate it.'"),
    ("Is IT a good job?", "Is it a good job?"),
    ("What is myVar here?", "What is myvar here?"),
    ("Explain C", "Explain C++"),
    ("Explain C#", "Explain C"),
    ("Can you swim?", "Swim?"),
    ("What is aspirin?", "What does aspirin do?"),
    ("How do I say thanks?", "How do I say?"),
    ("Hello world in C", "World in C"),
    ("List two fruits", "List three fruits"),
    ("Name all prime ministers", "Name some prime ministers"),
    ("How many people live in Rome?", "How much do people live in Rome?"),
    ("Will it rain on Monday?", "Will it rain on Tuesday?"),
    ("if a:\n    b()\nc()", "if a:\n    b()\n    c()"),
    ("1. milk\n2. eggs", "1. eggs\n2. milk"),
    ("Is my brother older than my sister?", "Is my sister older than my brother?"),
    ("日本の首都は", "中国の首都は"),
    ("Ist das gefährlich?", "Ist das nicht gefährlich?"),
    ("Let's eat, grandma", "Let's eat grandma"),
    ("What is v1.2 of it?", "What is v1.3 of it?"),
    ("Mail ann@example.com about it", "Mail bob@example.com about it"),
]


def done(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def prompt(text: Any, **changes: Any) -> Prompt:
    body: dict[str, Any] = {
        "model": "auto",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}],
        "temperature": 0,
    }
    body.update(changes.pop("body", {}))
    made = Prompt(id="1", tenant=Tenant(workspace="a"), kind="chat", model="auto", body=body)
    return replace(made, **changes)


def question(text: Any, **changes: Any) -> Asked:
    found = asked(prompt(text, **changes), "auto")
    assert found is not None
    return found


async def hit(index: SemanticIndex, kept: Asked, asked_: Asked, threshold: float) -> bool:
    await index.add(kept, KEY, ttl_s=60.0)
    return await index.find(asked_, threshold) == KEY


async def all_alike(text: str) -> Sequence[float]:
    """A model that takes everything for the same."""
    return [0.6, 0.8]


def model_of(*synonyms: tuple[str, str]) -> Embed:
    """A model that knows some words to be the same, and takes all others for different ones."""
    known = {other: one for one, other in synonyms}

    async def embed(text: str) -> Sequence[float]:
        found = [0.0] * 509
        for word in text.split():
            found[crc32(known.get(word, word).encode()) % 509] += 1.0
        return found

    return embed


@pytest.mark.parametrize("one, other", SAME)
def test_the_same_question_in_other_politeness_is_found(one: str, other: str) -> None:
    assert done(hit(SemanticIndex(), question(one), question(other), 0.95))
    assert done(hit(SemanticIndex(), question(other), question(one), 0.95))


@pytest.mark.parametrize("one, other", OTHER)
def test_another_question_is_not(one: str, other: str) -> None:
    for threshold in (0.95, 0.01):
        assert not done(hit(SemanticIndex(), question(one), question(other), threshold))


@pytest.mark.parametrize("one, other", OTHER)
def test_another_question_is_not_whatever_the_model_says(one: str, other: str) -> None:
    for left, right in ((one, other), (other, one)):
        assert not done(hit(SemanticIndex(all_alike), question(left), question(right), 0.95))


def test_all_questions_having_the_same_vector_does_not_give_all_the_same_answer() -> None:
    async def run() -> None:
        index = SemanticIndex(all_alike)
        texts = [f"what is the {noun} of {place}" for noun in ("capital", "size", "flag") for place in "abcdefgh"]
        for number, text in enumerate(texts):
            await index.add(question(text), bytes([number]) * 32, ttl_s=60.0)
        for number, text in enumerate(texts):
            found = await index.find(question(text.upper() + "?"), 0.5)
            assert found in (bytes([number]) * 32, None)

    done(run())


def test_a_model_that_tells_words_apart_may_replace_one() -> None:
    embed = model_of(("big", "large"), ("fix", "repair"))
    index = SemanticIndex(embed)
    kept = question("how do i fix a big hole in my wall")
    assert done(hit(index, kept, question("How do I repair a large hole in my wall?"), 0.5))
    assert not done(hit(SemanticIndex(embed), kept, question("How do I repair a small hole in my wall?"), 0.5))
    assert not done(hit(SemanticIndex(embed), kept, question("How do I repair a large hole in our wall?"), 0.5))
    assert not done(hit(SemanticIndex(model_of(("big", "large"))), question("so big"), question("so large"), 0.1))
    # Paris and London count as one for a model that is taught so: then it may replace nothing at all.
    taught = model_of(("big", "large"), ("paris", "london"), ("france", "germany"))
    assert not done(hit(SemanticIndex(taught), kept, question("how do i fix a large hole in my wall"), 0.5))


def test_names_are_never_replaced() -> None:
    embed = model_of(("berlin", "munich"))
    kept, other = question("how far is it to Berlin by train"), question("how far is it to Munich by train")
    assert not done(hit(SemanticIndex(embed), kept, other, 0.1))
    assert replaced(read("how far is it to berlin by train"), read("how far is it to munich by train")) is not None


def test_the_threshold_is_kept() -> None:
    kept, other = question("What is the capital of France"), question("what's the capital of france?")
    assert done(hit(SemanticIndex(), kept, other, 1.0))
    embed = model_of()
    moved = question("how do i fix a big hole in my wall please")
    assert not done(hit(SemanticIndex(embed), question("how do i fix a big hole in my wall"), moved, 0.999))


@pytest.mark.parametrize(
    "changes",
    [
        {"body": {"temperature": 1}},
        {"body": {"tools": [{"type": "function"}]}},
        {"body": {"model": "best"}},
        {"body": {"messages": [{"role": "user", "content": "What is the capital of France?"}]}},
        {"body": {"a_field_of_next_year": 1}},
        {"limits": Limits(local_only=True)},
        {"tenant": Tenant(workspace="b")},
    ],
)
def test_everything_else_must_be_the_same(changes: dict[str, Any]) -> None:
    text = "What is the capital of France?"
    assert not done(hit(SemanticIndex(), question(text), question(text, **changes), 0.1))


def test_earlier_messages_and_the_models_must_be_the_same() -> None:
    text = "And its population?"
    about = [
        question(text, body={"messages": [{"role": "user", "content": place}, {"role": "user", "content": text}]})
        for place in ("France", "Spain")
    ]
    assert not done(hit(SemanticIndex(), about[0], about[1], 0.1))
    other = asked(prompt(text), ["acme/large"])
    assert other is not None
    assert not done(hit(SemanticIndex(), question(text), other, 0.1))


@pytest.mark.parametrize(
    "odd",
    [
        prompt("x" * 5000),
        prompt(""),
        prompt("   "),
        prompt("what is it", kind="embeddings"),
        prompt("what is it", native={"messages": []}),
        prompt([{"type": "text", "text": "what is it"}, {"type": "image_url", "image_url": {"url": "x"}}]),
        prompt("what is it", body={"messages": []}),
        prompt("what is it", body={"messages": [{"role": "assistant", "content": "what is it"}]}),
        prompt("what is it", body={"messages": [{"role": "tool", "tool_call_id": "1", "content": "what is it"}]}),
    ],
)
def test_what_is_no_plain_question_is_left_to_the_exact_cache(odd: Prompt) -> None:
    assert asked(odd, "auto") is None


def test_parts_of_text_are_a_text() -> None:
    parts = [{"type": "text", "text": "What is the capital of France?"}]
    assert done(hit(SemanticIndex(), question("what is the capital of france"), question(parts), 0.95))


def test_times_erasure_and_memory() -> None:
    now = [0.0]

    async def run() -> None:
        index = SemanticIndex(clock=lambda: now[0], most_bytes=60_000)
        one = question("What is the capital of France?")
        await index.add(one, KEY, ttl_s=10.0, user="ann")
        assert await index.find(one) == KEY
        now[0] = 10.0
        assert await index.find(one) is None
        await index.add(one, KEY, ttl_s=10.0, user="ann")
        assert len(index) == 1
        await index.add(question("What is the capital of Spain?"), b"s" * 32, ttl_s=10.0, user="bob")
        assert index.erase("b") == 0
        assert index.erase("a", "ann") == 1
        assert await index.find(one) is None
        assert index.erase("a") == 1
        assert (len(index), index._bytes) == (0, 0)
        for number in range(300):
            changed = question(f"What is number {number}?", body={"seed": number // 3})
            await index.add(changed, bytes([number % 256]) * 32, ttl_s=10.0)
            assert index._bytes <= 60_000
        assert 3 < len(index) < 100
        many = SemanticIndex(clock=lambda: now[0])
        for number in range(600):
            await many.add(question(f"What is number {number}?"), number.to_bytes(32, "big"), ttl_s=10.0)
        assert len(many) == 512
        assert await many.find(question("what is number 599")) == (599).to_bytes(32, "big")
        assert await many.find(question("what is number 1")) is None

    done(run())


def test_a_failing_or_a_changed_model_finds_nothing_and_breaks_nothing() -> None:
    state = {"mode": "short"}

    async def embed(text: str) -> Sequence[float]:
        if state["mode"] == "fails":
            raise ConnectionError("no embeddings today")
        return {"short": [1.0, 0.0], "long": [1.0, 0.0, 0.0], "nan": [float("nan"), 1.0], "none": []}[state["mode"]]

    async def run() -> None:
        index, one = SemanticIndex(embed), question("What is the capital of France?")
        await index.add(one, KEY, ttl_s=60.0)
        assert await index.find(one) == KEY
        for mode in ("fails", "nan", "none", "long"):
            state["mode"] = mode
            assert await index.find(one) is None
        await index.add(one, KEY, ttl_s=60.0)
        assert await index.find(one) == KEY
        assert len(index) == 1

    done(run())


def test_with_the_answers_themselves() -> None:
    async def run() -> None:
        answers = AnswerCache()
        cache = SemanticCache(answers)
        one, like = prompt("What is the capital of France?"), prompt("what's the capital of france")
        body = {"choices": [{"index": 0, "message": {"content": "Paris"}, "finish_reason": "stop"}]}
        assert await cache.find(like, "auto") is None
        answers.put("a", KEY, body)
        await cache.put(one, "auto", KEY)
        assert await cache.find(like, "auto") == body
        assert await cache.find(prompt("what's the capital of spain"), "auto", 0.1) is None
        assert await cache.find(replace(like, tenant=Tenant("b")), "auto") is None
        answers.drop(KEY)
        assert await cache.find(like, "auto") is None
        assert len(cache.index) == 0
        await cache.put(one, "auto", KEY)
        assert cache.erase("a") == 1

    done(run())


@given(st.text(max_size=80), st.text(max_size=80))
def test_any_text_can_be_read_and_only_like_ones_are_alike(one: str, other: str) -> None:
    left, right = read(one), read(other)
    assert replaced(left, left) == (() if left.tokens else None)
    if replaced(left, right) == ():
        letters = [[char for char in text.casefold() if char.isalnum()] for text in (left.plain, right.plain)]
        assert [char for char in letters[0] if char not in "the"] == [char for char in letters[1] if char not in "the"]


@given(st.text(max_size=60))
def test_vectors_have_length_one(text: str) -> None:
    made = lexical.vector(text)
    assert made.shape == (lexical.DIMENSIONS,)
    assert float(np.linalg.norm(made)) == pytest.approx(1.0 if text.split() else 0.0, abs=1e-4)


def test_likeness_of_vectors_follows_likeness_of_words() -> None:
    base = lexical.vector("what is the capital of france")
    near, far = lexical.vector("what is the capital of germany"), lexical.vector("write a poem about winter rain")
    assert float(base @ base) == pytest.approx(1.0, abs=1e-5)
    assert float(base @ near) > float(base @ far) + 0.3


def test_questions_are_forgotten_with_the_answers_whoever_has_them_forgotten() -> None:
    answers = AnswerCache()
    semantic = SemanticCache(answers)

    async def forget() -> None:
        for user in ("ada", "ben"):
            tenant = Tenant(workspace="a", user=user)
            await semantic.put(prompt(f"What is the capital of {user}?", tenant=tenant), "m", user.encode())
        # As another gateway tells of it, or a route here.
        await answers.erase("a", "ada")

    asyncio.run(forget())
    assert semantic.erase("a", "ada") == 0
    assert semantic.erase("a") == 1
