"""`merit ingest`: load a table of your own."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from cli.output import AsJson, dump, progress_bar, screen, show
from cli.session import prepared
from store.settings import Settings


class Known(StrEnum):
    """When rows without `recorded_at` came to be known; a history is only of use with `event`."""

    ingestion = "ingestion"
    event = "event"


def ingest(
    table: Annotated[str, typer.Argument(help="Table to load, e.g. customers.", show_default=False)],
    source: Annotated[str, typer.Argument(help="CSV or Parquet file, or a database URL.", show_default=False)],
    mapping: Annotated[
        list[str] | None, typer.Option("--map", help="Rename a column: theirs=ours. May be repeated.")
    ] = None,
    known: Annotated[
        Known, typer.Option(help="Without recorded_at: known since now (ingestion), or since it happened (event).")
    ] = Known.ingestion,
    as_json: AsJson = False,
) -> None:
    """Load a table: validated against its contract, rows that do not fit kept in quarantine with the reason."""
    from features.mapping import parse_mapping

    result = load_table(
        prepared(), table, source, parse_mapping(mapping or []), known="event" if known is Known.event else "ingestion"
    )
    if as_json:
        dump(result)
        return
    show([result], ["table", "read", "inserted", "unchanged", "quarantined"], as_json=False)
    for reason, count in result["reasons"].items():
        screen.print(f"In quarantine: {count} × {reason}", style="yellow", highlight=False, markup=False)
    if result["quarantined"]:
        screen.print(f"They are in the table `quarantine` under load {result['id']}.", style="dim", highlight=False)
    for note in result["notes"]:
        screen.print(note, style="yellow", highlight=False, markup=False)


def load_table(
    settings: Settings,
    table: str,
    source: str,
    mapping: Mapping[str, str],
    *,
    known: Literal["ingestion", "event"] = "ingestion",
) -> dict[str, Any]:
    """Load one table with a bar; returns the counts, JSON-ready."""
    from features.ingest import ingest as load

    with progress_bar() as bar:
        task = bar.add_task(f"load {table}", total=None)
        result = load(
            settings,
            table,
            source,
            mapping,
            known=known,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    return result.to_dict()


def load_tables(settings: Settings, folder: Path) -> list[dict[str, Any]]:
    """Load every table of a folder of Parquet files, as the demo world writes it."""
    from features.contracts import CONTRACTS

    return [load_table(settings, name, str(folder / f"{name}.parquet"), {}) for name in CONTRACTS]
