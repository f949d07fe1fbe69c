"""Tokens as the providers that speak OpenAI's format tell them, each with its own additions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.usage import Usage

_MOST = 10**9


def read_usage(told: Any) -> Usage | None:
    """The usage object of an answer or a chunk; None when it is none, or holds no counts.

    Where the provider's own total is larger than prompt and completion together, the difference belongs to what it
    left out: reasoning (xAI, Gemini's compatible API) or cached tokens, whichever fits.
    """
    if not isinstance(told, dict):
        return None
    prompt, completion = told.get("prompt_tokens"), told.get("completion_tokens")
    if prompt is None and completion is None:
        prompt, completion = told.get("input_tokens"), told.get("output_tokens")
    total = _count(told.get("total_tokens"))
    given, made = _count(prompt), _count(completion)
    if given is None and made is None and total is None:
        return None
    of_input = told.get("prompt_tokens_details") or told.get("input_tokens_details")
    of_output = told.get("completion_tokens_details") or told.get("output_tokens_details")
    cached = written = reasoning = audio_input = audio_output = 0
    if isinstance(of_input, dict):
        cached = _part(of_input, "cached_tokens")
        written = _part(of_input, "cache_write_tokens")
        audio_input = _part(of_input, "audio_tokens")
    if isinstance(of_output, dict):
        reasoning = _part(of_output, "reasoning_tokens")
        audio_output = _part(of_output, "audio_tokens")
    if not cached:
        # DeepSeek; Moonshot and Together; Databricks.
        cached = (
            _part(told, "prompt_cache_hit_tokens")
            or _part(told, "cached_tokens")
            or _part(told, "cache_read_input_tokens")
        )
    written = written or _part(told, "cache_creation_input_tokens")
    reasoning = reasoning or _part(told, "reasoning_tokens")
    missing = (total or 0) - (given or 0) - (made or 0)
    if missing > 0:
        if given is None:
            given = missing
        elif missing != reasoning and missing in (cached, cached + written):
            given += missing
        else:
            made = (made or 0) + missing
            reasoning = reasoning or missing
    return Usage(
        input=max(given or 0, cached + written, audio_input),
        cached=cached,
        cache_write=written,
        output=max(made or 0, reasoning, audio_output),
        reasoning=reasoning,
        audio_input=audio_input,
        audio_output=audio_output,
    )


def usage_of_chunk(chunk: Mapping[str, Any]) -> Usage | None:
    """Usage of a chunk: its own, or Groq's."""
    told = chunk.get("usage")
    if told is None:
        groq = chunk.get("x_groq")
        if not isinstance(groq, dict):
            return None
        told = groq.get("usage")
    return read_usage(told)


def _count(value: Any) -> int | None:
    """A number of tokens; None for what is none. Providers have been seen to send null, floats and negatives."""
    if isinstance(value, int):
        return None if isinstance(value, bool) else min(max(0, value), _MOST)
    if isinstance(value, float) and value >= 0:
        return int(min(value, _MOST))
    return None


def _part(told: dict[str, Any], name: str) -> int:
    value = told.get(name)
    return (_count(value) or 0) if value else 0
