"""The rows that a question needs, out of what its caller may see.

Only aggregates, and of a workspace that is all a caller may see, only its own: what belongs to the platform as a whole
(promotions, churn, segments) is for callers of the platform.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from features.views.spend import NANOS, midnight
from models.insights.periods import Period, period_of
from models.insights.row import Aliases, Row, Value
from models.insights.topics import MOST_DAYS, Need, need_of
from models.spend.bill import Bill, budget_outlooks
from store import ledger, scores, spend_anomalies
from store.errors import EmptyData
from store.llm_usage import usage
from store.settings import Settings

MOST_ROWS = 48
_SHOWN = 8
_DAYS_SHOWN = 31
_HORIZON = 60
_MOST_LISTED = 8
_SUMS: Mapping[str, str] = {
    "calls": "calls", "failures": "failures", "cached": "cached", "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
}  # fmt: skip

# The bill of the coming days; worked out only where a question needs it.
Billed = Callable[[], Bill]
Made = tuple[str, dict[str, Value]]


@dataclass(frozen=True)
class Gathered:
    """Rows for one question.

    Attributes
    ----------
    aliases : alias → the name that models were not shown.
    people : (workspace, user) of everybody whom a row names.
    """

    rows: tuple[Row, ...]
    need: Need
    aliases: Mapping[str, str]
    people: tuple[tuple[str, str], ...]


class _Gathering:
    """One question's rows in the making."""

    def __init__(
        self, settings: Settings, need: Need, since: datetime, until: datetime, workspace: str | None, billed: Billed
    ) -> None:
        self.settings, self.need, self.since, self.until, self.workspace = settings, need, since, until, workspace
        self.billed = billed
        self.aliases = Aliases()
        self.people: dict[tuple[str, str], None] = {}

    def rows(self) -> tuple[Row, ...]:
        """As many of each topic as there is room for, the most wanted first."""
        found: list[Made] = []
        share = MOST_ROWS if len(self.need.topics) == 1 else max(_SHOWN, MOST_ROWS // len(self.need.topics) + 8)
        for topic in self.need.topics:
            makers: Mapping[str, Callable[[], Iterator[Made]]] = {
                "usage": self._usage,
                "forecast": self._forecast,
                "budgets": self._budgets,
                "anomalies": self._anomalies,
                "recommendations": self._usage,
                "promotions": self._promotions,
                "churn": lambda: self._scored("churn", "churn risk", "mean_probability_share"),
                "segments": lambda: self._scored("segmentation", "segments", "mean_value_eur"),
            }
            if topic == "recommendations" and "usage" in self.need.topics:
                continue
            try:
                found += list(makers[topic]())[:share]
            except EmptyData:
                continue
        return tuple(Row(n, about, values) for n, (about, values) in enumerate(found[:MOST_ROWS], 1))

    def _usage(self) -> Iterator[Made]:
        spans = [(self.since, self.until, "")]
        if self.need.before:
            before = self.since - timedelta(days=self.need.days)
            spans.append((before, self.since, ", the same time before"))
        for since, until, words in spans:
            about = f"{_dated(since, until)}{words}"
            everything = usage(
                self.settings, since=since, until=until, workspace=self.workspace, percentiles=False, limit=1
            )
            for row in everything:
                yield f"usage in all, {about}", {"days": self.need.days, **_measures(row)}
            for dimension in self.need.by:
                if everything and not (dimension == "workspace" and self.workspace is not None):
                    yield from self._by(dimension, since, until, about)

    def _by(self, dimension: str, since: datetime, until: datetime, about: str) -> Iterator[Made]:
        # Users are names that a workspace gives.
        by = ("workspace", "user") if dimension == "user" else (dimension,)
        rows = usage(self.settings, by=by, since=since, until=until, workspace=self.workspace, percentiles=False)
        most = _SHOWN
        if dimension == "day":
            # The latest days one by one; what was before them is summed up.
            rows, most = rows[::-1], _DAYS_SHOWN
            rows = [*rows[:most][::-1], *rows[most:]]
        for row in rows[:most]:
            if dimension == "user" and row["user"] is not None:
                self.people[(str(row["workspace"]), str(row["user"]))] = None
            names = {name: str(row[name]) if name == "day" else self._name(row[name]) for name in by}
            yield f"usage by {dimension}, {about}", {**names, **_measures(row)}
        if len(rows) > most:
            rest = rows[most:]
            summed = {name: sum(row[name] for row in rest) for name in ("cost", *_SUMS)}
            named = "all earlier days" if dimension == "day" else "all others"
            others: dict[str, Value] = {dimension: named, "others": len(rest)}
            yield f"usage by {dimension}, {about}", {**others, **_measures(summed)}

    def _forecast(self) -> Iterator[Made]:
        bill = self.billed()
        names = ["total", *bill.outlook.series("workspace")[:_SHOWN]] if self.workspace is None else ["total"]
        if "model" in self.need.by:
            names += bill.outlook.series("model")[:_SHOWN]
        for name in names:
            for month in bill.months(name, _HORIZON):
                kind, _, subject = name.partition("=")
                yield "forecast of a month's bill, interval of 80 %", {
                    kind: self._name(subject) if subject else "all", "month": month.month,
                    "spent_so_far_usd": _money(month.spent), "expected_usd": _money(month.expected),
                    "low_usd": _money(month.low), "high_usd": _money(month.high),
                    "forecast_to_its_end": "yes" if month.whole else "no",
                }  # fmt: skip

    def _budgets(self) -> Iterator[Made]:
        found = budget_outlooks(self.settings, self.billed(), _HORIZON, workspace=self.workspace)
        for one in found[:_SHOWN]:
            self._person_of(one.subject)
            half = one.by.get(50)
            yield "budgets and where they are headed", {
                "subject": self._name(one.subject), "period": one.budget.period, "action": one.budget.action,
                "amount_usd": _money(one.amount), "spent_usd": _money(one.spent),
                "used_share": round(one.spent / one.amount, 4) if one.amount else 0.0,
                "expected_by_end_usd": _money(one.expected), "probability_used_up_share": round(one.probability, 4),
                **({} if half is None else {"half_probable_by": half}),
            }  # fmt: skip

    def _anomalies(self) -> Iterator[Made]:
        page = spend_anomalies.page(
            self.settings, workspace=self.workspace, since=self.since, until=self.until, limit=_MOST_LISTED
        )
        for one in page.items:
            self._person_of(one.subject)
            yield "unusual spending that was found", {
                "kind": one.kind, "subject": self._name(one.subject), "severity": one.severity, "state": one.state,
                "begins": f"{one.started_at:%Y-%m-%d}", "last_seen": f"{one.ended_at:%Y-%m-%d}",
                "excess_usd": _money(one.excess / NANOS),
            }  # fmt: skip

    def _promotions(self) -> Iterator[Made]:
        if self.workspace is not None:
            return
        for line in ledger.history(self.settings, limit=_MOST_LISTED)[::-1]:
            versions = {"from_version": line.from_version, "to_version": line.to_version}
            yield "promotions of models, newest first", {
                "model": self._name(line.name), "what": line.kind, "state": line.state,
                "date": f"{line.created_at:%Y-%m-%d}",
                **{name: value for name, value in versions.items() if value is not None},
            }  # fmt: skip

    def _scored(self, model: str, what: str, measure: str) -> Iterator[Made]:
        if self.workspace is not None or (batch := scores.latest(self.settings, model)) is None:
            return
        about = f"{what} of all customers as of {batch.as_of:%Y-%m-%d}"
        yield about, {"customers": batch.rows}
        for one in scores.counts(self.settings, model, version=batch.version, as_of=batch.as_of)[:_SHOWN]:
            # Labels of segments are their numbers: a label that is one is no amount.
            label = f"segment-{one.label}" if one.label.isdigit() else self._name(one.label)
            yield about, {"label": label, "customers": one.rows, measure: round(one.mean_value, 4)}

    def _name(self, name: object) -> str:
        return "unnamed" if name is None else self.aliases.shown(str(name))

    def _person_of(self, subject: str) -> None:
        """The person of `user=engineering/ada`."""
        kind, _, who = subject.partition("=")
        workspace, _, user = who.partition("/")
        if kind == "user" and user:
            self.people[(workspace, user)] = None


def gather(
    settings: Settings, question: str, as_of: datetime, billed: Billed, *, days: int | None = None,
    workspace: str | None = None,
) -> Gathered:  # fmt: skip
    """Rows for a question.

    Parameters
    ----------
    billed : gives the bill of the next 60 days, of the same workspace.
    days : looked at, up to `as_of`; default: as the question says, else 30.
    workspace : the only one whose rows the caller may see, or asked for; None: all.

    Raises
    ------
    EmptyData : there is nothing that the question could be answered with.
    """
    need = need_of(question, days)
    period = None if days is not None else period_of(question, as_of)
    since, until = _looked_at(period, need.days, as_of)
    if period is not None:
        need = replace(need, days=_days(since, until))
    made = _Gathering(settings, need, since, until, workspace, billed)
    rows = made.rows()
    if not rows:
        raise EmptyData(
            f"There is nothing to answer this with: no {' and no '.join(need.topics)} from {_dated(since, until)}.",
            remedy="Send prompts through the gateway first, or ask about something else: cost, usage, budgets, "
            "anomalies, forecasts, promotions, churn, segments.",
            field="question",
        )
    return Gathered(rows, need, made.aliases.known, tuple(made.people))


def _looked_at(period: Period | None, days: int, as_of: datetime) -> tuple[datetime, datetime]:
    """From when to when: the days that are named, else so many up to now, the last one perhaps not over yet."""
    if period is None:
        return midnight(as_of - timedelta(microseconds=1)) - timedelta(days=days - 1), as_of
    until = min(as_of, datetime.combine(period.last, datetime.min.time()) + timedelta(days=1))
    return max(datetime.combine(period.first, datetime.min.time()), until - timedelta(days=MOST_DAYS)), until


def _days(since: datetime, until: datetime) -> int:
    return -((since - until) // timedelta(days=1))


def _dated(since: datetime, until: datetime) -> str:
    last = until - timedelta(microseconds=1)
    return f"{since:%Y-%m-%d} to {last:%Y-%m-%d}"


def _measures(row: Mapping[str, Any]) -> dict[str, Value]:
    made: dict[str, Value] = {"cost_usd": _money(row["cost"] / NANOS)}
    made |= {shown: int(row[name]) for name, shown in _SUMS.items()}
    if row.get("latency_ms") is not None:
        made["mean_latency_ms"] = round(float(row["latency_ms"]), 1)
    return made


def _money(dollars: float) -> float:
    """To a hundredth of a cent, and small amounts to four digits: what is shown is what is checked."""
    return round(dollars, 4) if abs(dollars) >= 1 else float(f"{dollars:.4g}")


__all__: Sequence[str] = ("MOST_ROWS", "Gathered", "gather")
