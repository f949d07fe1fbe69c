"""`merit world`: build the demo world and load it."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from cli.ingest import load_tables
from cli.output import AsJson, dump, screen, show, steps
from cli.session import prepared
from store.settings import Settings

# The demo ends on a fixed day, so that the same seed is the same world on any date.
END = datetime(2026, 10, 31)


def world(
    customers: Annotated[int, typer.Option(help="Customers there ever were.", min=500, max=1_000_000)] = 2000,
    days: Annotated[
        int | None,
        typer.Option(help="Days of history. (default: 730, with --llm 90)", min=14, max=3650, show_default=False),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Same seed, same world. (default: MERIT_SEED)")] = None,
    end: Annotated[datetime, typer.Option(help="Last day.", formats=["%Y-%m-%d"])] = END,
    out: Annotated[Path | None, typer.Option(help="Folder to write to. (default: world/ in the home)")] = None,
    llm: Annotated[
        bool, typer.Option("--llm", help="Instead: calls of language models, straight into the gateway's ledger.")
    ] = False,
    calls_per_day: Annotated[float, typer.Option(help="With --llm: calls on an average day.", min=5)] = 330,
    judge: Annotated[
        float, typer.Option(help="With --llm: share of answers that a model grades where no user did.", min=0, max=1)
    ] = 0,
    load: Annotated[bool, typer.Option(help="Load the tables into the database as well.")] = True,
    as_json: AsJson = False,
) -> None:
    """Build a seeded demo world: a subscription energy-software business whose truth is known.

    With --llm the calls of language models of its eight workspaces: task mix, prices that change, models that fail or
    are slow, a user whose program runs away.
    """
    from features.world import build

    settings = prepared()
    if llm:
        _calls(settings, 90 if days is None else days, calls_per_day, judge, seed, end, as_json)
        return
    folder = out or settings.root / "world"
    with steps() as report:
        made = build(
            folder,
            customers=customers,
            days=730 if days is None else days,
            seed=settings.seed if seed is None else seed,
            end=end.date(),
            progress=lambda done, total, label: report(label, done, total),
        )
    counts = load_tables(settings, folder / "tables") if load else []
    if as_json:
        dump({"folder": str(folder), "tables": dict(made.tables), "loaded": counts})
        return
    rows = [{"table": name, "rows": count} for name, count in made.tables.items()]
    show(rows, ["table", "rows"], as_json=False, title=f"World in {folder}")
    if load:
        show(counts, ["table", "read", "inserted", "unchanged", "quarantined"], as_json=False, title="Loaded")
    screen.print(f"The truth is in {folder / 'truth'}, never in the tables.", style="dim")


def _calls(
    settings: Settings, days: int, calls_per_day: float, judge: float, seed: int | None, end: datetime, as_json: bool
) -> None:
    from features.world.llm_calls import build_llm_world

    with steps() as report:
        made = build_llm_world(
            settings,
            days=days,
            calls_per_day=calls_per_day,
            judge=judge,
            seed=seed,
            end=end.date(),
            progress=lambda done, total, label: report(label, done, total),
        )
    spent = made.spent / 1e9
    if as_json:
        dump({"folder": str(made.folder), "calls": made.calls, "feedback": made.feedback, "dollars": spent})
        return
    screen.print(
        f"{made.calls:,} calls from {made.start} to {made.end}, ${spent:,.2f}, {made.feedback:,} judged. "
        f"The truth is in {made.folder}, never in the ledger.",
        highlight=False,
    )
