"""`merit spend anomalies`: what is unusual in the ledger, why, and what people say of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cli.files import check_plot
from cli.output import AsJson, dump, screen, show, steps
from cli.session import actor, prepared
from cli.spend_options import AsOf, Workspace

_COLUMNS = ["id", "since", "kind", "subject", "severity", "excess"]


def anomalies(
    days: Annotated[int, typer.Option(help="Within so many days.", min=1, max=365)] = 7,
    workspace: Workspace = None,
    as_of: AsOf = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep it and notify, as the hourly flow does.")] = False,
    plot: Annotated[Path | None, typer.Option("--plot", help="Draw the worst as .png.", dir_okay=False)] = None,
    as_json: AsJson = False,
) -> None:
    """Find what is unusual: prices, volume, mix, runaway users, errors, latency, budgets; with the cause of each."""
    check_plot(plot)
    from features.views.spend import end_of_ledger
    from models.spend.unusual.keeping import keep as kept
    from models.spend.unusual.look import frames_of, look

    settings = prepared()
    moment = end_of_ledger(settings, as_of)
    with steps(quiet=as_json) as progress:
        progress("look at the ledger", 0, 1)
        found = look(settings, moment, days=days, workspace=workspace)
    if keep:
        kept(settings, found)
    if plot:
        from models.spend.unusual.plots import findings_plot

        frames = frames_of(settings, moment, hours=24 * (days + 28), workspace=workspace)
        plot.write_bytes(findings_plot(frames, found))
    rows = [
        {"id": one.id, "kind": one.kind, "subject": one.subject, "workspace": one.workspace, "severity": one.severity,
         "score": one.score, "start": one.start, "end": one.end, "ongoing": one.ongoing, "excess": one.excess,
         **one.report()}
        for one in found
    ]  # fmt: skip
    if as_json:
        dump({"as_of": moment, "anomalies": rows})
        return
    show([_short(row) for row in rows], _COLUMNS, as_json=False, title=f"Unusual as of {moment:%Y-%m-%d %H:%M} UTC")
    for row in rows:
        screen.print(f"{row['severity']}: {row['words']}", highlight=False, markup=False)


def decide(
    anomaly_id: Annotated[str, typer.Argument(help="Id, as `merit spend anomalies --keep` kept it.")],
    state: Annotated[str, typer.Argument(help="confirmed, dismissed or open.")],
    reason: Annotated[str, typer.Option(help="Why.")] = "",
    as_json: AsJson = False,
) -> None:
    """Say what an anomaly was: confirmed where it matters, dismissed where it does not."""
    from store import spend_anomalies as stored

    found = stored.decide(prepared(), anomaly_id, state, by=actor(), reason=reason)  # type: ignore[arg-type]
    if as_json:
        dump({"id": found.id, "state": found.state, "decided": found.decided})
        return
    screen.print(f"{found.id} ({found.kind}, {found.subject}) is {found.state}.", highlight=False, markup=False)


def _short(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "since": f"{row['start']:%m-%d %H:%M}"}
