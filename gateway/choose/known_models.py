"""Priors of models by their names: what is known of well-known ones, and a cautious guess from the price of others."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import translate
from functools import cache
from pathlib import Path

from gateway.choose.catalogue import Price

_FILE = Path(__file__).with_name("known_models.toml")
DEFAULT_CONTEXT = 32_768
DEFAULT_MAX_OUTPUT = 4_096


@dataclass(frozen=True, slots=True)
class Priors:
    """What is believed of a model before anything was measured.

    Attributes
    ----------
    kind : "chat" or "embeddings".
    quality : 0 to 1 by domain, `""` for every other.
    context : tokens, where the price table does not tell; max_output : most tokens of an answer.
    """

    kind: str = "chat"
    capabilities: frozenset[str] = frozenset({"chat", "stream"})
    quality: Mapping[str, float] = field(default_factory=dict)
    latency_ms: float = 800.0
    tokens_per_second: float = 50.0
    context: int = DEFAULT_CONTEXT
    max_output: int = DEFAULT_MAX_OUTPUT


def known(name: str) -> Priors | None:
    """Priors of a well-known model; None for any other.

    Parameters
    ----------
    name : as a provider calls it; what stands before its last slash does not count.
    """
    plain = name.lower().rpartition("/")[2]
    return next((priors for pattern, priors in _table().entries if pattern.match(plain)), None)


def is_offered(name: str) -> bool:
    """Whether a model of a price table belongs into a catalogue: it is well known, and answers chats or embeds."""
    plain = name.lower().rpartition("/")[2]
    return not _table().not_offered.match(plain) and known(name) is not None


def guessed(price: Price, *, kind: str = "chat") -> Priors:
    """Cautious priors from what a model costs: dearer ones are better, by 13 points for ten times the price.

    A model of which nothing is known but its price gets no capability besides answering: state them where it has more.
    """
    if kind == "embeddings":
        return Priors(
            kind="embeddings",
            capabilities=frozenset({"embeddings"}),
            quality={"": 0.6},
            latency_ms=200.0,
            context=8_192,
        )
    dollars = max(price.output, price.input) / 1_000
    general = 0.5 if dollars <= 0 else min(0.8, max(0.35, 0.58 + 0.13 * math.log10(dollars)))
    hard = round(general - 0.08, 4)
    general = round(general, 4)
    return Priors(quality={"": general, "code": hard, "math": hard, "reasoning": hard})


@dataclass(frozen=True)
class _Table:
    entries: list[tuple[re.Pattern[str], Priors]]
    not_offered: re.Pattern[str]


@cache
def _table() -> _Table:
    read = tomllib.loads(_FILE.read_text(encoding="utf-8"))
    return _Table([(_pattern(one.pop("match")), _priors(one)) for one in read["model"]], _pattern(read["not_offered"]))


def _pattern(globs: list[str]) -> re.Pattern[str]:
    return re.compile("|".join(translate(one) for one in globs))


def _priors(stated: dict[str, object]) -> Priors:
    quality = dict(stated.pop("quality"))  # type: ignore[call-overload]
    capabilities = frozenset(stated.pop("capabilities"))  # type: ignore[call-overload]
    return Priors(quality={"": quality.pop("default"), **quality}, capabilities=capabilities, **stated)  # type: ignore[arg-type]
