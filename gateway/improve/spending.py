"""Users whose program runs away, found while the gateway runs and before the hourly look at the ledger.

Not on the way of any call: every few seconds the sums of the calls that the ledger took since are read (also those of
other gateways on the same database), added up by hour for each user, and compared with what
`models.spend.unusual.loop` allows. What is found is kept and told as by the flow `watch-spend`, which finds the same
thing again and says no more.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from models.spend.unusual.finding import Finding
from models.spend.unusual.keeping import keep
from models.spend.unusual.loop import HISTORY_DAYS, WINDOWS, dear_day, most_allowed, runaway
from store.llm_spending import Spent, spent_after
from store.llm_usage import MOST_GROUPS, usage
from store.settings import Settings
from store.tables.base import utc_now

LOOK_S = 15.0
NANOS = 1e9
# Before so many days nothing is usual yet.
LEAST_DAYS = 7
_DAY = timedelta(days=1)
_HOUR = timedelta(hours=1)
_LITTLE = 0.15  # of the dearest hour: what is less was the user's own work
_BUSIEST = 4
# What goes on is kept anew at least so often: its end and what it costs grow.
_AGAIN = timedelta(minutes=10)
_OUTLIER = 3.0  # days that many times the middle one do not count as usual
_UNKNOWN = "unknown"

User = tuple[str, str]


@dataclass(slots=True)
class _Hour:
    """What a user spent within an hour: dollars by model."""

    calls: int = 0
    models: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    @property
    def cost(self) -> float:
        return sum(self.models.values())


@dataclass(frozen=True, slots=True)
class _Usual:
    """What is usual on a day.

    Attributes
    ----------
    own : user → dollars of each day before with any.
    others : workspace → dear day of its users.
    per_day : of everybody.
    """

    day: datetime
    own: Mapping[User, list[float]]
    others: Mapping[str, float]
    per_day: float


class Spending:
    """One per process; `look` is called by one thread at a time.

    Parameters
    ----------
    now : naive UTC.
    """

    def __init__(self, settings: Settings, now: Callable[[], datetime] = utc_now) -> None:
        self._settings = settings
        self._now = now
        self._seq = 0
        self._hours: dict[User, dict[datetime, _Hour]] = defaultdict(dict)
        self._days: dict[datetime, Mapping[User, float]] = {}
        self._usual: _Usual | None = None
        self._told: dict[User, tuple[str, datetime]] = {}

    def look(self) -> list[Finding]:
        """See what was spent since the last look; returns what is out of bounds now."""
        now = self._now()
        self._seq, rows = spent_after(self._settings, self._seq, now - _DAY)
        if not rows:
            return []
        users = self._add(rows, now)
        usual = self._learned(now)
        if usual is None:
            return []
        found = {user: one for user in sorted(users) if (one := self._check(user, usual, now)) is not None}
        keep(self._settings, [one for user, one in found.items() if self._news(user, one, now)])
        return list(found.values())

    def _add(self, rows: Iterable[Spent], now: datetime) -> set[User]:
        users = set()
        for row in rows:
            user = row.workspace, row.user or _UNKNOWN
            hour = self._hours[user].setdefault(row.hour, _Hour())
            hour.calls += row.calls
            hour.models[row.model or _UNKNOWN] += row.cost / NANOS
            users.add(user)
        for user in list(self._hours):
            for at in [at for at in self._hours[user] if at < now - _DAY]:
                del self._hours[user][at]
            if not self._hours[user]:
                del self._hours[user]
        return users & self._hours.keys()

    def _learned(self, now: datetime) -> _Usual | None:
        """What is usual today, read once a day; None while too little is known."""
        today = now.replace(hour=0, minute=0, second=0, microsecond=0)
        if self._usual is not None and self._usual.day == today:
            return self._usual
        wanted = [today - (k + 1) * _DAY for k in range(HISTORY_DAYS)]
        # Days that are over do not change any more.
        self._days = {day: self._days[day] if day in self._days else self._of_day(day) for day in wanted}
        begun = [day for day in wanted if self._days[day]]
        if not begun or (today - min(begun)) / _DAY < LEAST_DAYS:
            return None
        own: dict[User, list[float]] = defaultdict(list)
        by_workspace: dict[str, list[float]] = defaultdict(list)
        for spent in self._days.values():
            for user, cost in spent.items():
                own[user].append(cost)
                by_workspace[user[0]].append(cost)
        totals = sorted(sum(self._days[day].values()) for day in wanted if day >= min(begun))
        middle = totals[len(totals) // 2]
        kept = [one for one in totals if middle == 0 or one <= _OUTLIER * middle]
        per_day = sum(kept) / len(kept)
        self._usual = _Usual(today, own, {name: dear_day(days) for name, days in by_workspace.items()}, per_day)
        return self._usual

    def _of_day(self, day: datetime) -> Mapping[User, float]:
        rows = usage(
            self._settings,
            by=("workspace", "user"),
            since=day,
            until=day + _DAY,
            limit=MOST_GROUPS,
            percentiles=False,
        )
        found: dict[User, float] = defaultdict(float)
        for row in rows:
            if row["cost"] > 0:
                found[row["workspace"], row["user"] or _UNKNOWN] += row["cost"] / NANOS
        return found

    def _check(self, user: User, usual: _Usual, now: datetime) -> Finding | None:
        hours = self._hours[user]
        own = usual.own.get(user, [])
        limit = most_allowed(own, usual.others.get(user[0], 0.0), usual.per_day)
        if limit <= 0:
            return None
        latest = max(hours)
        sums = [sum(one.cost for at, one in hours.items() if at > latest - window * _HOUR) for window in WINDOWS]
        if max(sums) <= limit:
            return None
        least = max(limit / 24, _LITTLE * max(one.cost for one in hours.values()))
        dear = {at: one for at, one in hours.items() if one.cost > least}
        begin, end = min(dear), min(max(dear) + _HOUR, now)
        within = {at: one for at, one in hours.items() if begin <= at < end}
        models: dict[str, float] = defaultdict(float)
        for one in within.values():
            for model, cost in one.models.items():
                models[model] += cost
        spent = sum(models.values())
        everybody = sum(
            one.cost for others in self._hours.values() for at, one in others.items() if begin <= at < end
        )  # fmt: skip
        busiest = sorted(within.items(), key=lambda item: -item[1].cost)[:_BUSIEST]
        return runaway(
            *user,
            begin,
            end,
            spent=spent,
            usual=sum(own) / HISTORY_DAYS,
            usual_per_day=usual.per_day,
            everybody=everybody,
            times=max(sums) / limit,
            models=models,
            hours=[(at, one.calls, one.cost) for at, one in busiest],
            ongoing=True,
        )

    def _news(self, user: User, one: Finding, now: datetime) -> bool:
        """Whether to write it: not every few seconds the same."""
        before = self._told.get(user)
        if before is not None and before[0] == one.severity and now - before[1] < _AGAIN:
            return False
        self._told[user] = one.severity, now
        return True

    def explain(self) -> dict[str, Any]:
        """What it watches, JSON-ready."""
        return {
            "users": len(self._hours),
            "usual_dollars_per_day": None if self._usual is None else self._usual.per_day,
            "told": len(self._told),
        }
