"""Coverage of the intervals at the first, the middle and the last step, on simulated series of several kinds.

    python benchmarks/forecasting_steps.py --series 40 --jobs 2 --cache /tmp/forecasting-steps

Each series is forecast once from its past, with the engine and the defaults of `merit forecast`, and its interval held
against 200 simulated continuations: what is inside is a share of these, so that a few dozen series say much. Kinds:
noise around a mean; trend, season and noise; a random walk; an autoregression with coefficient 0.8; a seasonal random
walk; each with a standard deviation of 3. With `--cache`, what the members forecast is kept per series.
"""

from __future__ import annotations

import argparse
import pickle
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from features.frequency import Grid
from models.forecasting.engine import conclude, plan, run_members
from models.forecasting.parallel import map_series
from models.forecasting.seasons import seasons_of
from models.forecasting.series import Floats, Series

DAY = 86_400 * 10**9
# grid, season length, observations, horizon
GRIDS = {
    "quarterly": (Grid("month", 3), 4, 48, 8),
    "monthly": (Grid("month", 1), 12, 120, 12),
    "daily": (Grid("fixed", DAY), 7, 200, 14),
    "hourly": (Grid("fixed", DAY // 24), 24, 480, 24),
}
KINDS = ("noise", "trend + season + noise", "random walk", "AR(1) 0.8", "seasonal random walk")
LEVELS = (80, 95)
FUTURES = 200
SD = 3.0


@dataclass(frozen=True)
class Case:
    """One series to simulate."""

    grid: str
    kind: str
    number: int


def simulate(case: Case) -> tuple[Floats, Floats]:
    """The past of a series, shape (n,), and its continuations, shape (FUTURES, h)."""
    rng = np.random.default_rng([case.number, KINDS.index(case.kind), list(GRIDS).index(case.grid)])
    _, m, n, h = GRIDS[case.grid]
    season = rng.normal(0, 2, m)
    season -= season.mean()
    t = np.arange(n + h)
    if case.kind in KINDS[:2]:
        level = np.full(n + h, 100.0)
        if case.kind == KINDS[1]:
            level = 100 + (20 * t / n * rng.choice([-1, 1]) + 4 * season[t % m])
        past = (level + rng.normal(0, SD, n + h))[:n]
        return past, level[n:] + rng.normal(0, SD, (FUTURES, h))
    if case.kind == "random walk":
        past = 100 + np.cumsum(rng.normal(0, SD, n))
        return past, past[-1] + np.cumsum(rng.normal(0, SD, (FUTURES, h)), axis=1)
    lag, share = (1, 0.8) if case.kind == "AR(1) 0.8" else (m, 1.0)
    paths = np.empty((FUTURES, n + h))
    if lag == 1:
        shocks = rng.normal(0, SD, n)
        paths[:, 0] = shocks[0] / 0.6
    else:
        paths[:, :lag] = 100 + 4 * season
    for k in range(lag, n):
        paths[:, k] = share * paths[0, k - lag] + (shocks[k] if lag == 1 else rng.normal(0, SD))
    for k in range(n, n + h):
        paths[:, k] = share * paths[:, k - lag] + rng.normal(0, SD, FUTURES)
    mean = 100 if lag == 1 else 0
    return mean + paths[0, :n], mean + paths[:, n:]


def score(case: Case, cache: Path | None) -> Floats:
    """Share inside the intervals: over all steps, at the first, the middle and the last; shape (levels, 4)."""
    grid, _, _, h = GRIDS[case.grid]
    y, futures = simulate(case)
    series = Series(f"{case.grid} {case.kind} {case.number}", y, seasons_of(y, grid, None), grid)
    path = cache / f"{series.name}.pickle" if cache else None
    if path and path.exists():
        runs = pickle.loads(path.read_bytes())  # our own file
    else:
        runs, _ = run_members(series, plan(series, None, 60.0)[0], h, budget=60.0)
        if path:
            path.write_bytes(pickle.dumps(runs))
    result = conclude(series, runs, h)
    shares = []
    for level in LEVELS:
        low, high = result.interval(level)
        inside = np.mean((futures >= low) & (futures <= high), axis=0)
        shares.append([inside.mean(), inside[0], inside[h // 2 - 1], inside[-1]])
    return np.array(shares)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--series", type=int, default=40, help="series per kind and grid")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--cache", type=Path, default=None, help="folder that keeps what the members forecast")
    options = parser.parse_args()
    if options.cache:
        options.cache.mkdir(parents=True, exist_ok=True)
    print(f"{options.series} series each\n")
    print("| grid | kind | 80: all | first | middle | last | 95: all | first | middle | last |")
    print("|" + "---|" * 10)
    means = []
    for name in GRIDS:
        for kind in KINDS:
            todo = [Case(name, kind, number) for number in range(options.series)]
            mean = 100 * np.mean(map_series(partial(score, cache=options.cache), todo, options.jobs), axis=0)
            means.append(mean)
            print(f"| {name} | {kind} | " + " | ".join(f"{share:.0f}" for share in mean.ravel()) + " |", flush=True)
    off = np.abs(np.array(means) - np.array(LEVELS)[:, None]).mean(axis=0)
    for label, figures in (("mean", np.mean(means, axis=0)), ("mean distance from the level", off)):
        print(f"| {label} | | " + " | ".join(f"{figure:.1f}" for figure in figures.ravel()) + " |")


if __name__ == "__main__":
    main()
