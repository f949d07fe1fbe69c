"""Vectors of texts: hashed words and pairs of words, so that texts with the same words lie near each other."""

from __future__ import annotations

import re
from array import array
from base64 import b64encode
from functools import lru_cache
from itertools import pairwise
from math import sqrt
from zlib import crc32

DIMENSIONS = 256
MOST_DIMENSIONS = 4_096

_WORD = re.compile(r"\w+")


@lru_cache(maxsize=1_024)
def embed(text: str, dimensions: int = DIMENSIONS) -> array[float]:
    """A vector of length 1 (of zeros for a text without words), 32-bit."""
    values = [0.0] * dimensions
    words = _WORD.findall(text.casefold())
    for word in words:
        _add(values, word, 1.0)
        # Forms of a word lie near each other.
        _add(values, word[:5] + "…", 0.5)
    for first, second in pairwise(words):
        _add(values, f"{first} {second}", 0.5)
    length = sqrt(sum(value * value for value in values)) or 1.0
    return array("f", [value / length for value in values])


def as_base64(vector: array[float]) -> str:
    """Little-endian 32-bit floats in base64, as OpenAI's clients ask for."""
    return b64encode(vector.tobytes()).decode()


def _add(values: list[float], feature: str, weight: float) -> None:
    hashed = crc32(feature.encode())
    values[hashed % len(values)] += weight if hashed & 0x8000_0000 else -weight
