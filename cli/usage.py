"""`merit usage`: calls, tokens and dollars, by whoever caused them."""

from __future__ import annotations

from typing import Annotated

import typer

from cli.api_client import Api, Url
from cli.output import AsJson, dump, screen, show
from cli.parsing import names


def usage(
    by: Annotated[
        str, typer.Option(help="Columns to group by: workspace, user, key, model, provider, task, day.")
    ] = "workspace,model",
    since: Annotated[str | None, typer.Option(help="First day or moment, UTC: 2026-11-01. (default: 30 days)")] = None,
    until: Annotated[str | None, typer.Option(help="End, not included. (default: now)")] = None,
    workspace: Annotated[str | None, typer.Option(help="Only this one.")] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show what was used and spent."""
    groups = names(by)
    answer = Api(url).get("/v1/usage", by=",".join(groups), since=since, until=until, workspace=workspace)
    if as_json:
        dump(answer)
        return
    rows = answer["rows"]
    columns = [*groups, "calls", "input_tokens", "output_tokens", "cost"]
    show(rows, columns, as_json=False)
    total = sum(row["cost"] for row in rows)
    screen.print(f"${total:,.6f} in {sum(row['calls'] for row in rows):,} calls", style="dim", highlight=False)
