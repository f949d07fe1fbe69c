"""What a period cost and why: its sums beside those of the period before, by whatever one likes, and what moved.

The change of the whole is taken apart exactly into volume, mix, length and price (`models.spend.unusual.split`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pandas as pd
import sqlalchemy as sa

from models.spend.unusual.split import split
from store.database import session
from store.errors import InvalidValue
from store.llm_usage import MOST_GROUPS, usage
from store.settings import Settings
from store.tables.gateway import LlmCallRow, LlmUsageDayRow

NANOS = 1e9
DIMENSIONS = ("workspace", "user", "model", "provider", "task", "day")
"""What spending is told by; a user is one of a workspace."""

_UNKNOWN = "unknown"


@dataclass(frozen=True)
class Group:
    """Sums of one value of a dimension, and of the same in the period before.

    Attributes
    ----------
    names : `workspace`, or of a user `workspace` and `user`.
    cost, cost_before : dollars.
    share : of the cost of the whole period.
    latency_ms : mean of the answered calls; None where none was.
    calls_before, cost_before : of the period before; None of days, whose own date says nothing there.
    """

    names: Mapping[str, str]
    calls: int
    failures: int
    cached: int
    refused: int
    input_tokens: int
    output_tokens: int
    cost: float
    share: float
    latency_ms: float | None
    calls_before: int | None
    cost_before: float | None


@dataclass(frozen=True)
class Analytics:
    """A period.

    Attributes
    ----------
    since, until, before : its ends, and where the period before begins; naive UTC.
    total : all of it, `names` empty.
    change : dollars a day by volume, mix, length and price; they add up to the change against the period before.
    groups : dimension → its values, the most costly first, of days in order; what is beyond the first few is `others`.
    others : dimension → how many values there are beyond those, and what they cost.
    """

    since: datetime
    until: datetime
    before: datetime
    total: Group
    change: Mapping[str, float]
    groups: Mapping[str, Sequence[Group]]
    others: Mapping[str, tuple[int, float]]


@dataclass(frozen=True)
class Kept:
    """How far back the ledger goes: single calls, and sums by day of what retention has summed up.

    Attributes
    ----------
    calls_since, days_since : the oldest of each; None where there is none.
    calls, days : how many rows there are of each.
    """

    calls: int
    calls_since: datetime | None
    days: int
    days_since: datetime | None


def analytics(
    settings: Settings,
    since: datetime,
    until: datetime,
    *,
    by: Sequence[str] = DIMENSIONS,
    workspace: str | None = None,
    filters: Mapping[str, str] | None = None,
    top: int = 10,
) -> Analytics:
    """What the calls asked at or after `since` and before `until` cost.

    Parameters
    ----------
    workspace : the only one whose calls count; None: all.
    filters : as `store.llm_usage.usage` has them.
    top : values of each dimension that are told one by one; days always are.

    Raises
    ------
    InvalidValue : an unknown dimension, or a period that ends before it begins.
    """
    _check(by, since, until)
    before = since - (until - since)

    def sums(names: Sequence[str], begin: datetime, end: datetime) -> list[dict[str, Any]]:
        return usage(
            settings, by=names, since=begin, until=end, workspace=workspace, filters=filters, limit=MOST_GROUPS,
            percentiles=False,
        )  # fmt: skip

    now = sums((), since, until)
    whole = float(now[0]["cost"]) / NANOS if now else 0.0
    total = _groups((), now, sums((), before, since), whole)
    groups: dict[str, Sequence[Group]] = {}
    others: dict[str, tuple[int, float]] = {}
    for dimension in by:
        names = ("workspace", "user") if dimension == "user" else (dimension,)
        past = None if dimension == "day" else sums(names, before, since)
        found = _groups(names, sums(names, since, until), past, whole)
        shown = found if dimension == "day" else found[:top]
        groups[dimension] = shown
        others[dimension] = len(found) - len(shown), sum(one.cost for one in found[len(shown) :])
    old, new = (_cells(sums(("workspace", "model"), *ends)) for ends in ((before, since), (since, until)))
    days = (until - since) / timedelta(days=1)
    return Analytics(
        since, until, before,
        total=total[0] if total else _empty(),
        change=split(old, new, days, days).parts(),
        groups=groups,
        others=others,
    )  # fmt: skip


def kept(settings: Settings, workspace: str | None = None) -> Kept:
    """What there is of calls and of sums by day."""
    found: list[Any] = []
    with session(settings, readonly=True) as opened:
        for table in (LlmCallRow, LlmUsageDayRow):
            query = sa.select(sa.func.count(), sa.func.min(table.at)).select_from(table)
            if workspace is not None:
                query = query.where(table.workspace == workspace)
            found += opened.execute(query).one()
    return Kept(*found)


def _check(by: Sequence[str], since: datetime, until: datetime) -> None:
    for name in by:
        if name not in DIMENSIONS:
            raise InvalidValue(
                f"Spending is not told by {name[:40]!r}.", remedy=f"Use {', '.join(DIMENSIONS)}.", field="by",
                value=name[:40],
            )  # fmt: skip
    if since >= until:
        raise InvalidValue(
            f"since={since.isoformat()} is not before until={until.isoformat()}.",
            remedy="Give a period that ends after it begins.",
            field="since",
            value=since.isoformat(),
        )


def _groups(
    names: Sequence[str], now: Sequence[dict[str, Any]], past: Sequence[dict[str, Any]] | None, whole: float
) -> list[Group]:
    known = {_key(names, row): row for row in past or ()}
    rows = {_key(names, row): row for row in now}
    found = []
    # Who spent something before and nothing now belongs to what has changed.
    for key in [*rows, *(key for key in known if key not in rows)]:
        row, old = rows.get(key, {}), known.get(key, {})
        cost = float(row.get("cost", 0)) / NANOS
        found.append(
            Group(
                dict(zip(names, key, strict=True)),
                int(row.get("calls", 0)),
                int(row.get("failures", 0)),
                int(row.get("cached", 0)),
                int(row.get("refused", 0)),
                int(row.get("input_tokens", 0)),
                int(row.get("output_tokens", 0)),
                cost,
                cost / whole if whole else 0.0,
                row.get("latency_ms"),
                None if past is None else int(old.get("calls", 0)),
                None if past is None else float(old.get("cost", 0)) / NANOS,
            )
        )
    return found


def _key(names: Sequence[str], row: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(_UNKNOWN if row[name] is None else str(row[name]) for name in names)


def _empty() -> Group:
    return Group({}, 0, 0, 0, 0, 0, 0, 0.0, 0.0, None, 0, 0.0)


def _cells(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    names = ["workspace", "model", "calls", "input_tokens", "output_tokens", "cost"]
    frame = pd.DataFrame(rows, columns=names)
    frame["model"] = frame["model"].fillna(_UNKNOWN)
    numbers = names[2:]
    frame[numbers] = frame[numbers].astype("float64")
    frame["cost"] /= NANOS
    return frame
