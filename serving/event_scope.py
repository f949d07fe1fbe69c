"""Which events a caller may see, and which of them it wants."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from serving.llm_scope import Scope
from store.errors import InvalidValue
from store.event_log import Entry

MOST_KINDS = 32
_KIND = re.compile(r"(?:[a-z0-9][a-z0-9_.-]{0,62})?\*|[a-z0-9][a-z0-9_.-]{0,63}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Interest:
    """What somebody wants of what it may see.

    Attributes
    ----------
    kinds : of events; one that ends with `*` is all that begin so. None: all.
    workspace, model : that events concern; None: any.
    """

    kinds: frozenset[str] | None = None
    workspace: str | None = None
    model: str | None = None

    def wants(self, entry: Entry) -> bool:
        if self.workspace is not None and entry.workspace != self.workspace:
            return False
        if self.model is not None and entry.model != self.model:
            return False
        kinds = self.kinds
        if kinds is None or entry.kind in kinds:
            return True
        return any(one.endswith("*") and entry.kind.startswith(one[:-1]) for one in kinds)


def parse_kinds(kinds: Iterable[str] | None) -> frozenset[str] | None:
    """Kinds of events, checked; None: all.

    Raises
    ------
    InvalidValue : one that can be none, or too many.
    """
    if kinds is None:
        return None
    found = frozenset(kinds)
    wrong = next((one for one in found if not isinstance(one, str) or not _KIND.fullmatch(one)), None)
    if wrong is not None or len(found) > MOST_KINDS:
        raise InvalidValue(
            f"{str(wrong)[:64]!r} is no kind of events." if wrong is not None else f"{len(found)} kinds are too many.",
            remedy=f"Name at most {MOST_KINDS}, such as call, budget_alert, promotion, drift, breaker or custom.*.",
            field="kinds",
            value=None if wrong is None else str(wrong)[:64],
        )
    return found


def sees(scope: Scope, entry: Entry) -> bool:
    """Whether an event may be seen: by an application, what is its own; by a key of a workspace, what concerns that;
    of the platform's, everything."""
    if scope.key_id is not None:
        return entry.key_id == scope.key_id
    return scope.workspace is None or entry.workspace == scope.workspace
