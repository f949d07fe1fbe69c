"""The bill of the coming days for those who ask over HTTP, worked out at most once a minute for each workspace."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from datetime import datetime

from features.views.spend import end_of_ledger
from models.spend import NAME
from models.spend.bill import Bill, bill_of
from serving.dependencies import Services
from serving.llm_runs import flushed
from store.errors import RegistryError

FAMILY = "forecasting"
FRESH_SECONDS = 60.0
_MOST_KEPT = 64
_kept: OrderedDict[tuple[str, str | None, int, datetime | None, int], tuple[float, Bill]] = OrderedDict()
_guard = threading.Lock()


def bill(services: Services, workspace: str | None, days: int, as_of: datetime | None) -> tuple[Bill, bool]:
    """The bill, and whether every call that has ended is in it.

    Raises
    ------
    EmptyData : nothing was spent on any day before.
    """
    complete = flushed(services)
    champion, version = None, 0
    try:
        found = services.champions.get(NAME, FAMILY)
        champion, version = (found.model, found.version), found.version
    except RegistryError:
        pass  # nothing was promoted yet: it is worked out now
    key = (services.settings.resolved_database_url, workspace, days, as_of, version)
    with _guard:
        kept = _kept.get(key)
    if kept is not None and time.monotonic() - kept[0] < FRESH_SECONDS:
        return kept[1], complete
    moment = end_of_ledger(services.settings, as_of)
    made = bill_of(services.settings, moment, days, workspace=workspace, champion=champion)
    with _guard:
        _kept[key] = (time.monotonic(), made)
        _kept.move_to_end(key)
        while len(_kept) > _MOST_KEPT:
            _kept.popitem(last=False)
    return made, complete


def forget() -> None:
    """Work every bill out anew."""
    with _guard:
        _kept.clear()
