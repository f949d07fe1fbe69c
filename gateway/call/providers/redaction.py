"""Takes keys out of what providers write into their errors: some repeat the key that they refuse."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from gateway.call.providers.wire import Provider

REDACTED = "[redacted]"
MAX_TEXT = 2_000
_MAX_DEPTH = 6
_MAX_ITEMS = 40

# Shapes of keys that are in use, and whatever follows a word that announces one.
_KEYLIKE = re.compile(
    r"""\b(?:sk|pk|rk|gsk|csk|xai|fw|tgp|hf|nvapi|r8|pplx|merit|glpat|ghp)[-_][A-Za-z0-9_\-*.]{6,}
    | \bAIza[A-Za-z0-9_\-*.]{6,}
    | \bAKIA[A-Z0-9]{12,}
    | \beyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-.]{8,}
    | (?<=://)[^/\s:@]+:[^/\s@]+(?=@)
    | (?i:(?<=bearer\s)|(?<=[?&]key=)|(?<=api_key=)|(?<=apikey=)|(?<=token=))[A-Za-z0-9_\-*.~+/=]{6,}""",
    re.VERBOSE,
)


def secrets_of(provider: Provider) -> tuple[str, ...]:
    """What of a provider's configuration must never be shown, longest first."""
    values = {provider.key, *provider.headers.values()}
    words = {word for value in values if value for word in (value, *value.split()) if len(word) >= 8}
    return tuple(sorted(words, key=len, reverse=True))


def redact(text: str, secrets: tuple[str, ...] = ()) -> str:
    """A text without the secrets and without anything that looks like a key, shortened."""
    for secret in secrets:
        text = text.replace(secret, REDACTED)
    text = _KEYLIKE.sub(REDACTED, text)
    return text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + "…"


def redact_json(value: Any, secrets: tuple[str, ...] = (), depth: int = 0) -> Any:
    """The same for every text within a JSON value; what is too deep or too long is left out."""
    if isinstance(value, str):
        return redact(value, secrets)
    if isinstance(value, Mapping):
        if depth >= _MAX_DEPTH:
            return {}
        pairs = list(value.items())[:_MAX_ITEMS]
        return {redact(str(key), secrets): redact_json(inner, secrets, depth + 1) for key, inner in pairs}
    if isinstance(value, list):
        return [redact_json(inner, secrets, depth + 1) for inner in value[:_MAX_ITEMS]] if depth < _MAX_DEPTH else []
    return value
