"""Current features of customers by id: read from the database, remembered for a while in memory."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from serving.champions import Champion
from store.errors import UnknownEntity
from store.feature_rows import lookup
from store.settings import Settings

REMEMBER_SECONDS = 60.0
MOST_REMEMBERED = 50_000
MOST_NAMED = 20

Record = Mapping[str, Any]


class KnownFeatures:
    """A bounded cache before `store.feature_rows`.

    Features are published anew by every training and scoring run, so what is remembered expires; a new champion
    starts afresh, since the columns it reads may be others.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._rows: OrderedDict[tuple[str, int, str], tuple[float, Record]] = OrderedDict()

    async def get(self, champion: Champion, ids: Sequence[str], field: str) -> list[Record]:
        """Features of the customers `ids`, in their order.

        Parameters
        ----------
        field : of the request, for the error.

        Raises
        ------
        UnknownEntity : naming every id that is not known.
        """
        view, version = champion.name, champion.version
        now = time.monotonic()
        found: dict[str, Record] = {}
        for entity in ids:
            remembered = self._rows.get((view, version, entity))
            if remembered is not None and remembered[0] > now:
                found[entity] = remembered[1]
        absent = [entity for entity in dict.fromkeys(ids) if entity not in found]
        if absent:
            read = await asyncio.to_thread(lookup, self._settings, view, absent)
            for entity, record in read.items():
                self._rows[(view, version, entity)] = (now + REMEMBER_SECONDS, record)
            found.update(read)
            while len(self._rows) > MOST_REMEMBERED:
                self._rows.popitem(last=False)
            if unknown := [entity for entity in absent if entity not in read]:
                raise _unknown(unknown, view, field)
        return [found[entity] for entity in ids]


def _unknown(ids: Sequence[str], view: str, field: str) -> UnknownEntity:
    listed = ", ".join(repr(entity[:80]) for entity in ids[:MOST_NAMED])
    more = f" and {len(ids) - MOST_NAMED:,} more" if len(ids) > MOST_NAMED else ""
    plural = "s" if len(ids) > 1 else ""
    return UnknownEntity(
        f"No features are known of the customer{plural} {listed}{more}; nothing was predicted.",
        remedy=f"Check the id{plural}, send `features` instead, or publish features with `merit train {view}`.",
        field=field,
        value=ids[0] if len(ids) == 1 else list(ids[:MOST_NAMED]),
    )
