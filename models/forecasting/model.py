"""The fitted forecaster: every path is computed when it is fitted, so answering takes a look-up.

On disk: `contract.json` (what it is, and the recipe), `forecasts.parquet` (one row per series and step),
`quantiles.parquet` (one row per series: quantiles of its scaled errors); for candidates that a combination or a later
origin builds on, `runs.parquet` (what each member forecast from each rolling origin); for a registered version, what
its series are made of (`models.forecasting.explained`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from models.forecasting.conformal import interval
from models.forecasting.crossing import Crossing, Direction, crossing, paths
from models.forecasting.dependence import Dependence
from models.forecasting.explained import Explained
from models.forecasting.options import check_level, level_name
from store.errors import IntegrityFailed, InvalidValue, UnknownEntity

Floats = np.ndarray[Any, np.dtype[np.float64]]
FORMAT = 1
# Shares at which the quantiles of the scaled errors are kept; between them they are interpolated.
SHARES: Floats = np.concatenate((np.arange(1, 200) / 200.0, [0.998, 0.999, 0.9995, 0.9999]))
Runs = Mapping[str, Mapping[str, Mapping[int, Floats]]]  # member → series → origin → path


@dataclass(frozen=True)
class ForecastModel:
    """Forecasts of a panel from one origin.

    Attributes
    ----------
    candidate : name of the recipe.
    selection : mean MASE at the rolling origins, within the training rows.
    contract : JSON-ready: horizon, frequency, levels, and per series its model, weights, seasons, length, notes.
    ids : series, in order.
    stamps : time stamps of the steps ahead, datetime64[ns] or int64, shape (series, horizon).
    paths, scales : forecast and error scale, shape (series, horizon).
    quantiles : of the scaled errors at `SHARES`, shape (series, len(SHARES)).
    runs : what the members forecast at the rolling origins; empty in a registered version.
    explained : what the series are made of; None in a candidate, and for panels of more than a thousand series.
    """

    candidate: str
    selection: float
    contract: Mapping[str, Any]
    ids: tuple[str, ...]
    stamps: np.ndarray[Any, Any]
    paths: Floats
    scales: Floats
    quantiles: Floats
    runs: Runs = field(default_factory=dict)
    explained: Explained | None = None

    @property
    def horizon(self) -> int:
        """The most steps it can forecast."""
        return int(self.paths.shape[1])

    @property
    def levels(self) -> tuple[float, ...]:
        return tuple(self.contract["levels"])

    @property
    def _places(self) -> dict[str, int]:
        # A frozen dataclass has no cached property; the dictionary is rebuilt only when the model is loaded.
        found = self.__dict__.get("_index")
        if found is None:
            found = {name: place for place, name in enumerate(self.ids)}
            object.__setattr__(self, "_index", found)
        return found

    def forecast(
        self, ids: Sequence[str] | None = None, horizon: int | None = None, levels: Sequence[float] = (80, 95)
    ) -> pd.DataFrame:
        """Forecasts with intervals.

        Parameters
        ----------
        ids : series in the order wanted; None for all.
        horizon : steps ahead, at most `self.horizon`; None for all of them.
        levels : levels of the intervals in percent, any between 0 and 100.

        Returns
        -------
        unique_id, ds, model, forecast, lo-80, hi-80, …: one row per series and step, lo < forecast < hi.

        Raises
        ------
        UnknownEntity : a series is not known. InvalidValue : the horizon or a level is not possible.
        """
        steps = self.checked_horizon(horizon)
        for level in levels:
            check_level(level)
        rows = (
            np.array([self._place(name) for name in ids], dtype=np.intp)
            if ids is not None
            else np.arange(len(self.ids))
        )
        names = np.array(self.ids, dtype=object)[rows]
        models = np.array([self.contract["series"][name]["model"] for name in names], dtype=object)
        path = self.paths[rows, :steps]
        data: dict[str, Any] = {
            "unique_id": np.repeat(names, steps),
            "ds": self.stamps[rows, :steps].ravel(),
            "model": np.repeat(models, steps),
            "forecast": path.ravel(),
        }
        floor = np.array([bool(self.contract["series"][name]["nonnegative"]) for name in names])[:, None]
        for level in levels:
            low, high = self._interval(rows, steps, path, float(level), floor)
            data[f"lo-{level_name(level)}"], data[f"hi-{level_name(level)}"] = low.ravel(), high.ravel()
        return pd.DataFrame(data)

    def half_widths(self, rows: np.ndarray[Any, Any], steps: int, level: float) -> Floats:
        """Half widths of the intervals, shape (len(rows), steps)."""
        share = level / 100.0
        if share >= SHARES[-1]:
            factor = self.quantiles[rows, -1] * ((1.0 - SHARES[-1]) / (1.0 - share)) ** 0.25
        else:
            right = int(np.searchsorted(SHARES, share))
            left = max(right - 1, 0)
            gap = SHARES[right] - SHARES[left]
            along = (share - SHARES[left]) / gap if gap > 0 else 0.0
            if share < SHARES[0]:
                factor = self.quantiles[rows, 0] * share / SHARES[0]
            else:
                factor = self.quantiles[rows, left] * (1 - along) + self.quantiles[rows, right] * along
        return np.asarray(self.scales[rows, :steps] * factor[:, None])

    def _interval(
        self, rows: np.ndarray[Any, Any], steps: int, path: Floats, level: float, floor: np.ndarray[Any, Any]
    ) -> tuple[Floats, Floats]:
        half = self.half_widths(rows, steps, level)
        return interval(path, half, self.scales[rows, :steps], level, nonnegative=floor)

    def crossing(
        self, name: str, threshold: float, direction: Direction = "above", horizon: int | None = None
    ) -> Crossing:
        """When a series reaches a threshold, with what probability.

        Raises
        ------
        UnknownEntity : the series is not known. InvalidValue : the threshold or the horizon is not possible, or the
            model was made before errors' dependence was kept.
        """
        place = self._place(name)
        steps = self.checked_horizon(horizon)
        info = self._info(place)
        return crossing(
            self.paths[place, :steps],
            self.scales[place, :steps],
            partial(self._quantiles, place),
            Dependence(*info["dependence"]),
            threshold,
            direction,
            nonnegative=bool(info["nonnegative"]),
        )

    def draws(
        self,
        name: str,
        count: int,
        horizon: int | None = None,
        *,
        dependence: Dependence | None = None,
        seed: int = 7,
    ) -> Floats:
        """Paths that a series may take, shape (count, horizon), each step distributed as the intervals say.

        Parameters
        ----------
        dependence : how steps hang together; None: as past errors of the series did.

        Raises
        ------
        As `crossing`.
        """
        place = self._place(name)
        steps = self.checked_horizon(horizon)
        info = self._info(place)
        return paths(
            self.paths[place, :steps],
            self.scales[place, :steps],
            partial(self._quantiles, place),
            dependence or Dependence(*info["dependence"]),
            np.random.default_rng(seed),
            count,
            nonnegative=bool(info["nonnegative"]),
        )

    def _info(self, place: int) -> Mapping[str, Any]:
        info: Mapping[str, Any] = self.contract["series"][self.ids[place]]
        if "dependence" not in info:
            raise InvalidValue(
                "This version knows nothing of how errors hang together over the steps.",
                remedy="Train again: `merit train forecasting`.",
                field="model",
            )
        return info

    def _quantiles(self, place: int, shares: Floats) -> Floats:
        own = self.quantiles[place]
        inside = np.interp(shares, np.append(0.0, SHARES), np.append(0.0, own))
        beyond = own[-1] * ((1.0 - SHARES[-1]) / (1.0 - np.minimum(shares, 1 - 1e-12))) ** 0.25
        return np.asarray(np.where(shares <= SHARES[-1], inside, beyond))

    def stamps_as_text(self, name: str) -> list[str]:
        """The steps ahead of a series as they are shown: numbers, days, or moments where steps are finer than days."""
        stamps = self.stamps[self._place(name)]
        if stamps.dtype.kind != "M":
            return [str(int(stamp)) for stamp in stamps]
        texts = [str(stamp) for stamp in stamps.astype("datetime64[s]")]
        days = all(text.endswith("T00:00:00") for text in texts)
        return [text[:10] if days else text for text in texts]

    def checked_horizon(self, horizon: int | None) -> int:
        """Steps ahead: all of them for None.

        Raises
        ------
        InvalidValue : fewer than one, or more than the model can forecast.
        """
        steps = self.horizon if horizon is None else int(horizon)
        if not 1 <= steps <= self.horizon:
            raise InvalidValue(
                f"horizon={horizon} is not possible with this model.",
                remedy=f"Ask for 1 to {self.horizon} steps, or train with a longer horizon.",
                field="horizon",
                value=horizon,
            )
        return steps

    def _place(self, name: str) -> int:
        place = self._places.get(str(name))
        if place is None:
            known = ", ".join(self.ids[:5]) + (", …" if len(self.ids) > 5 else "")
            raise UnknownEntity(
                f"There is no series {name!r}.", remedy=f"Ask for one of {known}.", field="unique_id", value=str(name)
            )
        return place

    def signature(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """One series in, its first steps out."""
        output = self.forecast(list(self.ids[:1]), min(3, self.horizon), self.levels)
        return pd.DataFrame({"unique_id": list(self.ids[:1]), "horizon": [float(min(3, self.horizon))]}), output

    def without_runs(self) -> ForecastModel:
        """The same forecasts, without what only later fits need."""
        return replace(self, runs={})

    def save(self, folder: Path) -> None:
        """Write the model into an empty folder; the same model gives the same bytes."""
        folder.mkdir(parents=True, exist_ok=True)
        contract = {
            "format": FORMAT, "family": "forecasting", "candidate": self.candidate,
            "selection": self.selection if np.isfinite(self.selection) else None, **self.contract,
        }  # fmt: skip
        (folder / "contract.json").write_text(json.dumps(contract, indent=1, sort_keys=True), encoding="utf-8")
        count, steps = self.paths.shape
        names = np.array(self.ids, dtype=object)
        _write(
            {
                "unique_id": np.repeat(names, steps),
                "step": np.tile(np.arange(1, steps + 1, dtype=np.int32), count),
                "ds": self.stamps.ravel(),
                "forecast": self.paths.ravel(),
                "scale": self.scales.ravel(),
            },
            folder / "forecasts.parquet",
        )
        _write(
            {"unique_id": names} | {f"q{share:g}": self.quantiles[:, k] for k, share in enumerate(SHARES)},
            folder / "quantiles.parquet",
        )
        if self.runs:
            write_runs(self.runs, folder / "runs.parquet")
        if self.explained is not None:
            self.explained.save(folder)

    @classmethod
    def load(cls, folder: Path) -> ForecastModel:
        """Read back what `save` wrote.

        Raises
        ------
        IntegrityFailed : the folder holds no forecasting model of this format.
        """
        try:
            contract = json.loads((folder / "contract.json").read_text(encoding="utf-8"))
            if contract.get("format") != FORMAT or contract.get("family") != "forecasting":
                raise ValueError(f"format {contract.get('format')}, family {contract.get('family')}")
            forecasts = pd.read_parquet(folder / "forecasts.parquet")
            quantiles = pd.read_parquet(folder / "quantiles.parquet")
            ids = tuple(str(name) for name in quantiles["unique_id"])
            shape = (len(ids), int(contract["horizon"]))
            stamps = forecasts["ds"].to_numpy()
            if stamps.dtype.kind == "M":
                stamps = stamps.astype("datetime64[ns]")
            runs_file = folder / "runs.parquet"
            return cls(
                candidate=contract.pop("candidate"),
                selection=float("nan") if contract["selection"] is None else float(contract["selection"]),
                contract={
                    key: value for key, value in contract.items() if key not in ("format", "family", "selection")
                },
                ids=ids,
                stamps=stamps.reshape(shape),
                paths=forecasts["forecast"].to_numpy(np.float64).reshape(shape),
                scales=forecasts["scale"].to_numpy(np.float64).reshape(shape),
                quantiles=quantiles.drop(columns="unique_id").to_numpy(np.float64),
                runs=read_runs(runs_file) if runs_file.exists() else {},
                explained=Explained.load(folder),
            )
        except (OSError, ValueError, KeyError) as error:
            raise IntegrityFailed(
                f"{folder} holds no forecasting model of format {FORMAT}: {error}.",
                remedy="Train again, or roll back to another version.",
            ) from error


def _write(columns: Mapping[str, Any], path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrays = {
        name: pa.array(values.tolist(), pa.string()) if values.dtype == object else pa.array(values)
        for name, values in columns.items()
    }
    pq.write_table(pa.table(arrays), path, compression="zstd")


def write_runs(runs: Runs, path: Path) -> None:
    """Keep what members forecast, one row per member, series, origin and step."""
    parts = [
        (member, name, origin, values)
        for member, by_series in runs.items()
        for name, by_origin in by_series.items()
        for origin, values in by_origin.items()
    ]
    lengths = [len(part[3]) for part in parts]
    _write(
        {
            "member": np.repeat(np.array([part[0] for part in parts], dtype=object), lengths),
            "unique_id": np.repeat(np.array([part[1] for part in parts], dtype=object), lengths),
            "origin": np.repeat(np.array([part[2] for part in parts], dtype=np.int64), lengths),
            "value": np.concatenate([part[3] for part in parts]) if parts else np.empty(0),
        },
        path,
    )


def read_runs(path: Path) -> Runs:
    """Read back what `write_runs` wrote."""
    frame = pd.read_parquet(path)
    runs: dict[str, dict[str, dict[int, Floats]]] = {}
    values = frame["value"].to_numpy(np.float64)
    keys = list(zip(frame["member"], frame["unique_id"], frame["origin"], strict=True))
    starts = [place for place in range(len(keys)) if place == 0 or keys[place] != keys[place - 1]]
    for start, stop in zip(starts, [*starts[1:], len(keys)], strict=True):
        member, name, origin = keys[start]
        runs.setdefault(str(member), {}).setdefault(str(name), {})[int(origin)] = values[start:stop]
    return runs
