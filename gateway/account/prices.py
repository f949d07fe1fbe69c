"""Prices and context windows of providers' models, from the table that `genai-prices` carries in its wheel.

The table is read once and nothing of it per call: a model's price is a `Price`, made when the configuration is loaded.
Some providers charge less at night, and announce prices ahead: what is found holds until a moment, `Listed.until`,
after which the reloader looks again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any

from gateway.choose.catalogue import Price

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice
    from genai_prices.types import Provider as PriceList

# Dollars per million tokens are this many nanos per token.
NANOS_PER_MILLIONTH = 1_000
_REQUESTS = "requests_kcount"  # dollars per thousand requests
_KEYS = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cached": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "cache_write_hour": "cache_write_1h_mtok",
    "reasoning": "output_reasoning_mtok",
    "audio_input": "input_audio_mtok",
    "audio_output": "output_audio_mtok",
}


@dataclass(frozen=True, slots=True)
class Listed:
    """A model in the price table.

    Attributes
    ----------
    name : as the table calls it; a dated name of a model has the price of that model.
    price : None where the table has none in tokens: models that transcribe, draw or speak.
    context : tokens of the prompt, where the table knows it.
    deprecated : still answers, but not for long.
    until : when another price begins, UTC; None: none is known.
    """

    name: str
    price: Price | None
    context: int | None
    deprecated: bool
    until: datetime | None = None


def listed(price_list: str, model: str, at: datetime | None = None) -> Listed | None:
    """A model of a provider; None where the table does not know it.

    Parameters
    ----------
    price_list : the provider's id in the table: "openai", "google", "x-ai".
    at : UTC; default: now.
    """
    provider = _provider(price_list)
    found = provider.find_model(model) if provider is not None else None
    return _listed(found, at or datetime.now(UTC)) if found is not None else None


def offered(price_list: str, at: datetime | None = None) -> list[Listed]:
    """Every model that the table knows of a provider; none where it does not know the provider."""
    provider = _provider(price_list)
    moment = at or datetime.now(UTC)
    return [_listed(model, moment) for model in provider.models] if provider is not None else []


def nanos_per_token(dollars_per_million: float | Decimal | str) -> float:
    """0.15 dollars per million tokens are 150 nanos per token."""
    exact = dollars_per_million if isinstance(dollars_per_million, Decimal) else Decimal(str(dollars_per_million))
    return float(exact * NANOS_PER_MILLIONTH)


@cache
def _provider(price_list: str) -> PriceList | None:
    # 30 MB and a third of a second: not for those who use the simulated provider alone.
    from genai_prices.data_snapshot import get_snapshot

    return next((one for one in get_snapshot().providers if one.id == price_list), None)


def _listed(model: ModelInfo, at: datetime) -> Listed:
    return Listed(
        name=model.id,
        price=_price(model.get_prices(at)),
        context=model.context_window,
        deprecated=bool(model.deprecated),
        until=_next_change(model, at),
    )


def _price(prices: ModelPrice) -> Price | None:
    stated = {name: found for name, key in _KEYS.items() if (found := getattr(prices, key)) is not None}
    if "input" not in stated and "output" not in stated:
        return None
    per_thousand = prices.__dict__.get(_REQUESTS)
    request = float(per_thousand * 1_000_000) if isinstance(per_thousand, Decimal) else 0.0
    starts = sorted({tier.start for one in stated.values() for tier in getattr(one, "tiers", ())}, reverse=True)
    base = Price(request=request, **_above(None, stated))
    return replace(base, tiers=tuple((start, replace(base, **_above(start, stated))) for start in starts))


def _above(start: int | None, stated: Mapping[str, Any]) -> dict[str, Any]:
    """The prices that hold above so many tokens of input."""
    return {name: _nanos(one, start) for name, one in stated.items()}


def _nanos(price: Any, start: int | None) -> float:
    """Of a price that may have tiers, the one that holds above `start` tokens of input."""
    if isinstance(price, Decimal):
        return nanos_per_token(price)
    reached = [tier.price for tier in price.tiers if start is not None and tier.start <= start]
    return nanos_per_token(reached[-1] if reached else price.base)


def _next_change(model: ModelInfo, at: datetime) -> datetime | None:
    """The next moment at which another of the model's prices may hold."""
    if not isinstance(model.prices, list):
        return None
    moments = [moment for one in model.prices for moment in _moments(one.constraint, at)]
    return min((moment for moment in moments if moment > at), default=None)


def _moments(constraint: Any, at: datetime) -> Iterable[datetime]:
    if (start := getattr(constraint, "start_date", None)) is not None:
        yield datetime.combine(start, time(), UTC)
    for name in ("start_time", "end_time"):
        if (clock := getattr(constraint, name, None)) is not None:
            zone = clock.tzinfo or UTC
            today = datetime.combine(at.astimezone(zone).date(), clock.replace(tzinfo=None), zone).astimezone(UTC)
            yield from (today, today + timedelta(days=1))
