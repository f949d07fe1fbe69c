"""`merit insights`: ask about the platform's own numbers; models answer, and every number is checked."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import typer

from cli.api_client import Api, Url
from cli.output import AsJson, dump, screen, show
from cli.parsing import names
from cli.spend_options import AsOf, Workspace
from store.errors import InvalidValue


def insights(
    question: Annotated[
        str | None, typer.Argument(metavar="QUESTION", help="What to ask about cost, usage, budgets, …")
    ] = None,
    models: Annotated[str | None, typer.Option(help="Models that answer: a/b,c/d. (default: the best three)")] = None,
    days: Annotated[
        int | None, typer.Option(help="Days looked at. (default: as the question says, else 30)", min=1, max=366)
    ] = None,
    workspace: Workspace = None,
    as_of: AsOf = None,
    max_cost: Annotated[float | None, typer.Option(help="Dollars that all models together may cost.", min=0)] = None,
    listed: Annotated[bool, typer.Option("--list", help="Show what was asked before.")] = False,
    read: Annotated[str | None, typer.Option("--show", metavar="ID", help="Show a question that was asked.")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Ask about the platform's own numbers. Several models answer; what is not in the rows they cite is taken out."""
    api = Api(url)
    if listed:
        _list(api, workspace, as_json=as_json)
        return
    if read is not None:
        told = api.get(f"/v1/insights/{read}")
    else:
        if question is None or not question.strip():
            raise InvalidValue(
                "There is no question.", remedy='Ask: merit insights "Which model cost most?"', field="question"
            )
        told = api.post("/v1/insights", _body(question, models, days, workspace, as_of, max_cost))
    if as_json:
        dump(told)
        return
    tell(told)


def tell(told: Mapping[str, Any]) -> None:
    """An answer for people: sentences with who agrees, models with what was taken out, and the rows that are cited."""
    if told.get("words_missing"):
        screen.print(told["words_missing"], style="dim")
    for one in told["sentences"]:
        screen.print(one["text"], highlight=False, markup=False)
        screen.print(f"  stated by {', '.join(one['models'])}", style="dim", highlight=False, markup=False)
    if not told["sentences"]:
        said = {"untold": "The rows do not tell.", "refused": "No model's answer held."}
        screen.print(said.get(told["status"], "(no words)"), style="yellow")
    screen.print()
    show(told["members"], ["model", "state", "kept", "removed", "error", "cost"], as_json=False, title="Models")
    for member in told["members"]:
        for one in member["removed_sentences"]:
            line = f"taken out of {member['model']}: {one['text']} ({one['reason']})"
            screen.print(line, style="dim", highlight=False, markup=False)
    cited = {row for one in told["sentences"] for row in one["rows"]}
    rows = [row for row in told["rows"] if row["row"] in cited]
    if rows:
        screen.print()
        show(rows, ["row", "about", "values"], as_json=False, title=f"Rows cited, of {len(told['rows'])}")
    for alias, name in told["aliases"].items():
        screen.print(f"{alias} stands for {name!r}", style="dim", highlight=False, markup=False)
    screen.print(f"{told['id']}: ${told['cost']:.6f}", style="dim", highlight=False)


def _body(
    question: str, models: str | None, days: int | None, workspace: str | None, as_of: datetime | None,
    max_cost: float | None,
) -> dict[str, Any]:  # fmt: skip
    given = {
        "question": question,
        "models": list(names(models)) or None,
        "days": days,
        "workspace": workspace,
        "as_of": None if as_of is None else f"{as_of.isoformat()}Z",
        "max_cost": max_cost,
    }
    return {name: value for name, value in given.items() if value is not None}


def _list(api: Api, workspace: str | None, *, as_json: bool) -> None:
    found = api.get("/v1/insights", workspace=workspace)
    if as_json:
        dump(found)
        return
    columns = ["id", "at", "workspace", "status", "kept", "removed", "agreement", "cost"]
    show(found["insights"], columns, as_json=False)
