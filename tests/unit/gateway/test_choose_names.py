"""What the field `model` may say, and what is said of a name that means nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.choose.catalogue import DOMAINS, Model
from gateway.choose.ensemble import Ensemble
from gateway.choose.virtual import DESCRIPTIONS, Names, Strategy
from store.errors import InvalidValue, UnknownLlm

CATALOGUE = [
    Model("openai/gpt-5-mini", "openai", "gpt-5-mini"),
    Model("groq/llama-70b", "groq", "llama-70b"),
    Model("together/llama-70b", "together", "llama-70b"),
    Model("router/openai/gpt-5-mini", "router", "openai/gpt-5-mini"),
]
NAMES = Names(
    CATALOGUE,
    {"gpt-4": "small", "small": "openai/gpt-5-mini", "thrifty": "cheapest", "jury": "ensemble/team"},
    {"team": Ensemble("consensus", members=("gpt-5-mini", "groq/llama-70b"))},
)


@pytest.mark.parametrize("name", list(DESCRIPTIONS))
def test_every_strategy_is_a_name(name: str) -> None:
    assert NAMES.parse(name).strategy == name


@pytest.mark.parametrize("domain", DOMAINS)
def test_a_strategy_may_say_the_domain(domain: str) -> None:
    asked = NAMES.parse(f"auto:{domain}")
    assert (asked.strategy, asked.hint) == (Strategy.AUTO, domain)


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("openai/gpt-5-mini", "openai/gpt-5-mini"),
        ("gpt-5-mini", "openai/gpt-5-mini"),
        ("gpt-4", "openai/gpt-5-mini"),
        ("router/openai/gpt-5-mini", "router/openai/gpt-5-mini"),
        ("groq/llama-70b", "groq/llama-70b"),
    ],
)
def test_one_model_by_id_alias_or_its_only_name(name: str, model: str) -> None:
    asked = NAMES.parse(name)
    assert (asked.strategy, asked.model) == (Strategy.EXPLICIT, model)


@pytest.mark.parametrize("rule", ["majority", "weighted", "confidence", "best-of-n", "consensus"])
def test_every_rule_is_an_ensemble(rule: str) -> None:
    asked = NAMES.parse(f"ensemble/{rule}")
    assert asked.strategy is Strategy.ENSEMBLE
    assert asked.ensemble == Ensemble(rule)


@pytest.mark.parametrize("name", ["ensemble/team", "team", "jury"])
def test_a_configured_ensemble_goes_by_its_name(name: str) -> None:
    ensemble = NAMES.parse(name).ensemble
    assert ensemble is not None
    assert ensemble.members == ("gpt-5-mini", "groq/llama-70b")


def test_an_alias_may_stand_for_a_strategy() -> None:
    assert NAMES.parse("thrifty").strategy is Strategy.CHEAPEST


def test_a_name_of_two_providers_is_not_guessed() -> None:
    with pytest.raises(UnknownLlm, match="groq/llama-70b, together/llama-70b"):
        NAMES.parse("llama-70b")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("atuo", "auto"),
        ("gpt5-mini", "gpt-5-mini"),
        ("openai/gpt-5-min", "openai/gpt-5-mini"),
        ("ensemble/majorty", "ensemble/majority"),
        ("auto:cooking", None),
        ("explicit", None),
        ("", None),
        ("x" * 10_000, None),
    ],
)
def test_an_unknown_name_says_what_may_have_been_meant(name: str, meant: str | None) -> None:
    with pytest.raises(UnknownLlm) as caught:
        NAMES.parse(name)
    assert caught.value.field == "model"
    assert len(str(caught.value)) < 500
    if meant is not None:
        assert meant in caught.value.remedy


@pytest.mark.parametrize(
    ("aliases", "ensembles", "told"),
    [
        ({"a": "b", "b": "a"}, {}, "circle"),
        ({"a": "a"}, {}, "circle"),
        ({"a": "openai/gpt-5-mimi"}, {}, "openai/gpt-5-mini"),
        ({"private": "auto"}, {}, "private"),
        ({"ensemble/mine": "auto"}, {}, "ensemble/mine"),
        ({}, {"auto": Ensemble("majority")}, "auto"),
        ({}, {"majority": Ensemble("majority")}, "majority"),
        ({}, {"mine": Ensemble("majority", members=("auto", "gpt-5-mini"))}, "'auto'"),
    ],
)
def test_names_that_contradict_each_other_are_refused(
    aliases: dict[str, str], ensembles: dict[str, Ensemble], told: str
) -> None:
    with pytest.raises(InvalidValue) as caught:
        Names(CATALOGUE, aliases, ensembles)
    assert told in str(caught.value)


def test_what_is_listed_can_be_asked_for() -> None:
    listed = NAMES.listed()
    assert {"auto", "private", "ensemble/majority", "ensemble/team", "gpt-4"} <= {one["id"] for one in listed}
    for one in listed:
        assert NAMES.parse(one["id"])
        assert one["object"] == "model"
        assert one["description"]


@given(st.text(max_size=300))
def test_any_text_is_a_name_or_is_not(name: str) -> None:
    try:
        asked = NAMES.parse(name)
    except UnknownLlm:
        return
    assert asked.strategy in Strategy
