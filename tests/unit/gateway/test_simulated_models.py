"""The simulated models are what the gateway's own configuration says of them, and can be adjusted."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

import gateway
from features.world.llm.models import true_quality
from features.world.llm.offers import MODELS
from features.world.llm.tasks import COMPLEXITIES, DOMAINS
from gateway.choose.catalogue import Price
from gateway.simulated.asked import Refused
from gateway.simulated.models import ServedModels
from gateway.usage import Usage

CONFIGURED: dict[str, dict[str, Any]] = tomllib.loads(
    Path(gateway.__file__).with_name("providers.toml").read_text(encoding="utf-8")
)["models"]


def test_the_configuration_names_the_models_that_there_are() -> None:
    assert set(CONFIGURED) == set(MODELS)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_prices_speeds_and_abilities_are_those_of_the_configuration(name: str) -> None:
    model, said = MODELS[name], CONFIGURED[name]
    price = said["price"]
    assert model.input == pytest.approx(price["input"] * 1_000)
    assert model.output == pytest.approx(price.get("output", 0) * 1_000)
    assert model.cached == pytest.approx(price.get("cached", price["input"]) * 1_000)
    assert model.context == said["context"]
    assert model.capabilities == set(said["capabilities"])
    assert model.ttft_ms == said["latency_ms"]
    if model.kind == "chat":
        assert model.max_output == said["max_output"]
        assert model.tokens_per_second == said["tokens_per_second"]


@pytest.mark.parametrize("name", sorted(MODELS))
def test_the_qualities_of_the_configuration_are_the_mean_over_the_complexities(name: str) -> None:
    said = CONFIGURED[name]["quality"]
    for domain in DOMAINS:
        mean = sum(true_quality(MODELS[name], domain, complexity) for complexity in COMPLEXITIES) / len(COMPLEXITIES)
        assert mean == pytest.approx(said.get(domain, said["default"]), abs=0.005)


@pytest.mark.parametrize(
    ("given", "cached", "written"), [(1_000, 0, 0), (5_000, 2_048, 0), (3_000, 1_024, 1_976), (250_000, 4_096, 1_000)]
)
def test_the_bill_and_the_gateway_price_tokens_alike(given: int, cached: int, written: int) -> None:
    model = MODELS["simulated/large"]
    tier = Price(6_000, 22_500, cached=600, cache_write=7_500)
    price = Price(3_000, 15_000, cached=300, cache_write=3_750, tiers=((200_000, tier),))
    usage = Usage(input=given, cached=cached, cache_write=written, output=333)
    assert model.cost(given, 333, cached, written) == price.cost(usage)


def test_a_model_is_found_by_its_name_at_either_address() -> None:
    models = ServedModels()
    assert models.find("simulated", "small").id == "simulated/small"
    assert models.find("simulated-local", "small").id == "simulated-local/small"
    assert models.find("simulated", "local-small").id == "simulated-local/small"
    assert {name for name, _ in models.offered("simulated")} >= {"nano", "embed", "local-large"}
    assert {name for name, _ in models.offered("simulated-local")} == {"small", "large"}
    with pytest.raises(Refused, match="does not exist") as refused:
        models.find("simulated", "gpt")
    assert refused.value.status == 404


def test_adjusting_holds_until_reset() -> None:
    models = ServedModels()
    told = models.adjust("simulated/large", {"input_price": 1.5, "quality": -2, "tokens_per_second": 10})
    assert (told["input_price"], told["quality"], told["tokens_per_second"]) == (1.5, -2, 10)
    changed = models.find("simulated", "large")
    # A price that is set holds for long prompts too.
    assert changed.cost(300_000, 0) == 300_000 * 1_500
    assert models.shift(changed) == -2
    models.reset()
    assert models.find("simulated", "large") == MODELS["simulated/large"]


@pytest.mark.parametrize(
    ("changes", "name"), [({"prize": 1}, "'prize'"), ({"failures": 2}, "failures = 2"), ({"quality": "bad"}, "'bad'")]
)
def test_what_cannot_be_adjusted_is_named(changes: dict[str, Any], name: str) -> None:
    with pytest.raises(Refused, match=name):
        ServedModels().adjust("simulated/nano", changes)
