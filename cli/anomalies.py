"""`merit anomalies`: what is unusual in a file of series, or in the platform's own."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli import spend_anomalies
from cli.files import check_plot, check_writable, write_frame
from cli.output import AsJson, dump, errors, screen, show, steps
from cli.parsing import names
from cli.series_options import Freq, Id
from store.errors import InvalidValue
from store.settings import Settings, load_settings

if TYPE_CHECKING:
    from models.anomaly.watch import Watched, WatchOptions

_COLUMNS = ["#", "when", "series", "kind", "severity", "value", "expected", "cause"]


def anomalies(
    data: Annotated[
        str | None,
        typer.Option("--data", help="CSV or Parquet file, or database URL. Without it: the platform's own series."),
    ] = None,
    id_column: Id = None,
    time: Annotated[str, typer.Option(help="Column with the time.")] = "ds",
    value: Annotated[str, typer.Option(help="Column with the value; absent in a wide file.")] = "y",
    by: Annotated[
        str | None,
        typer.Option(help="Columns that divide the value, e.g. region: sums are watched, and traced to parts."),
    ] = None,
    freq: Freq = None,
    season: Annotated[
        int | None, typer.Option(help="Season length in steps, 1 for none. (default: usual for the frequency)", min=1)
    ] = None,
    detectors: Annotated[
        str | None,
        typer.Option(help="Only these of zscore, iqr, seasonal, shift, forest, autoencoder. (default: the first five)"),
    ] = None,
    false_alarms: Annotated[float, typer.Option(help="Share of usual values that may alarm.")] = 0.001,
    rules: Annotated[
        str | None,
        typer.Option(help='Limits, e.g. "below 0, above 500, change 50%, missing 3, flat 7".'),
    ] = None,
    holidays: Annotated[str | None, typer.Option(help="Countries whose holidays matter: DE,AT,US, …")] = None,
    last: Annotated[int | None, typer.Option(help="Only anomalies of the last so many steps.", min=1)] = None,
    as_of: Annotated[
        datetime | None,
        typer.Option("--as-of", help="Platform series: only what was known then.", formats=["%Y-%m-%d"]),
    ] = None,
    ledger: Annotated[
        bool,
        typer.Option(
            "--ledger", help="What is unusual in the ledger of model calls, as `merit spend anomalies` tells."
        ),
    ] = False,
    plot: Annotated[Path | None, typer.Option("--plot", help="Write the worst series as .png.", dir_okay=False)] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Write every checked value as .csv, .parquet or .json.", dir_okay=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Find anomalies: when, what kind, how severe, what was expected, and which parts caused them.

    Every value is judged by the values before it, as if it had just come. A score of 0.5 is the threshold of
    an alarm. Of spending on language models, --ledger tells more: prices, runaway users, failing and slow models.
    """
    check_writable(out)
    check_plot(plot)
    if ledger:
        if data is not None or out is not None:
            raise InvalidValue(
                "--ledger looks at the platform's own calls.", remedy="Leave out --data and --out.", field="ledger"
            )
        spend_anomalies.anomalies(days=last or 7, as_of=as_of, plot=plot, as_json=as_json)
        return
    settings = load_settings()
    from models.anomaly.rules import parse_rules
    from models.anomaly.scorers import USUAL
    from models.anomaly.watch import WatchOptions

    options = WatchOptions(
        season=season,
        detectors=names(detectors) or USUAL,
        false_alarms=false_alarms,
        rules=tuple(str(rule) for rule in parse_rules(rules or "")),
        holidays=names(holidays),
        seed=settings.seed,
        threads=settings.threads,
    )
    if data is None:
        if by or freq or id_column or (time, value) != ("ds", "y"):
            raise InvalidValue(
                "--id, --time, --value, --by and --freq describe a file.", remedy="Give one (--data).", field="data"
            )
        found = _platform(settings, options, as_of)
    else:
        if as_of is not None:
            raise InvalidValue(
                "--as-of goes with the platform's own series.", remedy="Leave it out for a file.", field="as_of"
            )
        found = _file(data, options, id_column, time, value, names(by), freq)
    _show(found, last, plot, out, as_json)


def _file(
    data: str,
    options: WatchOptions,
    id_column: str | None,
    time: str,
    value: str,
    by: tuple[str, ...],
    freq: str | None,
) -> Watched:
    from features.reading import read_table
    from models.anomaly.from_file import watch_frame

    frame = read_table(data)
    if id_column is None and "unique_id" in frame.columns and "unique_id" not in by:
        id_column = "unique_id"
    with steps() as progress:
        found, _ = watch_frame(
            frame,
            options,
            id_column=id_column,
            time_column=time,
            value_column=value,
            by=by,
            freq=freq,
            progress=lambda done, total: progress("check", done, total),
        )
    return found


def _platform(settings: Settings, options: WatchOptions, as_of: datetime | None) -> Watched:
    from cli.session import prepared
    from models.anomaly.platform import watch_platform

    prepared()
    with steps() as progress:
        progress("read", 0, 1)
        found, _ = watch_platform(settings, options, as_of, progress=lambda done, total: progress("check", done, total))
    return found


def _show(found: Watched, last: int | None, plot: Path | None, out: Path | None, as_json: bool) -> None:
    from models.anomaly.report import check_table, event_rows

    for note in found.notes:
        errors.print(note, style="yellow", highlight=False, markup=False)
    if plot:
        from models.anomaly.plots import plot as drawn

        plot.write_bytes(drawn(found))
    if out:
        write_frame(check_table(found), out)
    rows = event_rows(found)
    if last is not None:
        since = found.since(last)
        rows = [row for row, event in zip(rows, found.events, strict=True) if event.end >= since]
    values = sum(len(checks) for checks in found.checks.values())
    if as_json:
        dump({"series": len(found.checks), "values": values, "anomalies": rows})
        return
    show([_short(row) for row in rows], [c for c in _COLUMNS if c != "cause" or any(r["causes"] for r in rows)],
         as_json=False)  # fmt: skip
    incidents = len({row["incident"] for row in rows})
    where = "".join(f" → {path}" for path in (out, plot) if path)
    screen.print(
        f"{len(rows)} anomalies in {incidents} incidents; {values:,} values of {len(found.checks)} series{where}",
        highlight=False,
    )


def _short(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row for the screen: the whole of it is in --json."""
    same = row["start"] == row["end"]
    top = row["causes"][0] if row["causes"] else None
    return {
        **row,
        "#": row["incident"],
        "when": row["start"] if same else f"{row['start']} – {row['end']}",
        "cause": f"{top['series'].partition('/')[2]} {top['share']:.0%}" if top else "",
    }
