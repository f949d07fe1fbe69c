"""What Claude models take, by their names: each generation dropped or gained parameters, and refuses the others'."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

_VERSION = re.compile(
    r"claude-(?:(?:opus|sonnet|haiku|fable|mythos)-(\d+)(?:-(\d{1,2}))?(?!\d)|(\d)(?:[-.](\d))?(?!\d))"
)


@dataclass(frozen=True, slots=True)
class Claude:
    """What one model takes.

    Attributes
    ----------
    sampling : temperature, top_p and top_k; they are refused from 4.7 on.
    budget : thinking with a number of tokens; 3.7 to 4.5.
    adaptive : thinking as much as the model sees fit, with an effort; from 4.6 on.
    schema : answers held to a JSON schema; from 4.5 on.
    """

    sampling: bool
    budget: bool
    adaptive: bool
    schema: bool


@lru_cache(maxsize=512)
def claude(model: str) -> Claude:
    """The abilities of a model; one whose name tells no version counts as one that takes what all of them take."""
    found = _VERSION.search(model.lower().replace(".", "-"))
    if found is None:
        return Claude(sampling="claude" not in model.lower(), budget=False, adaptive=False, schema=False)
    major, minor = int(found[1] or found[3]), int(found[2] or found[4] or 0)
    version = (major, minor)
    return Claude(
        sampling=version < (4, 7),
        budget=(3, 7) <= version <= (4, 5),
        adaptive=version >= (4, 6),
        schema=version >= (4, 5),
    )
