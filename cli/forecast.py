"""`merit forecast`: forecasts for a file, with nothing set up and no server running."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.files import check_writable, write_frame
from cli.output import AsJson, dump, errors, screen, show, show_frame, steps
from cli.parsing import names, numbers, whole_numbers
from cli.series_options import Also, Exog, Freq, Future, Hierarchy, Holidays, Id, Level, Models, Season
from store.settings import load_settings

if TYPE_CHECKING:
    import pandas as pd

_FEW = 5  # series that a sentence each is printed for


class Direction(StrEnum):
    """On which side of a threshold a series is when it has reached it."""

    above = "above"
    below = "below"


class Fill(StrEnum):
    """What stands in for a value that is missing inside a series."""

    interpolate = "interpolate"
    zero = "zero"


def forecast(
    data: Annotated[str, typer.Option("--data", help="CSV or Parquet file, or database URL.", show_default=False)],
    horizon: Annotated[int, typer.Option(help="Steps ahead.", min=1, show_default=False)],
    id_column: Id = None,
    time: Annotated[str, typer.Option(help="Column with the time.")] = "ds",
    target: Annotated[str, typer.Option(help="Column with the value; absent in a wide file.")] = "y",
    freq: Freq = None,
    season: Season = None,
    level: Level = "80,95",
    models: Models = None,
    also: Also = None,
    exog: Exog = None,
    future: Future = None,
    holidays: Holidays = None,
    hierarchy: Hierarchy = None,
    cross: Annotated[
        float | None, typer.Option(help="When, and how probably, does each series reach this value?")
    ] = None,
    direction: Annotated[Direction, typer.Option(help="Reach it from below or from above.")] = Direction.above,
    fill: Annotated[Fill, typer.Option(help="How holes are filled.")] = Fill.interpolate,
    seconds: Annotated[float, typer.Option(help="Time budget per series.", min=0.1)] = 60.0,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write .csv, .parquet or .json; without it, print.", dir_okay=False)
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Write what was repaired and used, per series.", dir_okay=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Forecast every series of a file: unique_id, ds, model, forecast, and an interval per level."""
    check_writable(out)
    check_writable(report)
    settings = load_settings()
    levels, seasons = numbers(level, "--level"), whole_numbers(season, "--season")

    from features.reading import read_table
    from models.forecasting.forecast_file import forecast_frame
    from models.forecasting.options import ForecastOptions

    options = ForecastOptions(
        horizon=horizon,
        freq=freq,
        seasons=tuple(seasons) if seasons is not None else None,
        levels=tuple(levels),
        members=names(models) or None,
        seconds_per_series=seconds,
        threads=settings.threads,
        fill=fill.value,
        also=names(also),
        exog=names(exog),
        holidays=holidays,
    )
    frame = read_table(data)
    if id_column is None and "unique_id" in frame.columns:
        id_column = "unique_id"
    with steps() as progress:
        made = forecast_frame(
            frame,
            options,
            id_column=id_column,
            time_column=time,
            target_column=target,
            future=read_table(future) if future else None,
            hierarchy=hierarchy,
            cross=None if cross is None else (cross, direction.value),
            progress=lambda done, total: progress("forecast", done, total),
        )
    for note in made.notes:
        errors.print(note, style="yellow", highlight=False, markup=False)
    for note in _repairs(made.report, named=report is not None):
        errors.print(note, style="yellow", highlight=False, markup=False)
    repaired = made.report[made.report["problems"].fillna("") != ""] if "problems" in made.report else made.report[:0]
    for row in repaired.head(5).to_dict("records"):
        errors.print(f"{row['unique_id']}: {row['problems']}", style="yellow", highlight=False, markup=False)
    if report:
        write_frame(made.report, report)
    if out:
        write_frame(made.frame, out)
        used = made.frame.drop_duplicates("unique_id")["model"].value_counts()
        summary = {
            "series": int(used.sum()),
            "rows": len(made.frame),
            "out": str(out),
            "models": used.to_dict(),
            "left_out": [str(name) for name in made.report.loc[made.report["length"] == 0, "unique_id"]],
        }
        if as_json:
            dump(summary | ({"crossings": made.crossings} if made.crossings else {}))
            return
        _show_crossings(made.crossings)
        models_used = ", ".join(f"{name} × {count}" for name, count in used.items())
        screen.print(f"{summary['series']} series, {horizon} steps each ({models_used}) → {out}", highlight=False)
        return
    if made.crossings:
        if as_json:
            dump({"crossings": made.crossings, "forecasts": made.frame.astype({"ds": str}).to_dict("records")})
        else:
            _show_crossings(made.crossings)
        return
    show_frame(made.frame.astype({"ds": str}), as_json=as_json)


def _show_crossings(crossings: Sequence[Mapping[str, Any]]) -> None:
    """A table of dates, and the sentences where there are few."""
    if not crossings:
        return
    rows = [{**one, "probability": f"{one['probability']:.0%}"} for one in crossings]
    columns = ["unique_id", "last_value", "probability", "by_50", "by_80", "by_95"]
    word = "at or above" if crossings[0]["direction"] == "above" else "at or below"
    show(rows, columns, as_json=False, title=f"{word} {crossings[0]['threshold']:g}")
    if len(crossings) <= _FEW:
        for one in crossings:
            screen.print(f"{one['unique_id']}: {one['summary']}", highlight=False, markup=False)


def _repairs(report: pd.DataFrame, *, named: bool) -> list[str]:
    """What was left out and repaired, in two sentences: nothing happens to somebody's data in silence."""
    said = []
    left_out = report[report["length"] == 0]
    if len(left_out):
        names_left = ", ".join(str(name) for name in left_out["unique_id"].head(5))
        more = f" and {len(left_out) - 5} more" if len(left_out) > 5 else ""
        said.append(f"Left out, without a single value: {names_left}{more}.")
    kinds = {
        "missing": "missing values filled",
        "gaps": "missing steps filled",
        "duplicates": "duplicates averaged",
        "moved": "time stamps moved onto the grid",
        "cut": "empty values at an end cut off",
    }
    parts = []
    for column, words in kinds.items():
        touched = report[report[column] > 0]
        if len(touched):
            parts.append(f"{int(touched[column].sum())} {words} in {len(touched)} series")
    if parts:
        hint = "" if named else "; --report FILE.csv tells which"
        said.append(f"Repaired: {', '.join(parts)}{hint}.")
    return said
