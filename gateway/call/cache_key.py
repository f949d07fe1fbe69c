"""The key of an answer in the cache: a digest of everything that can change it.

The whole request counts, fields that nobody here knows among them; only those are left out of which it is certain that
they change nothing. Two requests have the same key only when they are the same request, of the same workspace, to the
same models.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from gateway.prompt import Limits, Options, Prompt, Tenant

# How the answer is delivered, and who asks: not what is answered. `merit` is in the key by what it says.
IRRELEVANT = frozenset({"stream", "stream_options", "user", "metadata", "merit"})
# Counts up when keys or stored answers are made in another way: old ones are then not found.
VERSION = 1
_DIGEST = 32
_NO_LIMITS, _NO_OPTIONS = Limits(), Options()


def key(tenant: Tenant, resolved: str | Sequence[str], body: Mapping[str, Any], more: Any = None) -> bytes:
    """The key of a request, 32 bytes.

    Parameters
    ----------
    resolved : which models may answer: the id of the one, or the name of a strategy with what it chooses from.
    body : in OpenAI's shape.
    more : anything else that can change the answer, as JSON.
    """
    told = {name: value for name, value in body.items() if name not in IRRELEVANT}
    models = resolved if isinstance(resolved, str) else list(resolved)
    return digest([VERSION, tenant.workspace, models, told, more])


def prompt_key(prompt: Prompt, resolved: str | Sequence[str]) -> bytes:
    """The key of a prompt: its body, the caller's own body where that was another, and what `merit` asked for."""
    more: list[Any] = []
    if prompt.kind != "chat":
        more.append(["kind", prompt.kind])
    if prompt.limits is not _NO_LIMITS and prompt.limits != _NO_LIMITS:
        more.append(["limits", _limits(prompt.limits)])
    if prompt.options != _NO_OPTIONS:
        more.append(["options", _options(prompt.options)])
    if prompt.native is not None:
        # What OpenAI's shape has no word for is not in `body`.
        more.append(["native", {name: one for name, one in prompt.native.items() if name not in IRRELEVANT}])
    return key(prompt.tenant, resolved, prompt.body, more or None)


def digest(value: Any) -> bytes:
    """32 bytes that are the same for the same JSON, whatever the order of its members."""
    return hashlib.blake2b(canonical(value), digest_size=_DIGEST).digest()


def canonical(value: Any) -> bytes:
    """JSON with its members sorted and without spaces. 1, 1.0, true and "1" stay apart."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        # Half a character, a number beyond 64 bits, or not quite JSON: slower, and never equal to something else.
        return b"~" + json.dumps(value, sort_keys=True, default=repr).encode()


def _limits(limits: Limits) -> list[Any]:
    return [
        limits.max_cost, limits.max_latency_ms, limits.min_quality, limits.local_only,
        *(sorted(names) for names in (limits.capabilities, limits.regions, limits.providers, limits.exclude)),
    ]  # fmt: skip


def _options(options: Options) -> list[Any]:
    return [options.task, options.members, sorted(options.weights.items()), options.judge, options.fallbacks]
