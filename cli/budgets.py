"""`merit budgets`: how much may be spent, by whom, in a day or a month."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from cli.api_client import Api, Url
from cli.output import AsJson, dump, screen, show

app = typer.Typer(help="List, set and remove budgets of a running API.", no_args_is_help=True)


class Scope(StrEnum):
    """What is limited."""

    organisation = "organisation"
    workspace = "workspace"
    project = "project"
    user = "user"
    provider = "provider"
    key = "key"
    request = "request"


class Period(StrEnum):
    """In which time it may be spent, UTC."""

    day = "day"
    month = "month"
    request = "request"


class Action(StrEnum):
    """What happens at its end."""

    alert = "alert"
    downgrade = "downgrade"
    refuse = "refuse"


@app.command("list")
def list_budgets(url: Url = None, as_json: AsJson = False) -> None:
    """Every budget: amount, spent, reserved by calls in flight, left."""
    rows = Api(url).get("/v1/budgets")["budgets"]
    if not as_json:
        rows = [{**row, "used": None if row.get("used") is None else f"{row['used']:.0%}"} for row in rows]
    columns = ["id", "scope", "subject", "workspace", "period", "amount", "spent", "reserved", "remaining", "used"]
    show(rows, [*columns, "action"], as_json=as_json)


@app.command("set")
def set_budget(
    scope: Annotated[Scope, typer.Argument(help="What is limited.", show_default=False)],
    amount: Annotated[float, typer.Argument(help="Dollars.", min=0, show_default=False)],
    subject: Annotated[str, typer.Option(help="Its name. (default: each one by itself)", show_default=False)] = "",
    workspace: Annotated[
        str, typer.Option(help="The workspace whose calls count. (default: all)", show_default=False)
    ] = "",
    period: Annotated[Period | None, typer.Option(help="Day or month, UTC. (default: month)")] = None,
    action: Annotated[Action, typer.Option(help="At its end: tell, take a cheaper model, or refuse.")] = Action.refuse,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Set a budget, or change its amount and action when there is one for the same."""
    api = Api(url)
    chosen = period or (Period.request if scope is Scope.request else Period.month)
    # A budget of one workspace belongs to it.
    within = subject if scope is Scope.workspace else workspace
    what = {"scope": scope.value, "subject": subject, "workspace": within, "period": chosen.value}
    change = {"amount": amount, "action": action.value}
    existing = _existing(api, what)
    made = api.patch(f"/v1/budgets/{existing}", change) if existing else api.post("/v1/budgets", what | change)
    if as_json:
        dump(made)
        return
    who = f"{scope.value} {subject}" if subject else f"each {scope.value}"
    where = f" in {workspace}" if workspace and scope is not Scope.workspace else ""
    told = f"{who}{where}, ${_dollars(amount)} a {chosen.value}, then {action.value}."
    screen.print(f"{made['id']}: {told}", highlight=False)


@app.command("remove")
def remove(
    budget_id: Annotated[str, typer.Argument(help="Id, as `merit budgets list` shows it.", show_default=False)],
    url: Url = None,
) -> None:
    """Remove a budget; what was spent stays in the ledger."""
    Api(url).delete(f"/v1/budgets/{budget_id}")
    screen.print(f"Budget {budget_id} is removed.", highlight=False, markup=False)


def _dollars(amount: float) -> str:
    """With cents, and with as many digits as a small amount needs."""
    return f"{amount:,.2f}" if round(amount, 2) == amount else f"{amount:,.9f}".rstrip("0")


def _existing(api: Api, what: dict[str, Any]) -> str | None:
    """Id of the budget for the same, whatever its amount."""
    for one in api.get("/v1/budgets")["budgets"]:
        if all((one.get(name) or "") == value for name, value in what.items()):
            return str(one["id"])
    return None
