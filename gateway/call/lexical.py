"""A vector of a text without any model: hashed words, pairs of words and runs of three characters.

Feature hashing (Weinberger et al., 2009): each feature falls into a place by its hash, with a sign by another bit of
it, so that collisions cancel on average.
"""

from __future__ import annotations

from itertools import pairwise
from zlib import crc32

import numpy as np
import numpy.typing as npt

DIMENSIONS = 256
Vector = npt.NDArray[np.float32]


def vector(text: str) -> Vector:
    """Unit vector of a text, `DIMENSIONS` long; of an empty one all zero."""
    words = text.split()
    features = [f"w {word}" for word in words]
    features += [f"p {one} {other}" for one, other in pairwise(words)]
    padded = f" {' '.join(words)} "
    features += [f"c {padded[start : start + 3]}" for start in range(len(padded) - 2)] if words else []
    found = np.zeros(DIMENSIONS, dtype=np.float32)
    for feature in features:
        # Words say more than the characters they are made of.
        digest = crc32(feature.encode("utf-8", "surrogatepass"))
        found[digest % DIMENSIONS] += (1.0 if digest & 0x10000 else -1.0) * (0.5 if feature[0] == "c" else 1.0)
    return unit(found)


def unit(values: Vector) -> Vector:
    """The vector with length 1; one of no length stays as it is."""
    length = float(np.linalg.norm(values))
    return values / np.float32(length) if length > 0 else values
