"""What was used and what it cost, by whatever one likes; and old calls summed up by day, to the last nano."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from store.database import migrate, session
from store.errors import InvalidValue
from store.locks import transaction_lock
from store.pages import storable
from store.settings import Settings
from store.tables.gateway import LlmCallRow, LlmUsageDayRow

# Name in a request → column, of calls and of days alike.
NAMES: Mapping[str, str] = {
    "organisation": "organisation", "workspace": "workspace", "project": "project", "user": "user", "key": "key_id",
    "model": "model", "provider": "provider", "task": "domain", "domain": "domain", "complexity": "complexity",
    "strategy": "strategy", "outcome": "outcome", "kind": "kind", "cache": "cache",
}  # fmt: skip
PERIODS = ("hour", "day", "month")

_TOKENS = (
    "input_tokens", "cached_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens", "audio_input_tokens",
    "audio_output_tokens",
)  # fmt: skip
_KEPT = (
    "organisation", "workspace", "project", "user", "key_id", "key_name", "kind", "strategy", "outcome", "model",
    "provider", "complexity", "domain", "cache", "estimated",
)  # fmt: skip
_SUMS = ("calls", "requests", "failures", "cached", "refused", "estimated", *_TOKENS, "cost", "answered", "latency_ms")
_FAILED = ("failed", "broken", "unknown")

MOST_GROUPS = 100_000
# Percentiles sort every call; more than these would keep the caller waiting.
MOST_SORTED = 50_000


def usage(
    settings: Settings,
    *,
    by: Sequence[str] = (),
    since: datetime | None = None,
    until: datetime | None = None,
    workspace: str | None = None,
    filters: Mapping[str, str] | None = None,
    limit: int = 1000,
    percentiles: bool = True,
) -> list[dict[str, Any]]:
    """What was used, one row a group: in the order of time where a period is among `by`, else the most costly first.

    What retention has summed up by day counts as asked at midnight of its day.

    Parameters
    ----------
    by : names of `NAMES` and at most one of `PERIODS`; none: one row for everything.
    since, until : asked at or after the one and before the other, naive UTC.
    workspace : the only one whose calls count; None: all.
    filters : a name of `NAMES` → the value that a call must have.
    percentiles : whether those of latencies are wanted: they need every call to be sorted.

    Returns
    -------
    Rows of the names in `by` (`key` is the id of a key and comes with `key_name`; a day is `2026-11-30`, an hour
    `2026-11-30T13:00`, a month `2026-11`) and

    - calls, and requests: those of them that are no member of an ensemble
    - failures (failed, broken off, unknown), cached (answered from the cache), refused, estimated (no usage was told)
    - input_tokens, cached_tokens, cache_write_tokens, output_tokens, reasoning_tokens, audio_input_tokens,
      audio_output_tokens
    - cost in nanos
    - answered, and of those latency_ms (mean), latency_p50_ms, latency_p95_ms; the percentiles are None where nothing
      was answered, where only sums are left, and where more than 50,000 calls would have to be sorted

    Raises
    ------
    InvalidValue : an unknown name, two periods, more than 100,000 groups.
    """
    migrate(settings)
    _check(by, filters or {})
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    with session(settings, readonly=True) as opened:
        if opened.get_bind().dialect.name == "postgresql":
            # All statements see one moment: retention moves calls from one table to the other meanwhile.
            opened.execute(sa.text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        for table in (LlmCallRow, LlmUsageDayRow):
            where = _conditions(table, since, until, workspace, filters or {})
            groups = _groups(opened, table, by)
            query = sa.select(*groups, *_measures(table)).where(*where).group_by(*groups).limit(MOST_GROUPS + 1)
            for row in opened.execute(query):
                _add(found, tuple(row[: len(groups)]), dict(zip(_SUMS, row[len(groups) :], strict=True)))
            if len(found) > MOST_GROUPS:
                raise InvalidValue(
                    f"There are more than {MOST_GROUPS:,} groups by {', '.join(by)}.",
                    remedy="Ask for a shorter time, or group by less.",
                    field="by",
                    value=",".join(by),
                )
        where = _conditions(LlmCallRow, since, until, workspace, filters or {})
        ranked = _percentiles(opened, _groups(opened, LlmCallRow, by), where) if percentiles else {}
    names = _names(by)
    rows = [
        _row(names, key, sums, ranked.get(key, (None, None)))
        for key, sums in sorted(found.items(), key=lambda item: _place(names, *item))
        if sums["calls"]
    ]
    return rows[:limit]


def _check(by: Sequence[str], filters: Mapping[str, str]) -> None:
    for name in by:
        if name not in NAMES and name not in PERIODS:
            raise InvalidValue(
                f"Usage is not told by {name[:50]!r}.",
                remedy=f"Use {', '.join((*NAMES, *PERIODS))}.",
                field="by",
                value=name[:50],
            )
    if len(set(by)) < len(by) or sum(name in PERIODS for name in by) > 1:
        raise InvalidValue(
            f"by={','.join(by)} names something twice, or two periods.",
            remedy=f"Name each once, and one of {', '.join(PERIODS)}.",
            field="by",
            value=",".join(by),
        )
    for name in filters:
        if name not in NAMES:
            raise InvalidValue(
                f"Usage is not filtered by {name[:50]!r}.",
                remedy=f"Use one of {', '.join(NAMES)}.",
                field="filters",
                value=name[:50],
            )


def _conditions(
    table: Any, since: datetime | None, until: datetime | None, workspace: str | None, filters: Mapping[str, str]
) -> list[Any]:
    where = [getattr(table, NAMES[name]) == storable(value) for name, value in filters.items()]
    if workspace is not None:
        where.append(table.workspace == storable(workspace))
    if since is not None:
        where.append(table.at >= since)
    if until is not None:
        where.append(table.at < until)
    return where


def _names(by: Sequence[str]) -> list[str]:
    return [one for name in by for one in ((name, "key_name") if name == "key" else (name,))]


def _groups(opened: Session, table: Any, by: Sequence[str]) -> list[Any]:
    sqlite = opened.get_bind().dialect.name == "sqlite"
    return [
        _period(table.at, name, sqlite) if name in PERIODS else getattr(table, NAMES.get(name, name))
        for name in _names(by)
    ]


def _period(at: Any, period: str, sqlite: bool) -> Any:
    if sqlite:  # Moments are texts there: 2026-11-30 13:05:00.000000
        return sa.func.substr(at, 1, {"hour": 13, "day": 10, "month": 7}[period])
    return sa.func.to_char(
        at, sa.text({"hour": "'YYYY-MM-DD HH24'", "day": "'YYYY-MM-DD'", "month": "'YYYY-MM'"}[period])
    )


def _measures(table: Any) -> list[Any]:
    one: Any = sa.literal_column("1")
    of_call = table is LlmCallRow
    calls = one if of_call else table.calls

    def when(condition: Any, value: Any) -> Any:
        return sa.func.sum(sa.case((condition, value), else_=0))

    return [
        sa.func.sum(calls),
        when(table.parent.is_(None), one) if of_call else sa.func.sum(table.requests),
        when(table.outcome.in_(_FAILED), calls),
        when(table.outcome == "cached", calls),
        when(table.outcome == "refused", calls),
        when(table.estimated, calls),
        *(sa.func.sum(getattr(table, name)) for name in _TOKENS),
        sa.func.sum(table.cost),
        when(table.outcome == "ok", calls),
        when(table.outcome == "ok", table.latency_ms),
    ]


def _percentiles(
    opened: Session, groups: Sequence[Any], where: Sequence[Any]
) -> dict[tuple[Any, ...], tuple[float | None, float | None]]:
    """Median and 95th percentile of the latency of answered calls by group: the least that so many do not exceed."""
    where = [*where, LlmCallRow.outcome == "ok"]
    some = sa.select(LlmCallRow.seq).where(*where).limit(MOST_SORTED + 1).subquery()
    if (opened.scalar(sa.select(sa.func.count()).select_from(some)) or 0) > MOST_SORTED:
        return {}
    # Numbered within each group; SQLite has no percentile of its own.
    labelled = [group.label(f"g{number}") for number, group in enumerate(groups)]
    rank = sa.func.row_number().over(partition_by=list(groups) or None, order_by=LlmCallRow.latency_ms)
    count = sa.func.count().over(partition_by=list(groups) or None)
    ranked = sa.select(*labelled, LlmCallRow.latency_ms, rank.label("rank"), count.label("count")).where(*where)
    inner = ranked.subquery()
    keys = [inner.c[f"g{number}"] for number in range(len(groups))]

    def least(share: float) -> Any:
        return sa.func.min(sa.case((inner.c.rank >= share * inner.c.count, inner.c.latency_ms)))

    query = sa.select(*keys, least(0.5), least(0.95)).group_by(*keys)
    return {tuple(row[:-2]): (row[-2], row[-1]) for row in opened.execute(query)}


def _add(found: dict[tuple[Any, ...], dict[str, Any]], key: tuple[Any, ...], sums: dict[str, Any]) -> None:
    before = found.setdefault(key, dict.fromkeys(_SUMS, 0))
    for name, value in sums.items():
        # Postgres sums integers to decimals; without any row the sum is null.
        before[name] += float(value or 0) if name == "latency_ms" else int(value or 0)


def _row(
    names: Sequence[str],
    key: Sequence[Any],
    sums: Mapping[str, Any],
    percentiles: tuple[float | None, float | None],
) -> dict[str, Any]:
    shown = dict(zip(names, key, strict=True))
    if "hour" in shown:
        shown["hour"] = f"{shown['hour'].replace(' ', 'T')}:00"
    mean = sums["latency_ms"] / sums["answered"] if sums["answered"] else None
    return {
        **shown,
        **sums,
        "latency_ms": mean,
        "latency_p50_ms": percentiles[0],
        "latency_p95_ms": percentiles[1],
    }


def _place(names: Sequence[str], key: Sequence[Any], sums: Mapping[str, Any]) -> tuple[Any, ...]:
    period = "".join(value for name, value in zip(names, key, strict=True) if name in PERIODS)
    return period, -sums["cost"], -sums["calls"], tuple(str(value) for value in key)


def roll_up(settings: Settings, workspace: str, before: datetime, *, batch: int = 5000) -> int:
    """Sum up the oldest `batch` calls of a workspace asked before a day, and remove them; how many they were.

    The sums hold the same calls, tokens and nanos as what they replace; only whole days before `before` are touched.
    """
    midnight = before.replace(hour=0, minute=0, second=0, microsecond=0)
    with session(settings) as opened:
        # The lock of those who write lines: nothing is added between the sums and the removal.
        transaction_lock(opened, "llm_calls")
        chosen = (
            sa.select(LlmCallRow.seq)
            .where(LlmCallRow.workspace == workspace, LlmCallRow.at < midnight)
            .order_by(LlmCallRow.at, LlmCallRow.seq)
            .limit(batch)
        )
        sequence = opened.scalars(chosen).all()
        if not sequence:
            return 0
        mine = LlmCallRow.seq.in_(sequence)
        day = _midnight(opened)
        kept = [getattr(LlmCallRow, name) for name in _KEPT]
        sums = [sa.cast(sa.func.sum(getattr(LlmCallRow, name)), sa.BigInteger) for name in (*_TOKENS, "cost")]
        query = sa.select(
            day,
            *kept,
            sa.func.count(),
            sa.func.sum(sa.case((LlmCallRow.parent.is_(None), 1), else_=0)),
            *sums,
            sa.func.sum(LlmCallRow.latency_ms),
        )
        columns = ["at", *_KEPT, "calls", "requests", *_TOKENS, "cost", "latency_ms"]
        target = sa.insert(LlmUsageDayRow).from_select(
            [getattr(LlmUsageDayRow, name) for name in columns], query.where(mine).group_by(day, *kept)
        )
        opened.execute(target)
        opened.execute(sa.delete(LlmCallRow).where(mine))
    return len(sequence)


def _midnight(opened: Session) -> Any:
    if opened.get_bind().dialect.name == "sqlite":
        return sa.func.substr(LlmCallRow.at, 1, 10).concat(sa.literal_column("' 00:00:00.000000'"))
    return sa.func.date_trunc(sa.literal_column("'day'"), LlmCallRow.at)
