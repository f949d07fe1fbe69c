"""A file of series, as somebody brings it, and the anomalies in it: what `merit anomalies --data` does.

What `features.panel` repairs in a panel is repaired here too (several rows for one time: their mean; stamps a little
off the grid: moved onto it), with one difference: a missing value stays missing, since its absence may be the anomaly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from features.frequency import Grid, stamps_of
from features.panel import Panel, read_panel
from features.panel_layout import numbers_of, to_long
from features.time_stamps import read_stamps
from models.anomaly.causes import TOTAL
from models.anomaly.watch import Floats, Ints, Watched, WatchOptions, watch
from models.forecasting.parallel import Progress
from store.errors import InvalidValue, MissingColumn


def watch_frame(
    frame: pd.DataFrame,
    options: WatchOptions,
    *,
    id_column: str | None = None,
    time_column: str = "ds",
    value_column: str | None = "y",
    by: Sequence[str] = (),
    freq: str | int | None = None,
    progress: Progress | None = None,
) -> tuple[Watched, Panel]:
    """Scan every series of a frame, long or wide.

    Parameters
    ----------
    by : columns that divide the value, such as a region: their sums over everything (`metric/total`) and for each of
        their values (`metric/region=south`) are watched, and an anomaly of the sum is traced to its parts.
    progress : called with (series done, series in all).

    Returns
    -------
    What was found, and the panel it was found in (how time stamps were written, what was repaired).

    Raises
    ------
    DataError : see `features.panel.read_panel`; a column of `by` is missing.
    """
    notes: list[str] = []
    if by:
        frame, notes = divided(frame, by, id_column, time_column, value_column)
        id_column, value_column = "unique_id", "y"
        time_column = "ds"
    try:
        panel = read_panel(frame, id_column=id_column, time_column=time_column, target_column=value_column, freq=freq)
    except MissingColumn as error:
        # The same file is forecast with other options than it is watched with.
        raise MissingColumn(
            error.message.replace("target column", "value column"),
            remedy=error.remedy.replace("to forecast (--target)", "with the value (--value)").replace(
                "--target", "--value"
            ),
            field=error.field,
        ) from None
    long, _ = to_long(frame, id_column, time_column, value_column)
    stamps, _, _ = read_stamps(long["ds"], time_column, freq_kind="integer" if panel.grid.kind == "integer" else None)
    known = np.isfinite(long["y"].to_numpy(np.float64))
    there = pd.MultiIndex.from_arrays(
        [long["unique_id"].astype(str).to_numpy()[known], _places(panel.grid, stamps_of(stamps)[known])]
    )
    series: list[tuple[str, Ints, Floats]] = []
    for name, values, times in panel.series():
        # Each series may have its own phase on the grid: places are compared by rounding to the common one.
        own = pd.MultiIndex.from_arrays([np.repeat(name, len(times)), _places(panel.grid, times)])
        series.append((name, panel.grid.at(_places(panel.grid, times)), np.where(own.isin(there), values, np.nan)))
    found = watch(series, panel.grid, options, progress)
    missing = sum(int(np.isnan(values).sum()) for _, _, values in series)
    if missing:
        notes.append(f"{missing} steps have no value (or no finite one): the rule `missing 1` tells of them.")
    doubles = int(panel.report["duplicates"].sum())
    if doubles:
        notes.append(f"{doubles} rows repeat a time of their series: their mean is watched.")
    empty = [str(name) for name in panel.report.loc[panel.report["length"] == 0, "unique_id"]]
    if empty:
        notes.append(f"Left out, without a single value: {', '.join(empty[:5])}{' …' if len(empty) > 5 else ''}.")
    return replace(found, notes=(*panel.notes, *notes, *found.notes)), panel


def _places(grid: Grid, stamps: Ints) -> Ints:
    return grid.position(stamps)[0]


def divided(
    frame: pd.DataFrame, by: Sequence[str], id_column: str | None, time_column: str, value_column: str | None
) -> tuple[pd.DataFrame, list[str]]:
    """Sums over all rows of a time, and for each value of the columns that divide it, as a long frame.

    Raises
    ------
    MissingColumn : a column is not there. InvalidValue : a value is no number, a column has two roles, too many parts.
    """
    frame = frame.set_axis([str(name) for name in frame.columns], axis=1)
    names = [*by, time_column, *([id_column] if id_column else [])]
    for name in (*names, str(value_column)):
        if name not in frame.columns:
            raise MissingColumn(
                f"There is no column {name!r}; the columns are {', '.join(map(repr, frame.columns[:20]))}.",
                remedy="Correct --time, --value, --id or --by.",
                field=name,
            )
    several = next((name for name in names if [*names, value_column].count(name) > 1), None)
    if several is not None:
        raise InvalidValue(
            f"Column {several!r} has two roles.", remedy="Give --time, --value, --id and --by different columns.",
            field=several,
        )  # fmt: skip
    values = numbers_of(frame[str(value_column)], str(value_column))
    table = frame[names].assign(_value=values)
    metric = table[id_column].astype(str) if id_column else pd.Series(str(value_column), index=table.index)
    notes = []
    parts = [_sums(table, metric + f"/{TOTAL}", time_column)]
    for name in by:
        part = table[name]
        count = int(part.nunique())
        if count > 500:
            raise InvalidValue(
                f"Column {name!r} has {count:,} different values; at most 500 parts are watched.",
                remedy="Divide by something coarser.", field="by", value=name,
            )  # fmt: skip
        missing = int(part.isna().sum())
        if missing:
            notes.append(f"{name} is missing in {missing} rows: they count as {name}=unknown.")
        told = part.astype(object).where(part.notna(), "unknown").astype(str)
        parts.append(_sums(table, metric + f"/{name}=" + told, time_column))
    return pd.concat(parts, ignore_index=True), notes


def _sums(table: pd.DataFrame, names: pd.Series, time_column: str) -> pd.DataFrame:
    keyed = pd.DataFrame({"unique_id": names, "ds": table[time_column], "y": table["_value"]})
    return keyed.groupby(["unique_id", "ds"], sort=False, dropna=False)["y"].sum(min_count=1).reset_index()
