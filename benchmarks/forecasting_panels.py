"""Panels: does one model for all series help, and do forecasts that add up cost accuracy?

    python -m benchmarks.forecasting_panels                 # eight demo worlds, about ten minutes of one core
    python -m benchmarks.forecasting_panels --seeds 5 6 7 8

Each demo world (2,000 customers, two years) gives a panel of 36 daily series; the last 90 days are forecast from what
came before. Printed per world and on average: MASE of the seasonal naive forecast, of each member alone, of the
combination without and with the global model, and of the latter reconciled; coverage of the 80 and 95 % intervals
before and after; and by how much totals and their parts disagree (largest gap over the total). The settings of the
global model were chosen on worlds 1 to 4 and its reconciliation on worlds 1 to 6; 7 and 8 were looked at once.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from features.views.series import business_panel
from features.world import build
from models.forecasting.engine import SeriesForecast
from models.forecasting.family import ForecastOptions
from models.forecasting.hierarchy import sums_of
from models.forecasting.model import Runs
from models.forecasting.panel_runs import conclude_all, panel_of, planned, run_member_on_all, series_of
from models.forecasting.reconciliation import systems
from models.forecasting.series import Floats, Series, naive_scale
from store.dataset import SnapshotRef

H = 90
LOCAL = ("DynamicOptimizedTheta", "Prophet", "Boosting", "MSTL")
GLOBAL = "GlobalBoosting"
OPTIONS = ForecastOptions(horizon=H, freq="D")


def panel(seed: int) -> pd.DataFrame:
    """The business series of a demo world."""
    with TemporaryDirectory() as folder:
        made = build(folder, customers=2_000, days=730, seed=seed, end=date(2026, 6, 30))
        return business_panel(SnapshotRef(str(made.folder / "tables"), "", made.tables, made.as_of))


def mase(series: Sequence[Series], paths: Sequence[Floats], truth: dict[str, Floats]) -> float:
    """Mean over series of the scaled error."""
    errors = [
        np.abs(truth[one.name] - path).mean() / naive_scale(one.y, one.season)
        for one, path in zip(series, paths, strict=True)
    ]
    return float(np.mean(errors))


def coverage(results: Sequence[SeriesForecast], truth: dict[str, Floats], level: float) -> float:
    """Share of values inside the interval."""
    inside = []
    for one in results:
        low, high = one.interval(level)
        inside.append(float(np.mean((truth[one.name] >= low) & (truth[one.name] <= high))))
    return float(np.mean(inside))


def gap(results: Sequence[SeriesForecast]) -> float:
    """The largest disagreement of a total with its parts, over that total."""
    paths = {one.name: one.path for one in results}
    largest = 0.0
    for names, constraints in systems(sums_of(paths, "/")):
        values = np.array([paths[name] for name in names])
        totals = np.where(constraints > 0, 1.0, 0.0) @ values
        largest = max(largest, float((np.abs(constraints @ values) / np.maximum(totals, 1e-9)).max()))
    return largest


def figures(seed: int) -> dict[str, float]:
    """All figures of one world."""
    frame = panel(seed)
    split = frame["ds"].max() - pd.Timedelta(days=H)
    truth = {str(name): rows["y"].to_numpy() for name, rows in frame[frame["ds"] > split].groupby("unique_id")}
    series = series_of(panel_of(frame[frame["ds"] <= split], {}, OPTIONS), OPTIONS)
    runs: Runs = {name: run_member_on_all(name, series, OPTIONS) for name in (*LOCAL, GLOBAL)}
    found = {"seasonal naive": mase(series, [np.resize(one.y[-7:], H) for one in series], truth)}
    for name, by_series in runs.items():
        found[name] = mase(series, [by_series[one.name][len(one)] for one in series], truth)
    plans = {one.name: planned(one, OPTIONS) for one in series}
    chosen = {name: {key: paths for key, paths in own.items() if name in plans[key]} for name, own in runs.items()}
    without = {name: own for name, own in chosen.items() if name != GLOBAL}
    ways = (
        ("combination without it", without, OPTIONS),
        ("combination with it", chosen, OPTIONS),
        ("reconciled", chosen, replace(OPTIONS, hierarchy="/")),
    )
    for way, own, options in ways:
        results, _ = conclude_all(series, own, options, candidate="combination")
        found[way] = mase(series, [one.path for one in results], truth)
        found[f"80 % of {way}"] = coverage(results, truth, 80)
        found[f"95 % of {way}"] = coverage(results, truth, 95)
        found[f"gap of {way}"] = gap(results)
    return found


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="*", default=list(range(1, 9)), help="seeds of the worlds")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    rows = {}
    for seed in asked.seeds:
        rows[f"world {seed}"] = figures(seed)
        print(f"world {seed} done", flush=True)
    table = pd.DataFrame(rows)
    better = table.loc["combination with it"] - table.loc["combination without it"]
    coherent = table.loc["reconciled"] - table.loc["combination with it"]
    table["mean"] = table.mean(axis=1)
    print("\n| | " + " | ".join(table.columns) + " |\n|---" + "|---" * len(table.columns) + "|")
    for name, values in table.iterrows():
        form = "{:.1%}" if "%" in str(name) else "{:.1e}" if "gap" in str(name) else "{:.3f}"
        print(f"| {name} | " + " | ".join(form.format(value) for value in values) + " |")
    for label, change in (("the global model", better), ("reconciliation", coherent)):
        error = change.std(ddof=1) / np.sqrt(len(change)) if len(change) > 1 else float("nan")
        print(f"\nMASE by {label}: {change.mean():+.3f} ± {error:.3f} (standard error over worlds)")


if __name__ == "__main__":
    main()
