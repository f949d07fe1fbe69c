"""Time of forecasting daily series of two years, 90 days ahead, and the overhead over the library itself.

    python benchmarks/forecasting_speed.py                                   # 20 series, some minutes
    python benchmarks/forecasting_speed.py --series 100                      # the documented run, some ten minutes
    python benchmarks/forecasting_speed.py --series 0 --panels 100,300,1000  # whole panels of one member, some minutes

Three things are timed in turns, series by series, in one process and on the same data: the defaults of `merit forecast`
(its members for days, rolling origins, combination, intervals); the engine with ETS, DOT, ARIMA and CES; and
statsforecast called directly for the same four models and the same work: a fit at the first rolling origin, moved
forward to the others, and a fit at the end. Processor time counts (child processes of Prophet included), since it
depends less on what else the machine does; wall time is shown beside it.

Fitting ETS, ARIMA and CES takes nearly all of that time, so that overhead and linearity over many series show better
where fits cost little: `--panels` gives whole panels of the same series to `forecast_frame` with one quick member
(`--member`), reading, repairing, rolling origins, intervals and all, and to statsforecast, the same fits in a plain
loop. With costlier members the same overhead is a smaller share.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

if TYPE_CHECKING:
    from models.forecasting.options import ForecastOptions

H, DAYS, SEASON = 90, 730, 7
FOUR = ("AutoETS", "DynamicOptimizedTheta", "AutoARIMA", "AutoCES")


def daily_series(seed: int) -> pd.DataFrame:
    """Two years of days: trend, week, year, noise that remembers."""
    rng = np.random.default_rng(seed)
    index = np.arange(DAYS)
    noise = np.zeros(DAYS)
    for day in range(1, DAYS):
        noise[day] = 0.5 * noise[day - 1] + rng.standard_normal()
    week = rng.standard_normal(7)[index % 7]
    year = np.sin(2 * np.pi * (index / 365.25 + rng.random()))
    y = 100 + rng.normal(0, 0.05) * index + 8 * week + 6 * year + 4 * noise
    return pd.DataFrame({"unique_id": f"s{seed}", "ds": pd.date_range("2024-01-01", periods=DAYS), "y": y})


def directly(y: np.ndarray, origins: tuple[int, ...], names: Sequence[str] = FOUR) -> None:
    """The same models over the same origins, by statsforecast alone.

    Its models rather than `StatsForecast`, whose AutoCES fails on the read-only arrays that pandas 3 hands out.
    """
    from statsforecast import models

    for name in names:
        extra = {"approximation": True} if name == "AutoARIMA" else {}
        model = getattr(models, name)(season_length=SEASON, **extra)
        model.fit(y[: origins[0]].copy())
        model.predict(H)
        for origin in origins[1:]:
            model.forward(y[:origin].copy(), H)
        model.fit(y.copy())
        model.predict(H)


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Processor and wall seconds."""
    processor, wall = sum(os.times()[:4]), time.perf_counter()
    work()
    return sum(os.times()[:4]) - processor, time.perf_counter() - wall


def whole_panels(sizes: Sequence[int], member: str, origins: tuple[int, ...]) -> None:
    """Seconds a series of whole panels, in one process, and the overhead over the library."""
    from models.forecasting.forecast_file import forecast_frame
    from models.forecasting.options import ForecastOptions

    options = ForecastOptions(horizon=H, freq="D", members=(member,), seasons=(SEASON,))
    print(f"\nwhole panels, {member}\n")
    print("| series | merit forecast, processor s a series | statsforecast | overhead % | wall s a series |")
    print("|---|---|---|---|---|")
    for size in sizes:
        frame = pd.concat([daily_series(seed) for seed in range(size)], ignore_index=True)
        values = [np.array(part) for _, part in frame.groupby("unique_id", sort=False)["y"]]

        def loop(values: list[np.ndarray] = values) -> None:
            for y in values:
                directly(y, origins, (member,))

        ours, wall = timed(lambda frame=frame: forecast_frame(frame, options))
        theirs, _ = timed(loop)
        each = f"{ours / size:.4f} | {theirs / size:.4f} | {100 * (ours / theirs - 1):+.1f} | {wall / size:.4f}"
        print(f"| {size} | {each} |", flush=True)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--series", type=int, default=20, help="series, one after the other; 0 for none")
    parser.add_argument("--panels", default="", help="sizes of whole panels, e.g. 100,300,1000")
    parser.add_argument("--member", default="DynamicOptimizedTheta", choices=FOUR, help="member for the panels")
    options = parser.parse_args()

    warnings.simplefilter("ignore")  # of convergence, from the library called directly
    started = time.perf_counter()
    from models.forecasting.backtest import origins_of
    from models.forecasting.forecast_file import forecast_frame
    from models.forecasting.options import ForecastOptions

    default = ForecastOptions(horizon=H, freq="D")
    classical = ForecastOptions(horizon=H, freq="D", members=FOUR, seasons=(SEASON,))
    origins = origins_of(DAYS, H, SEASON)
    warm = daily_series(10**6)
    forecast_frame(warm, default)
    forecast_frame(warm, classical)
    directly(np.array(warm["y"]), origins)
    print(f"imports, compilation and one series of each: {time.perf_counter() - started:.1f} s\n")

    if options.series:
        one_by_one(options.series, default, classical, origins)
    if options.panels:
        whole_panels([int(size) for size in options.panels.split(",")], options.member, origins)


def one_by_one(count: int, default: ForecastOptions, classical: ForecastOptions, origins: tuple[int, ...]) -> None:
    """Seconds a series of each kind, in turns."""
    from models.forecasting.forecast_file import forecast_frame

    labels = ("merit forecast, defaults", "engine, ETS + DOT + ARIMA + CES", "statsforecast directly, the same")
    seconds: dict[str, list[tuple[float, float]]] = {label: [] for label in labels}
    for seed in range(count):
        frame = daily_series(seed)
        seconds[labels[0]].append(timed(lambda frame=frame: forecast_frame(frame, default)))
        seconds[labels[1]].append(timed(lambda frame=frame: forecast_frame(frame, classical)))
        y = np.array(frame["y"])
        seconds[labels[2]].append(timed(lambda y=y: directly(y, origins)))
        if sys.stderr.isatty():
            print(f"\r{seed + 1}/{count}", end="", file=sys.stderr)
    print(f"{count} daily series, {DAYS} days, h={H}, {len(origins)} rolling origins, one process\n")
    print("| | processor s a series | wall s a series |\n|---|---|---|")
    for label, values in seconds.items():
        processor, wall = np.mean(values, axis=0)
        print(f"| {label} | {processor:.3f} | {wall:.3f} |")
    ours, theirs = (sum(one[0] for one in seconds[label]) for label in labels[1:])
    print(f"\noverhead over statsforecast: {100 * (ours / theirs - 1):+.1f} %")


if __name__ == "__main__":
    main()
