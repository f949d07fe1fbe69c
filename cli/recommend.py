"""`merit recommend`: ways to spend less, followed or turned down, and what they saved."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.files import check_plot
from cli.output import AsJson, dump, screen, show, steps
from cli.session import actor, prepared
from cli.spend_options import AsOf, Workspace

if TYPE_CHECKING:
    from store.spend_recommendations import SpendRecommendation

app = typer.Typer(help="Find ways to spend less, follow them, and see what they saved.", no_args_is_help=True)

_Id = Annotated[str, typer.Argument(metavar="ID", help="Id, as `merit recommend list` shows it.", show_default=False)]
_Reason = Annotated[str, typer.Option(help="Why.")]


@app.command("look")
def look(
    days: Annotated[int, typer.Option(help="Whole days before that are looked at.", min=7, max=365)] = 28,
    tolerance: Annotated[
        float, typer.Option(help="How far judgements may be expected to fall for a cheaper model.", min=0, max=1)
    ] = 0.05,
    workspace: Workspace = None,
    as_of: AsOf = None,
    keep: Annotated[bool, typer.Option("--keep/--dry", help="Keep what is found and notify, as the flow does.")] = True,
    as_json: AsJson = False,
) -> None:
    """Look at the ledger for ways to spend less, each with its estimated saving and interval."""
    from features.views.spend import end_of_ledger
    from gateway.improve.following import means
    from models.spend.recommending.another_model import Tolerance
    from models.spend.recommending.keeping import keep as kept
    from models.spend.recommending.look import Wanted
    from models.spend.recommending.look import look as find

    settings = prepared()
    wanted = Wanted(tolerance=Tolerance(expected=tolerance, worst=3 * tolerance))
    moment = end_of_ledger(settings, as_of)
    with steps(quiet=as_json) as progress:
        progress("look at the ledger", 0, 1)
        found = find(settings, moment, means(settings), wanted, days=days, workspace=workspace, seed=settings.seed)
    new = kept(settings, found, workspace=workspace) if keep else []
    if as_json:
        dump({"as_of": moment, "new": len(new), "found": [{"kind": one.kind, "workspace": one.workspace,
              **one.to_dict()} for one in found]})  # fmt: skip
        return
    rows = [
        {"kind": one.kind, "workspace": one.workspace, "about": one.subject, "saves a month": one.saving.to_dict(),
         "of": one.spent}
        for one in found
    ]  # fmt: skip
    show(rows, ["kind", "workspace", "about", "saves a month", "of"], as_json=False,
         title=f"Dollars a month, as of {moment:%Y-%m-%d %H:%M} UTC")  # fmt: skip
    for one in found:
        screen.print(one.words, highlight=False, markup=False)


@app.command("list")
def listing(
    state: Annotated[
        str | None,
        typer.Option(help="Only proposed, accepted, measured, dismissed, expired or reverted.", show_default=False),
    ] = None,
    workspace: Workspace = None,
    as_json: AsJson = False,
) -> None:
    """Recommendations that were kept, newest first, with what was estimated and what was measured."""
    from models.spend.recommending.keeping import payload_of
    from store import spend_recommendations as stored
    from store.errors import InvalidValue

    if state is not None and state not in stored.STATES:
        raise InvalidValue(
            f"--state {state} is unknown.", remedy=f"Use one of {', '.join(stored.STATES)}.", field="state", value=state
        )
    found = stored.page(prepared(), workspace=workspace, states=() if state is None else (state,), limit=1_000)
    rows = [payload_of(one) for one in found.items]
    if not as_json:
        rows = [_short(row) for row in rows]
    show(rows, ["id", "state", "kind", "workspace", "about", "estimated", "measured"], as_json=as_json)


@app.command("show")
def one(recommendation: _Id, as_json: AsJson = False) -> None:
    """One recommendation: what to do, what it rests on, what became of it."""
    from store import spend_recommendations as stored

    _tell(stored.get(prepared(), recommendation), as_json)


@app.command("accept")
def accept(
    recommendation: _Id,
    reason: _Reason = "",
    since: Annotated[
        datetime | None,
        typer.Option(
            help="From when it held, UTC. (default: now)", formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M"], show_default=False
        ),
    ] = None,
    held_back: Annotated[
        float, typer.Option(help="Share of calls answered as before, to compare with.", min=0, max=0.5)
    ] = 0.1,
    as_json: AsJson = False,
) -> None:
    """Follow it: what the gateway can set for the workspace is set, and counts within seconds."""
    from gateway.account.workspaces import Workspaces
    from gateway.improve import following
    from models.spend.recommending.keeping import tell

    settings = prepared()
    row = following.accept(
        settings, Workspaces(settings), recommendation, by=actor(), reason=reason, since=since, held_back=held_back
    )
    tell(settings, row)
    if as_json:
        _tell(row, as_json)
        return
    assert row.accepted is not None
    change = row.accepted["done"]["set"]
    screen.print(f"{row.id} is accepted since {row.accepted['since']}.", highlight=False, markup=False)
    if change:
        screen.print(f"Set for {row.workspace}: {_said(change)}", highlight=False, markup=False)
    else:
        for step in row.advice["steps"]:
            screen.print(f"To do: {step}", highlight=False, markup=False)


@app.command("dismiss")
def dismiss(recommendation: _Id, reason: _Reason = "", as_json: AsJson = False) -> None:
    """Turn it down; it is not proposed again for ninety days."""
    from models.spend.recommending.keeping import tell
    from store import spend_recommendations as stored

    settings = prepared()
    row = stored.dismiss(settings, recommendation, by=actor(), reason=reason)
    tell(settings, row)
    _tell(row, as_json)


@app.command("revert")
def revert(recommendation: _Id, reason: _Reason = "", as_json: AsJson = False) -> None:
    """Follow it no longer; what accepting it had set is taken back."""
    from gateway.account.workspaces import Workspaces
    from gateway.improve import following
    from models.spend.recommending.keeping import tell

    settings = prepared()
    row = following.revert(settings, Workspaces(settings), recommendation, by=actor(), reason=reason)
    tell(settings, row)
    _tell(row, as_json)


@app.command("measure")
def measure(
    recommendation: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="Only this one. (default: all that are followed)")
    ] = None,
    as_of: AsOf = None,
    plot: Annotated[Path | None, typer.Option("--plot", help="Draw it as .png.", dir_okay=False)] = None,
    as_json: AsJson = False,
) -> None:
    """What was saved, beside what would have been paid without it; and whether answers got worse."""
    check_plot(plot)
    from features.views.spend import end_of_ledger
    from models.spend.recommending.keeping import measure_all, measure_one, payload_of
    from store import spend_recommendations as stored

    settings = prepared()
    moment = end_of_ledger(settings, as_of)
    with steps(quiet=as_json) as progress:
        progress("measure on the ledger", 0, 1)
        if recommendation is None:
            found = measure_all(settings, moment, seed=settings.seed)
        else:
            row = stored.get(settings, recommendation)
            found = [payload_of(measure_one(settings, row, moment, seed=settings.seed))]
    if plot:
        from models.spend.recommending.plots import savings_plot

        plot.write_bytes(savings_plot(settings, [stored.get(settings, one["id"]) for one in found], moment))
    if as_json:
        dump(found)
        return
    columns = ["id", "kind", "workspace", "estimated", "measured", "quality"]
    show([_short(row) for row in found], columns, as_json=False, title="Dollars a month")
    for payload in found:
        screen.print(f"{payload['subject']}: {payload['measured']['words']}", highlight=False, markup=False)


def _tell(row: SpendRecommendation, as_json: bool) -> None:
    from models.spend.recommending.keeping import payload_of

    payload = payload_of(row)
    if as_json:
        dump(payload)
        return
    screen.print(f"{row.id} ({row.kind}) is {row.state}.", highlight=False, markup=False)
    screen.print(str(payload["words"]), highlight=False, markup=False)
    lines = [*payload["steps"], *payload["notes"]]
    for name in ("accepted", "dismissed", "reverted"):
        if (said := payload[name]) is not None:
            why = f": {said['reason']}" if said["reason"] else ""
            lines.append(f"{name} by {said['by']} at {said['at']}{why}")
    if payload["measured"] is not None:
        lines.append(payload["measured"]["words"])
    for line in lines:
        screen.print(f"- {line}", highlight=False, markup=False)


def _short(row: dict[str, Any]) -> dict[str, Any]:
    measured = row["measured"] or {}
    quality = measured.get("quality")
    return {
        **row,
        "about": row["subject"],
        "estimated": row["saving"],
        "measured": measured.get("saved_a_month"),
        "quality": None if quality is None else {"value": quality["change"], **quality},
    }


def _said(change: dict[str, Any]) -> str:
    if "substitutes" not in change:
        return ", ".join(f"{name} {value}" for name, value in change.items())
    rule = change["substitutes"][0]
    return (
        f"{rule['use']} answers {', '.join(rule['complexities'])} tasks that ask for {rule['asked']}, "
        f"{rule['held_back']:.0%} held back."
    )
