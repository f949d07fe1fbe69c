"""The cache: what is paid for an answer that was given to the very same request a little while before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import numpy as np

from models.spend.recommending.advice import (
    LEAST_SAVING,
    LEAST_SHARE,
    LEVEL,
    MONTH,
    Advice,
    drawn_days,
    interval,
    money,
)

# When it was asked, what the cache knows the request by, dollars.
Asked = tuple[datetime, bytes, float]

DRAWS = 1_000
_LEAST_HITS, _LEAST_DAYS = 10, 5


def repeats(
    asked: Mapping[str, Sequence[Asked]], until: datetime, *, days: float, ttl_s: float, bill: float, seed: int = 0
) -> list[Advice]:
    """What an exact cache would save each workspace whose words are kept.

    What was asked is replayed: an answer is kept for `ttl_s` seconds from when it was given, as the gateway's cache
    does, and every equal request within that time would have cost nothing.

    Parameters
    ----------
    asked : workspace → what it asked in the last `days` days, in any order.
    until : the end of these days.
    bill : dollars a month that everything costs.
    """
    found = []
    for workspace, unsorted in sorted(asked.items()):
        calls = sorted(unsorted, key=lambda call: call[0])
        saved = _saved(calls, ttl_s)
        advice = _advice(workspace, calls, saved, until, days, ttl_s, max(LEAST_SAVING, LEAST_SHARE * bill), seed)
        if advice is not None:
            found.append(advice)
    return found


def _saved(calls: list[Asked], ttl_s: float) -> list[float]:
    """Dollars that each call would not have cost, in the order of time."""
    kept: dict[bytes, datetime] = {}
    saved = []
    for at, name, cost in calls:
        before = kept.get(name)
        if before is not None and (at - before).total_seconds() < ttl_s:
            saved.append(cost)
        else:
            kept[name] = at
            saved.append(-1.0)
    return saved


def _advice(
    workspace: str,
    calls: list[Asked],
    saved: list[float],
    until: datetime,
    days: float,
    ttl_s: float,
    least: float,
    seed: int,
) -> Advice | None:
    every = int(np.ceil(days))
    by_day = np.zeros(every)
    hits = 0
    hit_days = set()
    for (at, _, _), value in zip(calls, saved, strict=True):
        if value >= 0:
            place = min(int((until - at).total_seconds() // 86_400), every - 1)
            by_day[place] += value
            hits += 1
            hit_days.add(place)
    if hits < _LEAST_HITS or len(hit_days) < _LEAST_DAYS:
        return None
    totals = drawn_days(every, DRAWS, seed) @ by_day * MONTH / days
    saving = interval(totals, float(totals[0]))
    if saving.value < least or saving.low <= 0:
        return None
    spent = sum(cost for _, _, cost in calls) * MONTH / days
    share = hits / len(calls)
    return Advice(
        kind="cache",
        workspace=workspace,
        subject="exact cache",
        words=(
            f"{share:.1%} of what {workspace} asks was asked word for word within {ttl_s / 3600:g} h before. An exact "
            f"cache would save {money(saving.value)} [{money(saving.low)}, {money(saving.high)}] of {money(spent)} a "
            "month, and answer those at once."
        ),
        saving=saving,
        spent=spent,
        scope={},
        setting={"cache": "exact"},
        steps=("Accepting turns the exact cache of the workspace on; a request can still say `cache: off`.",),
        evidence={"calls": len(calls), "hits": hits, "share": share, "ttl_s": ttl_s, "level": LEVEL},
        notes=("The same request then gets the same answer: off where each time a new one is wanted.",),
    )
