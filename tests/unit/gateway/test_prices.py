"""Money adds up: what a call costs, by hand, by invariants, and against the price table's own sums."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from decimal import Decimal

import pytest
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import (
    ClauseEquals,
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    StartDateConstraint,
    TimeOfDateConstraint,
)
from genai_prices.types import Usage as ListUsage
from hypothesis import given
from hypothesis import strategies as st

from gateway.account.prices import _listed, listed, nanos_per_token, offered
from gateway.choose.catalogue import Price
from gateway.usage import Usage

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)

per_token = st.one_of(st.just(0.0), st.floats(0.01, 1_000_000, allow_nan=False))
maybe = st.none() | per_token
plain_prices = st.builds(
    Price,
    input=per_token,
    output=per_token,
    cached=maybe,
    cache_write=maybe,
    cache_write_hour=maybe,
    reasoning=maybe,
    audio_input=maybe,
    audio_output=maybe,
)
count = st.integers(0, 2_000_000)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    """Parts that are parts: together never more than the whole."""
    inputs = [draw(count) for _ in range(4)]
    outputs = [draw(count) for _ in range(3)]
    return Usage(
        input=sum(inputs),
        cached=inputs[0],
        cache_write=inputs[1],
        audio_input=inputs[2],
        output=sum(outputs),
        reasoning=outputs[0],
        audio_output=outputs[1],
    )


def _sum(one: Usage, other: Usage) -> Usage:
    names = ("input", "cached", "cache_write", "audio_input", "output", "reasoning", "audio_output")
    return Usage(**{name: getattr(one, name) + getattr(other, name) for name in names})


@pytest.mark.parametrize(
    ("dollars", "nanos"), [(0.15, 150.0), (0.0028, 2.8), ("10", 10_000.0), (0.1 + 0.2, 300.00000000000004)]
)
def test_dollars_per_million_tokens(dollars: float | str, nanos: float) -> None:
    assert nanos_per_token(dollars) == nanos


@pytest.mark.parametrize(
    ("usage", "nanos"),
    [
        (Usage(), 0),
        (Usage(input=1_000, output=200), 1_000 * 150 + 200 * 600),
        # A cached token is not paid twice.
        (Usage(input=1_000, cached=900, output=200), 100 * 150 + 900 * 75 + 200 * 600),
        # Reasoning is output, at its price where it has none of its own.
        (Usage(input=1_000, output=200, reasoning=150), 1_000 * 150 + 200 * 600),
        (Usage(input=1_000, cache_write=500), 1_000 * 150),
    ],
)
def test_a_call_costs_what_its_parts_cost(usage: Usage, nanos: int) -> None:
    assert Price(input=150.0, output=600.0, cached=75.0).cost(usage) == nanos


def test_parts_with_prices_of_their_own() -> None:
    price = Price(
        1.0, 2.0, cached=0.1, cache_write=1.25, reasoning=3.0, audio_input=10.0, audio_output=20.0, request=7.0
    )
    usage = Usage(input=100, cached=10, cache_write=20, audio_input=30, output=50, reasoning=10, audio_output=5)
    assert price.cost(usage) == 7 + 40 * 1 + 1 + 25 + 300 + 35 * 2 + 30 + 100


@given(price=plain_prices, one=usages(), other=usages())
def test_costs_add_up(price: Price, one: Usage, other: Usage) -> None:
    together = price.cost(_sum(one, other))
    apart = price.cost(one) + price.cost(other)
    assert abs(together - apart) <= 2 + together * 1e-9


@given(price=plain_prices, usage=usages())
def test_costs_are_never_negative_and_grow_with_use(price: Price, usage: Usage) -> None:
    cost = price.cost(usage)
    assert cost >= 0
    assert price.cost(_sum(usage, Usage(input=1_000, output=1_000))) >= cost


@given(usage=usages(), cached=st.floats(0, 1))
def test_a_cached_prompt_is_never_dearer_than_a_fresh_one(usage: Usage, cached: float) -> None:
    price = Price(input=150.0, output=600.0, cached=150.0 * cached)
    fresh = Usage(input=usage.input, output=usage.output)
    assert price.cost(usage) <= price.cost(fresh)


@given(usage=usages())
def test_a_provider_whose_parts_exceed_the_whole_is_not_paid_less_than_nothing(usage: Usage) -> None:
    odd = Usage(input=0, cached=usage.cached, output=0, reasoning=usage.reasoning)
    assert Price(input=150.0, output=600.0, cached=15.0).cost(odd) >= 0


def test_above_a_tier_the_whole_call_has_its_price() -> None:
    price = Price(1.0, 2.0, tiers=((200_000, Price(3.0, 4.0)), (100_000, Price(2.0, 3.0))))
    assert price.cost(Usage(input=100_000, output=10)) == 100_020
    assert price.cost(Usage(input=100_001, output=10)) == 200_002 + 30
    assert price.cost(Usage(input=200_001, output=10)) == 600_003 + 40


@pytest.mark.parametrize(
    "price_list", ["openai", "anthropic", "google", "openrouter", "together", "groq", "deepseek", "mistral", "x-ai"]
)
def test_every_model_costs_what_the_price_table_itself_computes(price_list: str) -> None:
    provider = next(one for one in get_snapshot().providers if one.id == price_list)
    compared = 0
    for tokens in (1_000, 150_000, 300_000):
        for model in provider.models:
            found = listed(price_list, model.id, NOW)
            # An id may belong to a model that is told apart by its prefix alone.
            owner = provider.find_model(model.id)
            if found is None or found.price is None or owner is not model:
                continue
            said = {"input_tokens": tokens, "output_tokens": 500}
            usage = Usage(input=tokens, output=500)
            if found.price.cached is not None:
                said["cache_read_tokens"] = 100
                usage = Usage(input=tokens, output=500, cached=100)
            expected = owner.calc_price(ListUsage(**said), provider, genai_request_timestamp=NOW).total_price
            assert found.price.cost(usage) == pytest.approx(float(expected) * 1e9, rel=1e-9, abs=1), model.id
            compared += 1
    assert compared > 15


def test_what_is_cached_for_an_hour_has_its_own_price() -> None:
    price = Price(3.0, 15.0, cache_write=3.75, cache_write_hour=6.0)
    assert price.cost(Usage(input=1_000, cache_write=600, cache_write_hour=400)) == 400 * 3 + 200 * 3.75 + 400 * 6
    assert Price(3.0, 15.0).cost(Usage(input=1_000, cache_write=600, cache_write_hour=400)) == 3_000
    claude = listed("anthropic", "claude-sonnet-4-5")
    assert claude is not None
    assert claude.price is not None
    assert (claude.price.cache_write, claude.price.cache_write_hour) == (3_750.0, 6_000.0)


def test_a_dated_name_has_the_price_of_its_model() -> None:
    dated, plain = listed("openai", "gpt-4o-mini-2024-07-18"), listed("openai", "gpt-4o-mini")
    assert dated is not None
    assert plain is not None
    assert dated.price == plain.price == Price(input=150.0, output=600.0, cached=75.0)


def test_what_is_not_listed() -> None:
    assert listed("openai", "gpt-0-imaginary") is None
    assert listed("no-such-provider", "gpt-4o") is None
    assert offered("no-such-provider") == []
    transcriber = listed("openai", "whisper-1")
    assert transcriber is not None
    assert transcriber.price is None


def _conditional(constraint: StartDateConstraint | TimeOfDateConstraint) -> ModelInfo:
    usual = ConditionalPrice(prices=ModelPrice(input_mtok=Decimal(10), output_mtok=Decimal(40)))
    other = ConditionalPrice(constraint, prices=ModelPrice(input_mtok=Decimal(2), output_mtok=Decimal(8)))
    return ModelInfo(id="m", match=ClauseEquals("m"), prices=[usual, other])


def test_a_price_by_the_hour_holds_until_the_next_hour_that_changes_it() -> None:
    night = _conditional(TimeOfDateConstraint(time(16, 30, tzinfo=UTC), time(0, 30, tzinfo=UTC)))
    found = {hour: _listed(night, datetime(2026, 11, 30, hour, tzinfo=UTC)) for hour in (0, 12, 18)}
    assert {hour: one.price.input for hour, one in found.items() if one.price} == {0: 2_000, 12: 10_000, 18: 2_000}
    assert {hour: one.until for hour, one in found.items()} == {
        0: datetime(2026, 11, 30, 0, 30, tzinfo=UTC),
        12: datetime(2026, 11, 30, 16, 30, tzinfo=UTC),
        18: datetime(2026, 12, 1, 0, 30, tzinfo=UTC),
    }


def test_a_price_that_is_announced_begins_on_its_day() -> None:
    announced = _conditional(StartDateConstraint(date(2026, 12, 1)))
    before = _listed(announced, datetime(2026, 11, 30, 23, tzinfo=UTC))
    after = _listed(announced, datetime(2026, 12, 1, tzinfo=UTC))
    assert before.price == Price(10_000.0, 40_000.0)
    assert before.until == datetime(2026, 12, 1, tzinfo=UTC)
    assert after.price == Price(2_000.0, 8_000.0)
    assert after.until is None
