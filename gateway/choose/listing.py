"""Models as `GET /v1/models` and the command show them, and which of them a workspace's patterns allow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from gateway.choose.catalogue import Model
from gateway.money import NANOS_PER_DOLLAR

_MILLION = 1_000_000


def described(model: Model) -> dict[str, Any]:
    """A model in OpenAI's shape, with what the gateway knows of it; prices in dollars per million tokens."""
    price = model.price
    prices = {
        name: getattr(price, name) * _MILLION / NANOS_PER_DOLLAR
        for name in ("input", "output", "cached", "cache_write", "reasoning", "audio_input", "audio_output")
        if getattr(price, name) is not None
    }
    return {
        "id": model.id,
        "object": "model",
        "created": 0,
        "owned_by": model.provider,
        "kind": model.kind,
        "context": model.context,
        "max_output": model.max_output,
        "capabilities": sorted(model.capabilities),
        "price": prices,
        "local": model.local,
        "region": model.region,
        "quality": dict(model.quality),
    }


def matching(patterns: Iterable[str], models: Mapping[str, Model]) -> frozenset[str]:
    """Ids of the models that any of the patterns fits, `openai/*` for example."""
    wanted = tuple(patterns)
    return frozenset(name for name in models if any(fnmatchcase(name, one) for one in wanted))
