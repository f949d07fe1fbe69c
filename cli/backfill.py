"""`merit backfill`: train as if on each of a range of dates."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import typer

from cli.output import AsJson, show, steps
from cli.session import actor, prepared

Day = Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="Day, as YYYY-MM-DD.", show_default=False)]


def backfill(
    family: Annotated[
        Literal["churn", "forecasting", "segmentation", "pricing"],
        typer.Argument(help="What to train.", show_default=False),
    ],
    start: Day,
    end: Day,
    every: Annotated[int, typer.Option(help="Days between two dates.", min=1)] = 30,
    as_json: AsJson = False,
) -> None:
    """Train a family as of every date of a range, oldest first; a date that was done already is skipped."""
    from flows.run import run_flow

    parameters = {"family": family, "start": start.date(), "end": end.date(), "every_days": every}
    with steps() as report:
        rows = run_flow(prepared(), "backfill", parameters, actor=actor(), progress=report)
    show(rows, ["as_of", "state", "version", "verdict", "reason"], as_json=as_json, title=f"Backfill of {family}")
