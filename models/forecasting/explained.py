"""What every series of a panel is made of, kept with the model that forecasts it.

On disk: `findings.json` (one report per series, see `models.forecasting.decomposition.report`) and `components.parquet`
(one row per series and step: the value, its trend, what each season adds, the remainder, the level with its breaks).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from features.frequency import Grid
from models.forecasting.decomposition import Decomposition, decompose, report
from models.forecasting.parallel import Progress, map_series
from models.forecasting.series import Ints, Series

MOST = 1_000  # series of a panel that are taken apart when a model is made
_FINDINGS, _COMPONENTS = "findings.json", "components.parquet"


@dataclass(frozen=True)
class Explained:
    """Findings and components of a panel.

    Attributes
    ----------
    findings : series → report.
    components : unique_id, ds, y, trend, seasonal.7, …, remainder, level; series in order, each by time.
    """

    findings: Mapping[str, Mapping[str, Any]]
    components: pd.DataFrame

    def of(self, name: str) -> pd.DataFrame:
        """The components of one series, without seasons that it has not."""
        rows = self.components[self.components["unique_id"] == name]
        return rows.drop(columns="unique_id").dropna(axis=1, how="all").reset_index(drop=True)

    def rows(self, name: str) -> list[dict[str, Any]]:
        """The components of one series, JSON-ready, time stamps as they are shown."""
        frame = self.of(name)
        if pd.api.types.is_datetime64_any_dtype(frame["ds"]):
            days = bool((frame["ds"] == frame["ds"].dt.normalize()).all())
            frame = frame.assign(ds=frame["ds"].dt.strftime("%Y-%m-%d" if days else "%Y-%m-%dT%H:%M:%S"))
        return [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]

    def save(self, folder: Path) -> None:
        """Write both files; the same findings give the same bytes."""
        text = json.dumps(self.findings, indent=1, sort_keys=True, allow_nan=False)
        (folder / _FINDINGS).write_text(text, encoding="utf-8")
        self.components.to_parquet(folder / _COMPONENTS, index=False, compression="zstd")

    @classmethod
    def load(cls, folder: Path) -> Explained | None:
        """Read back what `save` wrote; None where nothing was."""
        if not (folder / _FINDINGS).exists():
            return None
        findings = json.loads((folder / _FINDINGS).read_text(encoding="utf-8"))
        return cls(findings, pd.read_parquet(folder / _COMPONENTS))


def explain(series: Sequence[Series], threads: int = 1, progress: Progress | None = None) -> Explained:
    """Take every series apart."""
    parts = map_series(_one, series, threads, progress)
    frames = [frame for _, frame in parts]
    every = pd.concat(frames, ignore_index=True)
    names = [str(name) for name in every.columns if str(name).startswith("seasonal.")]
    seasons = sorted(names, key=lambda name: int(name.split(".")[1]))
    every = every[["unique_id", "ds", "y", "trend", *seasons, "remainder", "level"]]
    return Explained({str(found["unique_id"]): found for found, _ in parts}, every)


def _one(series: Series) -> tuple[dict[str, Any], pd.DataFrame]:
    found = decompose(series)
    return report(found, partial(as_text, stamps=found.stamps, grid=series.grid)), components(found)


def components(found: Decomposition) -> pd.DataFrame:
    """The parts of one series as a frame, see `Explained.components`."""
    stamps = found.stamps
    integer = found.series.grid.kind == "integer"
    data: dict[str, Any] = {
        "unique_id": np.full(len(stamps), found.series.name, dtype=object),
        "ds": stamps if integer else stamps.astype("datetime64[ns]"),
        "y": found.series.y[found.first :],
        "trend": found.trend,
    }
    data |= {f"seasonal.{season}": part for season, part in found.seasonal.items()}
    return pd.DataFrame({**data, "remainder": found.remainder, "level": found.breaks.line})


def as_text(index: int, *, stamps: Ints, grid: Grid) -> str:
    """A time stamp as it is shown: the step number, the day, or the moment where steps are finer than days."""
    stamp = int(stamps[min(max(index, 0), len(stamps) - 1)])
    if grid.kind == "integer":
        return str(stamp)
    moment = str(np.datetime64(stamp, "ns").astype("datetime64[s]"))
    return moment.removesuffix("T00:00:00") if grid.per_year <= 370 else moment
