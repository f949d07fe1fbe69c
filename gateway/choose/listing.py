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


def permitted(
    patterns: Iterable[str], models: Mapping[str, Model], workspace: str, trial: str | None = None
) -> frozenset[str] | None:
    """Ids of the models that a workspace may ask; None: all.

    Parameters
    ----------
    patterns : those that it allows; none: all.
    trial : the tuned model on trial that is to be evaluated, whatever the patterns say.
    """
    named = matching(patterns, models) if patterns else None
    if named is None and not any(model.restricted for model in models.values()):
        return None
    open_to = {
        name
        for name, model in models.items()
        if not model.trial and (model.workspaces is None or workspace in model.workspaces)
    }
    mine = {trial} if trial is not None and (one := models.get(trial)) is not None and one.trial else set()
    return frozenset((open_to if named is None else open_to & named) | mine)


def matching(patterns: Iterable[str], models: Mapping[str, Model]) -> frozenset[str]:
    """Ids of the models that any of the patterns fits, `openai/*` for example."""
    wanted = tuple(patterns)
    return frozenset(name for name in models if any(fnmatchcase(name, one) for one in wanted))
