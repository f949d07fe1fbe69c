"""The wire formats there are, by the name that a provider's configuration gives."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.call.providers.anthropic import AnthropicWire
from gateway.call.providers.gemini import GeminiWire
from gateway.call.providers.http import Http
from gateway.call.providers.openai import OpenAIWire
from gateway.call.providers.wire import Wire

WIRES: Mapping[str, type[OpenAIWire] | type[AnthropicWire] | type[GeminiWire]] = {
    "openai": OpenAIWire,
    "anthropic": AnthropicWire,
    "gemini": GeminiWire,
}


def open_wires(http: Http) -> dict[str, Wire]:
    """One object for each format, all over the same HTTP client."""
    return {name: kind(http) for name, kind in WIRES.items()}
