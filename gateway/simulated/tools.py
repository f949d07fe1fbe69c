"""Which of the tools a model calls for a prompt, and with what."""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random

import orjson

from gateway.simulated.asked import Asked, Tool
from gateway.simulated.schema import fill, spoil

# "getWeather" and "get_weather" are the words get and weather.
_WORD = re.compile(r"[A-Z]?[a-zà-ÿ]{3,}|[A-ZÀ-Þ]{3,}")
_FREQUENT = "get the and for from with this that call tool function use given returns return what please"
_COMMON = frozenset(_FREQUENT.split())


def call(asked: Asked, right: bool, rng: Random) -> tuple[Tool, str] | None:
    """The tool that is called and its arguments as JSON; None where the model answers in words.

    A tool is called where its name or description shares a word with the prompt, or where the caller requires one. A
    model that is not right leaves an argument out, spoils it, or takes another tool.
    """
    if not asked.tools or asked.tool_choice == "none":
        return None
    said = _words(asked.text)
    fitting = [(len(said & _words(f"{tool.name} {tool.description}")), tool) for tool in asked.tools]
    best, chosen = max(fitting, key=lambda one: one[0])
    if asked.tool_choice not in {"auto", "required"}:
        chosen = next(tool for tool in asked.tools if tool.name == asked.tool_choice)
    elif asked.tool_choice == "auto" and (best == 0 or asked.tool_result is not None):
        return None
    elif not right and len(asked.tools) > 1 and rng.random() < 0.5:
        chosen = rng.choice([tool for tool in asked.tools if tool is not chosen])
    value = fill(chosen.parameters, asked.text) or {}
    if not right:
        value = spoil(value, chosen.parameters, rng)
    return chosen, orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()


def told(name: str, result: str) -> str:
    """The answer in words once a tool has answered."""
    return f"According to {name or 'the tool'}: {result[:2_000].strip() or 'nothing was found'}"


def _words(text: str) -> frozenset[str]:
    found: Sequence[str] = _WORD.findall(text.replace("_", " ")[:20_000])
    return frozenset(word.lower().rstrip("s") for word in found) - _COMMON
