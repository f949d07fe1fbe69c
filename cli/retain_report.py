"""What `merit retain` tells people: a plan in a few lines, a campaign in a few more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cli.output import cell, screen, show


def show_plan(source: str, summary: Mapping[str, Any]) -> None:
    """Revenue at risk, the offers, what to expect, and what the budget would have brought otherwise."""
    risk = summary["revenue_at_risk"]
    rows = [{"band": band, **_risk(one)} for band, one in risk["bands"].items()]
    _say(f"{source}; value if kept: {summary['value_basis']}.", style="bold")
    show([*rows, {"band": "all", **_risk(risk["total"])}], ["band", "customers", "revenue at risk"], as_json=False)
    _say("")
    columns = ["name", "cost", "may_have", "customers", "spend", "revenue_saved", "net"]
    show(
        [{**one, "revenue_saved": round(one["revenue_saved"], 2)} for one in summary["by_offer"]],
        columns,
        as_json=False,
    )
    budget = "no budget" if summary["budget"] is None else f"a budget of {_money(summary['budget'])}"
    _say("")
    _say(
        f"{summary['offers_made']} offers for {_money(summary['spend'])} of {budget}: revenue saved "
        f"{_interval(summary['revenue_saved'])}, net {_interval(summary['net'])}, customers saved "
        f"{_interval(summary['customers_saved'])}."
    )
    optimal = summary["optimal"]
    _say(
        "No other choice of these offers is expected to bring more."
        if optimal["exact"]
        else f"At most {100 * optimal['distance']:.3g} % below the best possible ({_money(optimal['best_possible'])})."
    )
    if summary["instead"]:
        _say(
            f"The same budget by risk alone: net {_money(summary['instead']['by_risk']['net'])}; at random: "
            f"{_money(summary['instead']['at_random']['net'])}."
        )
    none = summary["not_offered"]
    _say(
        f"Not offered anything: {none['not_eligible']} not eligible, {none['costs_more_than_it_saves']} where it costs "
        f"more than it saves, {none['budget']} for want of budget."
    )
    _say(summary["interval"] or "No intervals: scores alone do not tell how sure they are.")


def show_campaign(facts: Mapping[str, Any]) -> None:
    """The verdict on a campaign, and what each way of choosing customers would have brought."""
    for note in facts["notes"]:
        _say(note)
    _say(facts["verdict"], style="bold")
    rows = []
    for name, qini in facts["qini"].items():
        tops = {f"top {share}": _points(one) for share, one in facts["tops"][name].items()}
        rows.append({"ranking": name, "Qini per 1,000": _scaled(qini, 1000), **tops})
    _say("Effect in points among the first to be made the offer:")
    show(rows, list(rows[0]), as_json=False)
    balance = facts["balance"]
    _say(
        f"Nothing speaks against chance having handed it out: the arm is predicted with an AUC of {balance['auc']:.3f} "
        f"(p = {balance['auc_p']:.2g})."
    )


def _risk(one: Mapping[str, Any]) -> dict[str, Any]:
    return {"customers": one["customers"], "revenue at risk": _interval(one)}


def _interval(one: Mapping[str, Any]) -> str:
    bounds = "" if one["low"] is None else f" [{_money(one['low'])}, {_money(one['high'])}]"
    return f"{_money(one['value'])}{bounds}"


def _money(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:,.2f}".removesuffix(".00")


def _points(one: Mapping[str, Any]) -> str:
    return _scaled(one, 100)


def _scaled(one: Mapping[str, Any], by: float) -> str:
    return cell(f"{by * one['value']:+.1f} [{by * one['low']:+.1f}, {by * one['high']:+.1f}]")


def _say(text: str, style: str | None = None) -> None:
    screen.print(text, style=style, highlight=False, markup=False)
