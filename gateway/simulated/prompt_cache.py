"""The provider's prompt cache: what a prompt shares with an earlier one of the same model is read, not computed.

As providers do it: from 1,024 tokens on, in steps of 128.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Sequence
from hashlib import blake2b

LEAST = 1_024
STEP = 128


class PromptCache:
    """Beginnings of prompts that were seen lately, by their hashes.

    Parameters
    ----------
    most : beginnings remembered, the oldest are forgotten.
    """

    def __init__(self, most: int = 100_000) -> None:
        self._seen: OrderedDict[bytes, None] = OrderedDict()
        self._most = most

    def read(self, model: str, tokens: Sequence[int]) -> int:
        """How many of the first tokens are cached; what is new is remembered from now on."""
        if len(tokens) < LEAST:
            return 0
        running = blake2b(model.encode(), digest_size=16)
        cached, matching = 0, True
        for begin in range(0, len(tokens) - STEP + 1, STEP):
            running.update(array("I", tokens[begin : begin + STEP]).tobytes())
            key = running.digest()
            matching = matching and key in self._seen
            if matching:
                cached = begin + STEP
                self._seen.move_to_end(key)
            else:
                self._seen[key] = None
        while len(self._seen) > self._most:
            self._seen.popitem(last=False)
        return cached if cached >= LEAST else 0

    def clear(self) -> None:
        self._seen.clear()
