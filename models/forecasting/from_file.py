"""A user's own series into the lifecycle."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from features.panel import read_panel
from features.panel_exog import with_future
from features.reading import read_table
from features.snapshot import write_dataset
from models.forecasting.options import ForecastOptions
from models.forecasting.panel_runs import rows_of, series_of
from models.forecasting.totals import check_known, read_hierarchy, with_totals
from store.dataset import DatasetRef
from store.errors import InvalidValue


def prepare(
    source: str | Path,
    folder: Path,
    *,
    id_column: str | None = None,
    time_column: str = "ds",
    target_column: str | None = "y",
    freq: str | int | None = None,
    exog: Sequence[str] = (),
    future: str | Path | None = None,
    horizon: int = 1,
    hierarchy: str | None = None,
) -> tuple[DatasetRef, tuple[str, ...]]:
    """Read a panel, long or wide, repair it, and write it as a data set below `folder`.

    Parameters
    ----------
    id_column : None for `unique_id` where there is such a column, else for a single series.
    exog : columns that are known in advance, kept with `horizon` rows after the end of each series.
    hierarchy : see `models.forecasting.forecast_file.forecast_frame`; give the family
        `totals.separator_of` it.
    future : a second file with those columns over the horizon; None where the first holds them.

    Returns
    -------
    The data set (unique_id, ds, y on a regular grid, exogenous columns) and what the user should know about it, one
    sentence each.

    Raises
    ------
    DataError : see `features.panel.read_panel` and `features.panel_exog`.
    """
    frame = read_table(str(source))
    if id_column is None and "unique_id" in frame.columns:
        id_column = "unique_id"
    if future is not None:
        if not exog:
            raise InvalidValue(
                "Future values go with exogenous columns, and none was named.",
                remedy="Name them (--exog), or leave --future out.",
                field="future",
            )
        frame = with_future(frame, read_table(str(future)), exog, id_column, time_column, target_column)
    separator = ""
    if hierarchy is not None:
        frame, id_column, separator = read_hierarchy(frame, hierarchy, id_column)
    panel = read_panel(
        frame, id_column=id_column, time_column=time_column, target_column=target_column, freq=freq, exog=exog
    )
    if separator:
        panel = with_totals(panel, separator)
        check_known(panel, exog)
    clean = panel.frame[["unique_id", "ds", "y"]].copy()
    notes = list(panel.notes)
    if exog:
        options = ForecastOptions(horizon=horizon, exog=tuple(exog))
        series = series_of(panel, options)
        clean = rows_of(series, options)
        notes += [f"{one.name}: {note}" for one in series if one.covariates for note in one.covariates.notes]
    clean["unique_id"] = clean["unique_id"].astype(str)
    roles = {"entity": "unique_id", "time": "ds", "target": "y"} | {f"exog {name}": name for name in exog}
    return write_dataset(clean, folder, roles=roles, source=Path(str(source)).name), tuple(notes)
