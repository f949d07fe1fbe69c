"""`merit world`: build the demo world and load it."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from cli.ingest import load_tables
from cli.output import AsJson, dump, screen, show, steps
from cli.session import prepared

# The demo ends on a fixed day, so that the same seed is the same world on any date.
END = datetime(2026, 10, 31)


def world(
    customers: Annotated[int, typer.Option(help="Customers there ever were.", min=500, max=1_000_000)] = 2000,
    days: Annotated[int, typer.Option(help="Days of history.", min=120, max=3650)] = 730,
    seed: Annotated[int | None, typer.Option(help="Same seed, same world. (default: MERIT_SEED)")] = None,
    end: Annotated[datetime, typer.Option(help="Last day.", formats=["%Y-%m-%d"])] = END,
    out: Annotated[Path | None, typer.Option(help="Folder to write to. (default: world/ in the home)")] = None,
    load: Annotated[bool, typer.Option(help="Load the tables into the database as well.")] = True,
    as_json: AsJson = False,
) -> None:
    """Build a seeded demo world: a subscription energy-software business whose truth is known."""
    from features.world import build

    settings = prepared()
    folder = out or settings.root / "world"
    with steps() as report:
        made = build(
            folder,
            customers=customers,
            days=days,
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
