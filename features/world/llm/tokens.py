"""Tokens as the simulated models count them: those of o200k, from a vocabulary that comes with the package."""

from __future__ import annotations

import re
from contextlib import suppress
from functools import cache, lru_cache
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from typing import Any

_REMEMBERED = 4_000
_PIECE = re.compile(r"\s*\S{1,24}\s*?")


@cache
def _tokeniser() -> Any:
    # The compiled module alone: importing the package would read three vocabularies into Python objects.
    package = find_spec("bpe_openai")
    spec = PathFinder.find_spec("_bindings", package.submodule_search_locations if package else None)
    if spec is None or spec.loader is None:
        raise ImportError("bpe-openai has no module _bindings; install the version that requirements.lock names.")
    module: Any = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.tokenizer_for_encoding("o200k_base")


def encode(text: str) -> list[int]:
    """Token ids of a text; what looks like a special token is text like any other."""
    tokens: list[int] = _tokeniser().encode(_whole(text))
    return tokens


def count(text: str) -> int:
    """Number of tokens of a text."""
    return _remembered(text) if len(text) <= _REMEMBERED else len(encode(text))


def cut(text: str, most: int) -> str:
    """The first `most` tokens of a text, less what would be half a letter."""
    tokens = encode(text)
    if len(tokens) <= most:
        return text
    for end in range(most, max(most - 4, 0), -1):
        with suppress(ValueError):
            return str(_tokeniser().decode(tokens[:end]))
    return ""


def pieces(text: str) -> list[str]:
    """A text in the pieces that a stream sends: words with the space before them. Joined they are the text again."""
    found = _PIECE.findall(text)
    rest = text[sum(map(len, found)) :]
    return [*found, rest] if rest else found


@lru_cache(maxsize=4_096)
def _remembered(text: str) -> int:
    return len(encode(text))


def _whole(text: str) -> str:
    """Without halves of surrogate pairs, which JSON can hold and no encoding can."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
