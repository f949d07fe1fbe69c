"""A panel of regular time series, from a frame as people bring it: long or wide, with holes, doubles and gaps.

What is repaired, and how (each repair is counted per series in the report):

- several rows for one series and time: their mean;
- a missing or infinite value, or a missing time step, inside a series: interpolated (`fill="interpolate"`: linearly,
  plus the mean seasonal pattern where the gap is longer than three steps) or set to zero (`fill="zero"`);
- missing values before the first or after the last known one: cut off, so a series ends with its last known value;
- time stamps up to a tenth of a step off the grid: moved onto it.

What is refused: a time or a value that cannot be read, an id that is missing, time stamps that lie on no regular grid,
series of different frequency. A series without a single value is left out, and the report says so. Columns beside the
target have rules of their own, see `features.panel_exog`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from features.frequency import Grid, Kind, default_seasons, grid_of, infer_grid, parse_frequency, stamps_of
from features.gaps import Fill, regularise
from features.panel_exog import split_exog
from features.panel_layout import to_long
from features.time_stamps import Writing, read_stamps
from store.errors import EmptyData, InvalidValue, WrongType

Floats = np.ndarray[Any, np.dtype[np.float64]]
Ints = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Panel:
    """Clean series on one grid.

    Attributes
    ----------
    frame : `unique_id` (str), `ds` (datetime64[ns] without zone, or int64), `y` (float64): one row per series and step,
        no gap, no missing value, series in the order of the input, each sorted by time.
    grid : what `ds` lies on.
    report : one row per series of the input: unique_id, rows, start, end, length, duplicates, gaps, missing, cut,
        moved, zeros, negative, constant, note. `length` is 0 for a series that was left out.
    writing : how the input wrote time stamps.
    ids : the ids as the input had them, in the order of `frame`.
    notes : what had to be assumed, as sentences.
    exog : rows of the input with `unique_id` (str), `ds` (integers, see `stamps_of`) and the exogenous columns, missing
        values and steps ahead included; None when none was asked for.
    """

    frame: pd.DataFrame
    grid: Grid
    report: pd.DataFrame
    writing: Writing
    ids: tuple[Any, ...]
    notes: tuple[str, ...] = ()
    exog: pd.DataFrame | None = None

    def series(self) -> list[tuple[str, Floats, Ints]]:
        """id, values and time stamps (nanoseconds or integers) of each series, in order."""
        stamps, values = stamps_of(self.frame["ds"]), self.frame["y"].to_numpy(np.float64)
        names, starts = np.unique(self.frame["unique_id"].to_numpy(object), return_index=True)
        order = np.argsort(starts)
        bounds = [*starts[order], len(values)]
        return [
            (str(names[which]), values[bounds[k] : bounds[k + 1]], stamps[bounds[k] : bounds[k + 1]])
            for k, which in enumerate(order)
        ]


def read_panel(
    frame: pd.DataFrame,
    *,
    id_column: str | None = "unique_id",
    time_column: str = "ds",
    target_column: str | None = "y",
    freq: str | int | None = None,
    fill: Fill = "interpolate",
    exog: Sequence[str] = (),
) -> Panel:
    """Check and repair a panel.

    Parameters
    ----------
    frame : long (one row per series and time) or wide (one column per series beside `time_column`). It is taken for
        wide when `target_column` is None or not among its columns, and `id_column` is not there either.
    id_column : None for a single series.
    freq : e.g. "h", "30min", "D", "W", "MS", or 1 for plain step numbers; None to infer it.
    exog : numeric or boolean columns to keep; rows without a target after a series' last value are then its future.

    Raises
    ------
    MissingColumn, WrongType, InvalidValue, EmptyData : see the module's text.
    """
    if frame.empty:
        raise EmptyData("The data have no row.", remedy="Give at least one series with one value.")
    if fill not in ("interpolate", "zero"):
        raise InvalidValue(
            f"fill={fill!r} is not known.", remedy='Use "interpolate" or "zero".', field="fill", value=fill
        )
    table = None
    if exog:
        frame, table = split_exog(frame, exog, id_column, time_column, target_column)
    long, notes = to_long(frame, id_column, time_column, target_column)
    asked = parse_frequency(freq) if freq is not None else None
    stamps, writing, assumed = read_stamps(long["ds"], time_column, freq_kind=asked[0] if asked else None)
    long = long.assign(ds=stamps)
    notes += assumed
    if asked and (asked[0] == "integer") != (writing.kind == "integer"):
        raise WrongType(
            f"Column {time_column!r} holds {'plain numbers' if writing.kind == 'integer' else 'dates'}, "
            f"which does not go with frequency {freq!r}.",
            remedy='Use freq 1 for plain step numbers, and "h", "D", "W", "MS", … for dates.',
            field="freq",
            value=freq,
        )
    codes, levels = pd.factorize(long["unique_id"])
    order = np.lexsort((stamps_of(long["ds"]), codes))
    codes, times, values = codes[order], stamps_of(long["ds"])[order], long["y"].to_numpy(np.float64)[order]
    bounds = np.searchsorted(codes, np.arange(len(levels) + 1))
    pieces = [(times[a:b], values[a:b]) for a, b in pairwise(bounds)]
    grid = _common_grid(pieces, [str(level) for level in levels], asked, time_column)
    panel = _assemble(pieces, list(levels), grid, writing, fill, tuple(notes))
    if table is not None:
        panel = _keep_exog(panel, table.assign(ds=stamps_of(long["ds"])), long["y"].notna().to_numpy())
    gaps, length = int(panel.report["gaps"].sum()), int(panel.report["length"].sum())
    if asked is None and gaps * 2 > length and length > 4:
        raise InvalidValue(
            f"The time stamps are irregular: on the finest grid that fits ({grid.alias}) {gaps} of {length} steps "
            "would be missing.",
            remedy="Aggregate the data to a regular frequency first, or give one (--freq) to have the gaps filled.",
            field=time_column,
        )
    if gaps * 2 > length:
        how = "set to zero" if fill == "zero" else "interpolated"
        said = f"{gaps} of {length} steps had no row and were {how}: are steps of {grid.alias} finer than the data?"
        panel = replace(panel, notes=(*panel.notes, said))
    return panel


def _keep_exog(panel: Panel, table: pd.DataFrame, known: np.ndarray[Any, np.dtype[np.bool_]]) -> Panel:
    """The panel with its exogenous rows; steps ahead count neither as cut off nor as duplicates."""
    frame = panel.frame.assign(ds=stamps_of(panel.frame["ds"]))
    last = table["unique_id"].map(frame.groupby("unique_id")["ds"].max())
    ahead = table[table["ds"] > last].groupby("unique_id")["ds"].nunique()
    doubles = table[known].groupby("unique_id")["ds"].agg(lambda stamps: len(stamps) - stamps.nunique())
    report = panel.report.copy()
    report["cut"] -= report["unique_id"].map(ahead).fillna(0).astype(int)
    report["duplicates"] = report["unique_id"].map(doubles).fillna(0).astype(int)
    return replace(panel, report=report, exog=table)


def _common_grid(
    pieces: Sequence[tuple[Ints, Floats]], names: Sequence[str], asked: tuple[Kind, int] | None, time_column: str
) -> Grid:
    """The one grid of all series: as asked for, or the one most series lie on."""
    integer = asked is not None and asked[0] == "integer"
    plain = integer or all(np.abs(times).max() < 10**12 for times, _ in pieces)
    stamps = [np.unique(times) for times, _ in pieces]
    longest = max(range(len(stamps)), key=lambda k: len(stamps[k]))
    if asked is not None:
        # One anchor for all: the phase of the longest series, unless it is a fixed step that each has its own phase of.
        return grid_of(stamps[longest], *asked)
    found: dict[tuple[Kind, int], list[int]] = {}
    seen: dict[bytes, Grid | None] = {}
    for k, times in enumerate(stamps):
        key = times.tobytes()
        if key not in seen:
            seen[key] = infer_grid(times, integer=plain)
        grid = seen[key]
        if grid is not None:
            found.setdefault((grid.kind, grid.step), []).append(k)
    if not found:
        if len(stamps[longest]) == 2 and stamps[longest][1] > stamps[longest][0]:
            step = int(stamps[longest][1] - stamps[longest][0])
            day = 86_400 * 10**9
            months = next((m for m, a, b in ((1, 28, 31), (3, 89, 92), (12, 365, 366)) if a <= step / day <= b), 0)
            if not plain and months:
                return grid_of(stamps[longest], "month", months)
            return grid_of(stamps[longest], "integer" if plain else "fixed", step)
        if plain:
            return grid_of(stamps[longest], "integer", 1)
        raise InvalidValue(
            f"The frequency cannot be told from {len(stamps[longest])} time stamp(s).",
            remedy="Give it (--freq), e.g. h, D, W or MS.",
            field=time_column,
        )
    # Most points decide; a coarser step that another series keeps without exception is another frequency, not gaps.
    best = max(found, key=lambda key: sum(len(stamps[k]) for k in found[key]))
    for other, members in found.items():
        if other == best:
            continue
        k = members[0]
        steady = len(np.unique(np.diff(stamps[k]))) == 1 or other[0] == "month"
        if _finer(other, best) or (steady and len(stamps[k]) >= 8):
            first = names[found[best][0]]
            raise InvalidValue(
                f"Series {first!r} has frequency {grid_of(stamps[found[best][0]], *best).alias} "
                f"and series {names[k]!r} has {grid_of(stamps[k], *other).alias}.",
                remedy="Forecast one frequency at a time, or give the one that holds for all (--freq).",
                field=time_column,
            )
    return grid_of(stamps[max(found[best], key=lambda k: len(stamps[k]))], *best)


def _finer(key: tuple[Kind, int], than: tuple[Kind, int]) -> bool:
    size = {"fixed": 1.0, "business": 86_400e9, "month": 30.4 * 86_400e9, "integer": 1.0}
    return size[key[0]] * key[1] < size[than[0]] * than[1] * 0.99


def _assemble(
    pieces: Sequence[tuple[Ints, Floats]],
    levels: list[Any],
    grid: Grid,
    writing: Writing,
    fill: Fill,
    notes: tuple[str, ...],
) -> Panel:
    seasons = default_seasons(grid)
    rows: list[dict[str, Any]] = []
    kept: list[Any] = []
    parts: list[tuple[str, Ints, Floats]] = []
    for level, (times, values) in zip(levels, pieces, strict=True):
        name = str(level)
        own = grid if grid.kind == "month" else grid_of(np.unique(times), grid.kind, grid.step)
        places, distance = own.position(times)
        tolerance = own.step // 10 if own.kind == "fixed" else 0 if own.kind == "integer" else 5 * 86_400 * 10**9
        if distance.max() > tolerance:
            _refuse_off_grid(name, times, distance, own, writing)
        clean, start, counts = regularise(places, values, seasons, fill)
        note = ""
        if len(clean) == 0:
            note = "left out: no value"
        elif len(clean) < 3:
            note = "very short: the last value is carried forward"
        stamps = own.at(np.arange(start, start + len(clean)))
        constant = bool(len(clean) > 0 and np.all(clean == clean[0]))
        rows.append(
            {
                "unique_id": name,
                "rows": len(times),
                "start": _readable(stamps[0], writing) if len(clean) else "",
                "end": _readable(stamps[-1], writing) if len(clean) else "",
                "length": len(clean),
                **counts,
                "moved": int(np.count_nonzero(distance)),
                "zeros": int(np.count_nonzero(clean == 0)),
                "negative": int(np.count_nonzero(clean < 0)),
                "constant": constant,
                "note": note,
            }
        )
        if len(clean):
            kept.append(level)
            parts.append((name, stamps, clean))
    if not parts:
        raise EmptyData("No series has a single value.", remedy="Check the target column.", field="y")
    stamps = np.concatenate([part[1] for part in parts])
    frame = pd.DataFrame(
        {
            "unique_id": np.repeat(np.array([part[0] for part in parts], dtype=object), [len(p[1]) for p in parts]),
            "ds": stamps if writing.kind == "integer" else stamps.astype("datetime64[ns]"),
            "y": np.concatenate([part[2] for part in parts]),
        }
    )
    return Panel(frame, grid, pd.DataFrame(rows), writing, tuple(kept), notes)


def _readable(stamp: int | np.int64, writing: Writing) -> str:
    if writing.kind == "integer":
        return str(int(stamp))
    return str(pd.Timestamp(int(stamp))).removesuffix(" 00:00:00")


def _refuse_off_grid(name: str, times: Ints, distance: Ints, grid: Grid, writing: Writing) -> None:
    stamp = times[int(np.argmax(distance))]
    raise InvalidValue(
        f"Series {name!r}: time {_readable(stamp, writing)} is not on the grid of frequency {grid.alias} "
        f"({int(np.count_nonzero(distance))} of {len(times)} time stamps are off it).",
        remedy="Give the right frequency (--freq), or aggregate the data to a regular one first.",
        field="ds",
        value=_readable(stamp, writing),
    )
