"""Models of OpenAI that can be tuned, with the prices that it lists for it (platform.openai.com/docs/pricing).

`tuning` of a model in providers.toml overrules all of this, and says it of models of other providers.
"""

from __future__ import annotations

from gateway.account.prices import nanos_per_token
from gateway.choose.catalogue import Price, Tuning

# The price list whose models these are.
KNOWN_FOR = "openai"

# Name → snapshot that is trained; dollars per million tokens: training, then input, cached input and output of calls.
_LISTED = {
    "gpt-4.1": ("gpt-4.1-2025-04-14", 25.0, 3.0, 0.75, 12.0),
    "gpt-4.1-mini": ("gpt-4.1-mini-2025-04-14", 5.0, 0.8, 0.2, 3.2),
    "gpt-4.1-nano": ("gpt-4.1-nano-2025-04-14", 1.5, 0.2, 0.05, 0.8),
    "gpt-4o": ("gpt-4o-2024-08-06", 25.0, 3.75, 1.875, 15.0),
    "gpt-4o-mini": ("gpt-4o-mini-2024-07-18", 3.0, 0.3, 0.15, 1.2),
}


def known_tuning(name: str) -> Tuning | None:
    """How a model of OpenAI can be tuned, by its name or that of its snapshot; None where it is not known to be."""
    for plain, (snapshot, training, *prices) in _LISTED.items():
        if name in (plain, snapshot):
            read, cached, written = (nanos_per_token(one) for one in prices)
            return Tuning(snapshot, nanos_per_token(training), Price(input=read, cached=cached, output=written))
    return None
