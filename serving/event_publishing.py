"""Events that callers publish: of kinds of their own, bounded, and marked with who did it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any

import orjson

from serving.access import Caller
from serving.llm_scope import own_workspace
from store import events
from store.errors import InvalidValue, ServiceUnavailable
from store.event_log import CUSTOM
from store.settings import Settings

LARGEST_BYTES = 16_384
_KIND = re.compile(r"custom\.[a-z0-9][a-z0-9_.-]{0,56}", re.ASCII)


async def publish(settings: Settings, caller: Caller, kind: str, payload: Mapping[str, Any], workspace: Any) -> int:
    """Keep an event for all who may see it; its number.

    Parameters
    ----------
    workspace : that it concerns; None: the caller's own, or the platform where it has none.

    Raises
    ------
    InvalidValue : a kind that is not `custom.…`, or a payload that is too large.
    AccessDenied : the workspace is another's.
    ServiceUnavailable : the database does not take it.
    """
    if not _KIND.fullmatch(kind):
        raise InvalidValue(
            f"{kind[:64]!r} is no kind of events that may be published.",
            remedy=f"Begin it with {CUSTOM!r}, then small letters, digits, and . _ - up to 64 characters.",
            field="kind",
            value=kind[:64],
        )
    try:
        size = len(orjson.dumps(payload))
    except TypeError:
        raise InvalidValue("The payload is nested too deeply.", remedy="Flatten it.", field="payload") from None
    if size > LARGEST_BYTES:
        raise InvalidValue(
            f"The payload has {size:,} bytes; the limit is {LARGEST_BYTES:,}.",
            remedy="Publish where it can be found instead of all of it.",
            field="payload",
        )
    place = caller.workspace if workspace is None else own_workspace(caller, workspace)
    stored = {"workspace": place, "published_by": caller.name, "data": dict(payload)}
    number = await asyncio.to_thread(events.emit, settings, kind, stored)
    if number is None:
        raise ServiceUnavailable(
            "The event was not kept: the platform database does not answer.",
            remedy="Try again shortly; `merit doctor` tells what is wrong with the database.",
        )
    return number
