"""What the command prints: tables for people, JSON for programs, errors on standard error."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from store.errors import (
    AccessDenied,
    BudgetExceeded,
    DataError,
    MeritError,
    RateLimited,
    RegistryError,
    ServiceUnavailable,
    SettingsError,
    UnknownEntity,
    UnknownLlm,
    UpstreamFailed,
)

if TYPE_CHECKING:
    import pandas as pd

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]

screen = Console()
errors = Console(stderr=True)


def exit_code(error: MeritError) -> int:
    """The exit code that belongs to an error; listed in `merit --help`."""
    if isinstance(error, DataError | SettingsError):
        return 2
    if isinstance(error, RegistryError | UnknownEntity | UnknownLlm):
        return 3
    if isinstance(error, AccessDenied | BudgetExceeded | RateLimited):
        return 4
    if isinstance(error, ServiceUnavailable | UpstreamFailed):
        return 5
    return 1


def complain(error: MeritError) -> None:
    """Say what went wrong and what to do next."""
    errors.print(f"[bold red]Error:[/] {_plain(error.message)}", highlight=False)
    if error.remedy:
        errors.print(f"  {_plain(error.remedy)}", highlight=False)


def show(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, as_json: bool, title: str = "") -> None:
    """Print rows as a table, or as a JSON array with every field."""
    if as_json:
        dump(list(rows))
        return
    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for place, column in enumerate(columns):
        # The first column names the row; names stay whole.
        justify: Literal["left", "right"] = "right" if _numeric(rows, column) else "left"
        table.add_column(column, overflow="fold", justify=justify, no_wrap=place == 0)
    for row in rows:
        table.add_row(*(_plain(cell(row.get(column))) for column in columns))
    screen.print(table)
    if not rows:
        screen.print("(none)", style="dim")


def show_frame(frame: pd.DataFrame, *, as_json: bool) -> None:
    """Print a frame as `show` prints rows."""
    rows = [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]
    show(rows, [str(name) for name in frame.columns], as_json=as_json)


def dump(value: object) -> None:
    """Print JSON on standard output, nothing else."""
    sys.stdout.write(json.dumps(_finite(value), indent=1, default=_json, allow_nan=False) + "\n")


def _finite(value: object) -> object:
    """What JSON has no number for becomes null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def cell(value: object) -> str:
    """A value as a person wants to read it in a table."""
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return _figures(value, 4)
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, Mapping) and {"value", "low", "high"} <= set(value):
        if value["value"] is None:
            return "–"
        bounds = f" [{_figures(value['low'], 3)}, {_figures(value['high'], 3)}]" if value["low"] is not None else ""
        return f"{_figures(value['value'], 4)}{bounds}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={item}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(str(item) for item in value)
    return str(value)


@contextmanager
def progress_bar(*, quiet: bool = False) -> Iterator[Progress]:
    """A bar on standard error, so that standard output stays clean; silent where nobody watches."""
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=errors,
        transient=True,
        disable=quiet or not errors.is_terminal,
    ) as bar:
        yield bar


def _figures(value: float, digits: int) -> str:
    """So many significant digits; a number with more of them before the point is told whole, never as 1.2e+04."""
    return f"{value:,.0f}" if abs(value) >= 10**digits - 0.5 else f"{value:.{digits}g}"


@contextmanager
def steps(*, quiet: bool = False) -> Iterator[Any]:
    """A bar for work that reports `(label, done, total)`."""
    with progress_bar(quiet=quiet) as bar:
        task = bar.add_task("", total=None)

        def report(label: str, done: int, total: int) -> None:
            bar.update(task, description=label, completed=done, total=total)

        yield report


def _numeric(rows: Iterable[Mapping[str, Any]], column: str) -> bool:
    values = [row.get(column) for row in rows]
    return any(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _plain(text: str) -> str:
    # Square brackets of ours are intervals, not rich's markup.
    return text.replace("[", "\\[")


def _json(value: object) -> object:
    if isinstance(value, datetime | date):
        return value.isoformat()
    if hasattr(value, "item"):
        return value.item()
    return str(value)
