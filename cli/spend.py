"""`merit spend`: what language models will cost, and where each budget is headed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import spend_analytics, spend_anomalies
from cli.files import check_plot, check_writable, write_frame
from cli.output import AsJson, dump, errors, screen, show, steps
from cli.session import prepared
from cli.spend_options import AsOf, Workspace

if TYPE_CHECKING:
    from models.spend.bill import Bill
    from store.settings import Settings

app = typer.Typer(
    help="Forecast the bill of the ledger, see when budgets are used up, and what is unusual.", no_args_is_help=True
)
app.command("anomalies")(spend_anomalies.anomalies)
app.command("decide")(spend_anomalies.decide)
app.command("analytics")(spend_analytics.analytics)
app.command("scorecard")(spend_analytics.scorecard)


class By(StrEnum):
    """What one forecast is made for each of."""

    total = "total"
    workspace = "workspace"
    model = "model"


@app.command("forecast")
def forecast(
    horizon: Annotated[int, typer.Option(help="Days ahead.", min=1, max=365)] = 90,
    by: Annotated[By, typer.Option(help="One series for each of these.")] = By.total,
    level: Annotated[float, typer.Option(help="Level of the interval, in percent.", min=1, max=99.9)] = 80,
    workspace: Workspace = None,
    as_of: AsOf = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="Draw it as .png, budgets with it.", dir_okay=False)
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write every day as .csv, .parquet or .json.", dir_okay=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Forecast what will be spent, by day and month, with intervals."""
    check_writable(out)
    check_plot(plot)
    settings, bill = _bill(horizon, workspace, as_of)
    names = bill.outlook.series(by.value)
    frame = bill.outlook.forecast(names, horizon, (level,))
    if out:
        write_frame(frame, out)
    if plot:
        from models.spend.plots import forecast_plot

        plot.write_bytes(forecast_plot(settings, bill, horizon, level, workspace=workspace))
    months = [
        {"series": name, **vars(month)} for name in names for month in bill.months(name, horizon, level) if month.whole
    ]
    if as_json:
        days = frame.astype({"ds": str}).to_dict("records")
        dump({"as_of": bill.outlook.as_of, "notes": bill.outlook.notes, "months": months, "days": days})
        return
    for note in bill.outlook.notes:
        errors.print(note, style="yellow", highlight=False, markup=False)
    title = f"Dollars a month as of {bill.outlook.as_of:%Y-%m-%d %H:%M} UTC, interval of {level:g} %"
    show(
        [{**one, "expected": interval(one)} for one in months], ["series", "month", "spent", "expected"],
        as_json=False, title=title,
    )  # fmt: skip
    total = frame.groupby("unique_id", sort=False)["forecast"].sum()
    for name in names[:1]:
        where = "".join(f" → {path}" for path in (out, plot) if path)
        screen.print(f"{name}: ${total[name]:,.2f} expected in {horizon} days{where}", highlight=False, markup=False)


@app.command("crossings")
def crossings(
    horizon: Annotated[int, typer.Option(help="Days ahead.", min=1, max=365)] = 60,
    workspace: Workspace = None,
    as_of: AsOf = None,
    as_json: AsJson = False,
) -> None:
    """When each budget will be used up, and how probably."""
    from models.spend.bill import budget_outlooks

    settings, bill = _bill(horizon, workspace, as_of)
    rows = [one.to_dict() for one in budget_outlooks(settings, bill, horizon, workspace=workspace)]
    if as_json:
        dump({"as_of": bill.outlook.as_of, "budgets": rows})
        return
    shown = [
        {
            **row,
            "budget": f"{row['amount']:g} a {row['period']}",
            "expected": interval(row),
            "used up": f"{row['probability']:.0%}",
            "50 % by": row["by_50"],
        }
        for row in rows
    ]
    columns = ["subject", "budget", "spent", "expected", "used up", "50 % by"]
    show(shown, columns, as_json=False, title=f"Budgets as of {bill.outlook.as_of:%Y-%m-%d %H:%M} UTC")
    if not rows:
        screen.print("Set one with `merit budgets set`; `merit spend budgets` tells what would fit.", style="dim")


@app.command("budgets")
def budgets(workspace: Workspace = None, as_of: AsOf = None, as_json: AsJson = False) -> None:
    """Budgets that would fit: a month's for each workspace, a day's for each user."""
    from features.views.spend import daily_cells
    from models.spend.bill import budget_advice
    from models.spend.user_limits import user_limit

    settings, bill = _bill(90, workspace, as_of)
    months = [one.to_dict() for one in budget_advice(settings, bill, 90, workspace=workspace)]
    cells = daily_cells(settings, bill.outlook.as_of, days=180, by=("workspace", "user"), workspace=workspace)
    limit = user_limit(cells)
    if as_json:
        dump({"months": months, "users": None if limit is None else limit.to_dict()})
        return
    rows = [{**one, "50 %": one["quantiles"]["50"], "95 %": one["quantiles"]["95"]} for one in months]
    show(rows, ["subject", "month", "50 %", "95 %", "amount", "present", "verdict"], as_json=False)
    if limit is not None:
        screen.print(f"Each user ${limit.amount:g} a day: {' '.join(limit.reasons)}", highlight=False, markup=False)


def _bill(horizon: int, workspace: str | None, as_of: datetime | None) -> tuple[Settings, Bill]:
    from features.views.spend import end_of_ledger
    from models.spend.bill import bill_of

    settings = prepared()
    with steps() as progress:
        progress("read the ledger and forecast", 0, 1)
        return settings, bill_of(settings, end_of_ledger(settings, as_of), horizon, workspace=workspace)


def interval(row: Mapping[str, Any]) -> dict[str, Any]:
    """An expected value with the ends of its interval, as `cli.output.cell` shows it."""
    return {"value": row["expected"], "low": row["low"], "high": row["high"]}
