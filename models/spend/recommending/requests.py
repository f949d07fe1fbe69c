"""What is read off kept requests while they go by: what the cache knows them by, and how much shorter they could be.

No request is held on to but a sample of each workspace.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from features.views.llm_prompts import KeptPrompt
from models.spend.recommending.repeats import Asked

# (field `model`, body of a request) → what two requests share when the cache takes them for the same.
Key = Callable[[str, Mapping[str, Any]], bytes]
# Body of a request → its tokens before and after.
Shrink = Callable[[Mapping[str, Any]], tuple[int, int]]

SAMPLE = 200


@dataclass
class Requests:
    """What was read, by workspace.

    Attributes
    ----------
    first : when the earliest of them was asked; None: there was none.
    tokens : of sampled requests, before and after they were shortened.
    """

    count: int = 0
    first: datetime | None = None
    asked: dict[str, list[Asked]] = field(default_factory=dict)
    tokens: dict[str, list[tuple[int, int]]] = field(default_factory=dict)


def read_requests(prompts: Iterable[KeptPrompt], key: Key, shrink: Shrink) -> Requests:
    """Read them once. In the sample every request has the same chance: ids end in chance (RFC 9562), and those with
    the least ends are taken."""
    found = Requests()
    chosen: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}
    for one in prompts:
        found.count += 1
        found.first = one.at if found.first is None else min(found.first, one.at)
        found.asked.setdefault(one.workspace, []).append((one.at, key(one.asked, one.body), one.cost))
        mine = chosen.setdefault(one.workspace, [])
        mine.append((one.id[::-1], one.body))
        if len(mine) >= 4 * SAMPLE:
            mine.sort(key=lambda pair: pair[0])
            del mine[SAMPLE:]
    for workspace, mine in chosen.items():
        mine.sort(key=lambda pair: pair[0])
        found.tokens[workspace] = [shrink(body) for _, body in mine[:SAMPLE]]
    return found
