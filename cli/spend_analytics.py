"""`merit spend analytics` and `merit spend scorecard`: what was spent and why, and how well the platform does."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.output import AsJson, cell, dump, screen, show
from cli.parsing import names
from cli.session import prepared
from cli.spend_options import AsOf, Workspace

if TYPE_CHECKING:
    from store.scorecards import Score


def analytics(
    by: Annotated[
        str, typer.Option(help="Tables to show: workspace, user, model, provider, task, day.")
    ] = "workspace,model",
    days: Annotated[int, typer.Option(help="Days before the end, beside as many before those.", min=1, max=800)] = 30,
    top: Annotated[int, typer.Option(help="Rows of each table.", min=1, max=1000)] = 10,
    workspace: Workspace = None,
    as_of: AsOf = None,
    as_json: AsJson = False,
) -> None:
    """Show what was spent, by whom and for what, beside the period before, and what moved it."""
    from features.views.spend import end_of_ledger
    from models.spend.analytics import analytics as analysed
    from models.spend.analytics import kept

    settings = prepared()
    end = end_of_ledger(settings, as_of)
    found = analysed(settings, end - timedelta(days=days), end, by=names(by), workspace=workspace, top=top)
    there = kept(settings, workspace)
    if as_json:
        groups = {name: [vars(one) for one in rows] for name, rows in found.groups.items()}
        dump({"since": found.since, "until": found.until, "total": vars(found.total), "change": found.change,
              "by": groups, "others": found.others, "kept": vars(there)})  # fmt: skip
        return
    total = found.total
    screen.print(
        f"${total.cost:,.4f} in {total.calls:,} calls from {found.since:%Y-%m-%d} to {found.until:%Y-%m-%d}, "
        f"${total.cost_before or 0.0:,.4f} in {total.calls_before or 0:,} in the {days} days before.",
        highlight=False,
    )
    parts = sorted(found.change.items(), key=lambda item: -abs(item[1]))
    told = ", ".join(f"{name} {days * value:+,.4f}" for name, value in parts)
    screen.print(f"What moved it, in dollars: {told}", highlight=False)
    for name, rows in found.groups.items():
        columns = ["user" if name == "user" else name, "calls", "cost", "share", "before"]
        shown = [
            {**vars(one), name: "/".join(one.names.values()), "share": f"{one.share:.0%}", "before": one.cost_before}
            for one in rows
        ]
        show(shown, [column for column in columns if name != "day" or column != "before"], as_json=False)
        count, cost = found.others[name]
        if count:
            screen.print(f"and {count} more: ${cost:,.4f}", style="dim", highlight=False)
    summed = f" {there.days:,} sums by day since {there.days_since:%Y-%m-%d}." if there.days_since else ""
    if there.calls_since:
        screen.print(
            f"Kept: {there.calls:,} calls since {there.calls_since:%Y-%m-%d}.{summed}", style="dim", highlight=False
        )


def scorecard(
    days: Annotated[int, typer.Option(help="Days back from the last one kept.", min=1, max=800)] = 14,
    as_of: AsOf = None,
    keep: Annotated[bool, typer.Option("--keep", help="Measure now and keep it, as the daily flow does.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show how right routing, forecasts and alarms were, what recommendations saved, and how many were followed."""
    from models.spend.scorecard import MEASURES
    from models.spend.scorecard import scorecard as measured
    from store import scorecards

    settings = prepared()
    kept = scorecards.history(settings, measures=MEASURES)
    if keep or as_of is not None or not kept:
        from features.views.spend import end_of_ledger
        from models.spend import telling

        now = measured(settings, end_of_ledger(settings, as_of))
        if keep:
            telling.keep(settings, now)
        # What was measured just now stands in place of what was kept of that day.
        kept = [one for one in kept if one.day != now[0].day] + [one for one in now if one.measure in MEASURES]
    last = max(one.day for one in kept)
    newest = [one for one in kept if one.day == last]
    if as_json:
        recent = sorted({one.day for one in kept})[-days:]
        dump({"scores": [vars(one) for one in kept if one.day in recent]})
        return
    show([_row(one, kept, days) for one in newest], ["measure", "value", "rests on", "before"], as_json=False,
         title=f"The platform's own scorecard, up to {last}")  # fmt: skip
    for one in newest:
        if one.value is None:
            screen.print(f"{one.measure}: {one.detail.get('why', 'nothing to measure')}", style="dim", highlight=False)


def _row(one: Score, kept: Sequence[Score], days: int) -> dict[str, Any]:
    past = [other for other in kept if other.measure == one.measure and other.day < one.day][-days:]
    return {
        "measure": one.measure,
        "value": _shown(one),
        "rests on": f"{one.count:,} {_OF[one.measure]}",
        "before": ", ".join(_short(other) for other in past[-5:]),
    }


_OF = {
    "routing accuracy": "judged calls", "forecast accuracy": "days", "forecast coverage": "days of series",
    "anomaly precision": "decisions", "savings": "measured", "adoption": "closed",
}  # fmt: skip


def _shown(one: Score) -> str:
    if one.value is None:
        return ""
    if one.measure == "savings":
        return f"{cell({'value': one.value, 'low': one.low, 'high': one.high})} dollars a month"
    interval = f" ({one.low:.0%} – {one.high:.0%})" if one.low is not None and one.high is not None else ""
    return f"{one.value:.0%}{interval}"


def _short(one: Score) -> str:
    return "–" if one.value is None else f"{one.value:.2f}" if one.measure == "savings" else f"{one.value:.0%}"
