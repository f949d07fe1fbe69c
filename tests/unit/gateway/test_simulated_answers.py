"""Answers keep what the request sets: length, stops, schemas, tools, chance; and they are the same every time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jsonschema
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.world.llm.offers import MODELS
from features.world.llm.tokens import count, cut, pieces
from gateway.simulated.answers import Answers, Reply
from gateway.simulated.asked import Asked, Tool
from gateway.simulated.embeddings import embed
from gateway.simulated.prompt_cache import PromptCache
from gateway.simulated.schema import fill, spoil
from gateway.simulated.tasks import generate
from gateway.simulated.truth import grade

LARGE, THINKER, NANO = MODELS["simulated/large"], MODELS["simulated/thinker"], MODELS["simulated/nano"]
ARTICLE = "Write an article of about 200 words on battery storage. Cover running costs, legal duties and next steps."
WEATHER = Tool(
    "get_weather",
    "Current weather of a city",
    {
        "type": "object",
        "properties": {"city": {"type": "string"}, "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]}},
        "required": ["city", "unit"],
    },
)
STOCK = Tool("stock_price", "Price of a share", {"type": "object", "properties": {"symbol": {"type": "string"}}})


def asked(text: str, **fields: Any) -> Asked:
    return replace(Asked("large", text, f"user: {text}", 1), **fields)


def reply(request: Asked, model: str = "simulated/large", seed: int = 7, shift: float = 9.0) -> Reply:
    """Of a model that is always right, unless the test says otherwise."""
    return Answers(seed).reply(MODELS[model], request, shift)


def test_the_same_request_has_the_same_answer_in_every_process() -> None:
    assert Answers(7).reply(LARGE, asked(ARTICLE)) == Answers(7).reply(LARGE, asked(ARTICLE))
    others = {Answers(seed).reply(LARGE, asked(ARTICLE)).text for seed in range(5)}
    assert len(others) > 1
    assert Answers(7).reply(LARGE, asked(ARTICLE), variant=1) != Answers(7).reply(LARGE, asked(ARTICLE), variant=2)


def test_better_models_are_right_more_often() -> None:
    answers = Answers(7)
    score = {
        name: sum(grade(task, answers.reply(MODELS[name], asked(task.prompt)).text) for task in generate(1, 400)) / 400
        for name in ("simulated/nano", "simulated/medium", "simulated/large")
    }
    assert score["simulated/nano"] + 0.15 < score["simulated/medium"] < score["simulated/large"] - 0.05


@given(st.integers(1, 120), st.sampled_from([LARGE, THINKER, NANO]))
def test_no_answer_is_longer_than_asked_for(most: int, model: Any) -> None:
    said = Answers(7).reply(model, asked(ARTICLE, max_tokens=most))
    assert said.output <= most
    assert count(said.text) + said.reasoning_tokens <= most + 1
    whole = Answers(7).reply(model, asked(ARTICLE))
    assert whole.text.startswith(said.text)
    assert said.finish == ("length" if most < whole.output else "stop")


def test_a_stop_ends_the_answer_before_it() -> None:
    whole = reply(asked(ARTICLE)).text
    cut_short = reply(asked(ARTICLE, stop=("legal duties",)))
    assert cut_short.text == whole.partition("legal duties")[0] != whole
    assert (cut_short.finish, cut_short.output) == ("stop", count(cut_short.text))


def test_a_thinker_thinks_unless_told_not_to() -> None:
    thought = reply(asked("What is 2 + 2?"), "simulated/thinker")
    assert 0 < thought.reasoning_tokens < thought.output
    assert not reply(asked("What is 2 + 2?", thinking=False), "simulated/thinker").reasoning


def test_a_tool_is_called_where_it_fits_the_prompt() -> None:
    said = reply(asked("What is the weather in Paris, in celsius?", tools=(STOCK, WEATHER)))
    assert said.finish == "tool_calls"
    assert said.tool is not None
    assert said.tool[0] == "get_weather"
    assert orjson.loads(said.tool[1]) == {"city": "Paris", "unit": "celsius"}
    assert reply(asked("Tell me a joke", tools=(WEATHER,))).tool is None
    assert reply(asked("Tell me a joke", tools=(WEATHER,), tool_choice="required")).tool is not None
    assert reply(asked("Weather in Rome?", tools=(WEATHER,), tool_choice="none")).tool is None
    named = reply(asked("Weather in Rome?", tools=(WEATHER, STOCK), tool_choice="stock_price")).tool
    assert named is not None
    assert named[0] == "stock_price"


def test_after_the_tool_has_answered_the_model_says_what_it_said() -> None:
    said = reply(asked("Weather in Rome?", tools=(WEATHER,), tool_result=("get_weather", '{"celsius": 31}')))
    assert said.tool is None
    assert "31" in said.text


def test_a_weak_model_spoils_arguments() -> None:
    calls = [
        reply(asked(f"Weather in Rome? {n}", tools=(WEATHER,), tool_choice="required"), shift=-12).tool
        for n in range(20)
    ]
    valid = [jsonschema.Draft202012Validator(WEATHER.parameters).is_valid(orjson.loads(one[1])) for one in calls if one]
    assert sum(valid) <= 3


INVOICE: dict[str, Any] = {
    "type": "object",
    "properties": {
        "customer": {"type": "string"},
        "email": {"type": "string", "format": "email"},
        "amount": {"type": "number", "minimum": 0},
        "paid": {"type": "boolean"},
        "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}, "minItems": 2},
        "status": {"enum": ["open", "closed"]},
    },
    "required": ["customer", "email", "amount", "paid", "lines", "status"],
    "additionalProperties": False,
    "$defs": {
        "line": {
            "type": "object",
            "properties": {"text": {"type": "string", "minLength": 3}, "count": {"type": "integer", "maximum": 99}},
            "required": ["text", "count"],
        }
    },
}
LETTER = "Invoice. customer: Nordwind GmbH, amount: 17.50, reach anna@nordwind.example; status is closed."


def test_json_fits_its_schema_and_takes_values_from_the_prompt() -> None:
    value = orjson.loads(reply(asked(LETTER, schema=INVOICE)).text)
    jsonschema.validate(value, INVOICE)
    assert value["customer"] == "Nordwind GmbH"
    assert value["email"] == "anna@nordwind.example"
    assert (value["amount"], value["status"]) == (17.5, "closed")


def test_json_without_a_schema_holds_the_answer() -> None:
    assert orjson.loads(reply(asked("What is 12 + 30?", schema={})).text) == {"answer": "42"}
    said = orjson.loads(reply(asked("What is 12 + 30?", schema={"properties": {"result": {"type": "integer"}}})).text)
    assert said == {"result": 42}


schemas: st.SearchStrategy[dict[str, Any]] = st.recursive(
    st.sampled_from(
        [
            {"type": "string"},
            {"type": "string", "maxLength": 4},
            {"type": "string", "minLength": 40},
            {"type": "integer", "minimum": 5, "maximum": 9},
            {"type": "number", "exclusiveMaximum": 3},
            {"type": "boolean"},
            {"type": "null"},
            {"enum": ["a", 2]},
            {"const": {"x": 1}},
            {"type": ["null", "string"]},
        ]
    ),
    lambda inner: st.one_of(
        st.builds(lambda one: {"type": "array", "items": one, "minItems": 2, "maxItems": 3}, inner),
        st.builds(lambda one, other: {"anyOf": [one, other]}, inner, inner),
        st.dictionaries(st.sampled_from("abcd"), inner, min_size=1).map(
            lambda of: {"type": "object", "properties": of, "required": sorted(of), "additionalProperties": False}
        ),
    ),
    max_leaves=8,
)


@given(schemas, st.text(max_size=80))
def test_whatever_the_schema_what_is_filled_fits(schema: Mapping[str, Any], text: str) -> None:
    jsonschema.validate(fill(schema, text), schema)


def test_spoiled_json_does_not_fit() -> None:
    from random import Random

    for seed in range(20):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(spoil(fill(INVOICE, LETTER), INVOICE, Random(seed)), INVOICE)


@given(st.text(max_size=300))
def test_pieces_joined_are_the_text(text: str) -> None:
    assert "".join(pieces(text)) == text


@given(st.text(max_size=100), st.integers(0, 30))
def test_a_text_is_cut_at_tokens(text: str, most: int) -> None:
    shown = text.encode("utf-8", "replace").decode()
    assert shown.startswith(cut(shown, most))
    assert count(cut(shown, most)) <= most + 1


def test_only_long_beginnings_are_cached() -> None:
    cache = PromptCache()
    prompt = list(range(3_000))
    assert cache.read("a", prompt) == 0
    assert cache.read("a", prompt) == 2_944  # whole steps of 128
    assert cache.read("a", prompt[:2_000] + [1] * 1_000) == 1_920
    assert cache.read("b", prompt) == 0
    assert cache.read("a", prompt[:1_000]) == 0
    assert cache.read("a", [9, *prompt]) == 0


def test_the_cache_forgets_the_oldest() -> None:
    cache = PromptCache(most=20)
    for number in range(10):
        cache.read("a", [number] * 1_280)
    assert cache.read("a", [0] * 1_280) == 0
    assert cache.read("a", [9] * 1_280) == 1_280


def test_texts_with_the_same_words_lie_near_each_other() -> None:
    def near(one: str, other: str) -> float:
        return sum(a * b for a, b in zip(embed(one), embed(other), strict=True))

    assert near("How do I reset my password?", "How do I reset my password?") == pytest.approx(1, abs=1e-5)
    assert near("How do I reset my password?", "how can i reset the password") > 0.5
    assert near("How do I reset my password?", "What is the capital of France") < 0.3
    assert sum(embed("", 8)) == 0


@pytest.mark.parametrize(
    "text",
    [
        "Consider " + "include cover mention " * 900,
        "extract e-mail address " + "a.b-" * 5_000,
        "The " + "a b-c " * 3_000,
        "A)" + "\n" * 15_000,
        "convert " + "1 , " * 4_000,
        "what is " + "(1+" * 5_000,
        "{" * 10_000 + ' value of "a"',
        "```python\n" * 2_000,
    ],
)
@pytest.mark.timeout(60)
def test_no_text_keeps_the_reader_busy(text: str) -> None:
    # An expression that goes back and forth over such a text would never end.
    assert reply(asked(text)).text
