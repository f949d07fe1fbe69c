"""`merit decompose`: what the series of a file are made of, and when they changed for good."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.files import check_writable, write_frame
from cli.output import AsJson, dump, errors, screen, show, steps
from cli.parsing import whole_numbers
from cli.series_options import Freq, Id, Season
from store.errors import InvalidValue, UnknownEntity
from store.settings import load_settings

if TYPE_CHECKING:
    from models.forecasting.series import Series

_FEW = 3  # series whose findings are told in sentences


def decompose(
    data: Annotated[str, typer.Option("--data", help="CSV or Parquet file, or database URL.", show_default=False)],
    id_column: Id = None,
    time: Annotated[str, typer.Option(help="Column with the time.")] = "ds",
    target: Annotated[str, typer.Option(help="Column with the value; absent in a wide file.")] = "y",
    freq: Freq = None,
    season: Season = None,
    series: Annotated[str | None, typer.Option(help="Only this series.")] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Write a picture (.png) of --series, or of the first one.", dir_okay=False)
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Write trend, seasons and remainder: .csv, .parquet or .json.", dir_okay=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Trend, seasons and lasting breaks of every series of a file, with dates, sizes and their intervals."""
    check_writable(out)
    _check_plot(plot)
    settings = load_settings()
    from features.panel import read_panel
    from features.reading import read_table
    from models.forecasting.decomposition import decompose as taken_apart
    from models.forecasting.decomposition_plot import decomposition_plot
    from models.forecasting.explained import explain
    from models.forecasting.options import ForecastOptions
    from models.forecasting.panel_runs import series_of

    frame = read_table(data)
    if id_column is None and "unique_id" in frame.columns:
        id_column = "unique_id"
    panel = read_panel(frame, id_column=id_column, time_column=time, target_column=target, freq=freq)
    seasons = whole_numbers(season, "--season")
    options = ForecastOptions(seasons=tuple(seasons) if seasons is not None else None)
    chosen = _chosen(series_of(panel, options), series)
    with steps() as progress:
        found = explain(chosen, settings.threads, lambda done, total: progress("decompose", done, total))
    for note in panel.notes:
        errors.print(note, style="yellow", highlight=False, markup=False)
    if out:
        write_frame(found.components, out)
    if plot:
        plot.write_bytes(decomposition_plot(taken_apart(chosen[0])))
    findings = list(found.findings.values())
    if as_json:
        dump(findings)
        return
    rows = [_row(one) for one in findings]
    show(rows, ["unique_id", "growth", "trend", "seasons", "breaks", "last break"], as_json=False)
    if len(findings) <= _FEW:
        for one in findings:
            screen.print()
            screen.print(str(one["unique_id"]), style="bold", highlight=False, markup=False)
            for line in one["summary"]:
                screen.print(f"  {line}", highlight=False, markup=False)
    for path, what in ((plot, chosen[0].name), (out, f"{len(findings)} series")):
        if path:
            screen.print(f"{what} → {path}", style="dim", highlight=False, markup=False)


def _chosen(every: list[Series], name: str | None) -> list[Series]:
    if name is None:
        return every
    chosen = [one for one in every if one.name == name]
    if not chosen:
        some = ", ".join(one.name for one in every[:5]) + (", …" if len(every) > 5 else "")
        raise UnknownEntity(f"There is no series {name!r}.", remedy=f"Name one of {some}.", field="series", value=name)
    return chosen


def _check_plot(path: Path | None) -> None:
    if path is not None and (path.suffix.lower() != ".png" or not path.absolute().parent.is_dir()):
        raise InvalidValue(
            f"--plot {path} cannot be written.",
            remedy="Name a file that ends in .png, in a folder that exists.",
            field="plot",
            value=str(path),
        )


def _row(found: Any) -> dict[str, Any]:
    points = found["change_points"]
    growth = ""
    if found["growth"]:
        form = "{:+.1%}" if found["measure"] == "share" else "{:+.4g}"
        value, low, high = (form.format(found["growth"][name]) for name in ("value", "low", "high"))
        growth = f"{value} [{low}, {high}] a {found['growth_per']}"
    return {
        "unique_id": found["unique_id"],
        "growth": growth,
        "trend": found["trend_strength"],
        "seasons": ", ".join(f"{season}: {one['strength']:.2f}" for season, one in found["seasons"].items()),
        "breaks": len(points),
        "last break": f"{points[-1]['at']} ({points[-1]['kind']})" if points else "",
    }
