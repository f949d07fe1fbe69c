"""Options that say what a file of series is: the same for `merit forecast` and `merit train forecasting`."""

from __future__ import annotations

from typing import Annotated

import typer

Id = Annotated[
    str | None, typer.Option("--id", help="Column with the series' id. (default: unique_id, or a single series)")
]
Freq = Annotated[str | None, typer.Option(help="Frequency: h, 30min, D, W, MS, 1, … (default: inferred)")]
Season = Annotated[str | None, typer.Option(help="Season lengths in steps, e.g. 24,168. (default: found)")]
Level = Annotated[str, typer.Option(help="Levels of the intervals in percent.")]
Exog = Annotated[
    str | None, typer.Option(help="Columns known in advance, e.g. temperature,price; also over the horizon.")
]
Future = Annotated[
    str | None,
    typer.Option(help="File with those columns over the horizon. (default: rows of --data without a value)"),
]
Holidays = Annotated[str | None, typer.Option(help="Country whose holidays matter: DE, US, DE-BY, …")]
Hierarchy = Annotated[
    str | None,
    typer.Option(
        help="Columns that nest (region,store), or the character between the parts of an id (/): totals then are the "
        "sums of their parts."
    ),
]
Models = Annotated[
    str | None, typer.Option(help="Only these, e.g. AutoETS,AutoARIMA. (default: those that suit the series)")
]
Also = Annotated[
    str | None, typer.Option(help="Models besides the usual ones: GlobalBoosting learns from all series at once.")
]
