"""Examples that say nearly the same, found by MinHash and told apart no more: of each lot the first stays."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gateway.improve.finetuning.examples import Example

if TYPE_CHECKING:
    from datasketch import MinHash

PERMUTATIONS = 128
_SHINGLE = 5
_WORD = re.compile(r"\w+")


def without_near_duplicates(examples: Sequence[Example], likeness: float) -> tuple[list[Example], int]:
    """Examples in their order, without those that are like an earlier one, and how many were left out.

    Two are alike where the sets of five words in a row that their question and answer are made of share at least
    `likeness` of all (Jaccard). It is estimated from 128 hashes (Broder 1997), which errs by about 0.03, and looked up
    by locality-sensitive hashing in a time that is linear in their number.
    """
    # Brings SciPy's integrators, which a server should not wait for at its start.
    from datasketch import MinHash, MinHashLSH

    lookup = MinHashLSH(threshold=likeness, num_perm=PERMUTATIONS)
    kept: list[Example] = []
    hashes: dict[str, MinHash] = {}
    for one, hashed in zip(
        examples, MinHash.bulk([_shingles(one) for one in examples], num_perm=PERMUTATIONS), strict=True
    ):
        if any(hashed.jaccard(hashes[other]) >= likeness for other in lookup.query(hashed)):
            continue
        hashes[one.call] = hashed
        lookup.insert(one.call, hashed)
        kept.append(one)
    return kept, len(examples) - len(kept)


def _shingles(example: Example) -> list[bytes]:
    asked = next((str(m.get("content") or "") for m in reversed(example.messages[:-1]) if m.get("role") == "user"), "")
    said = example.messages[-1]
    words = _WORD.findall(f"{asked} {said.get('content') or ''} {said.get('tool_calls') or ''}".casefold())
    count = max(1, len(words) - _SHINGLE + 1)
    return [" ".join(words[place : place + _SHINGLE]).encode() for place in range(count)]
