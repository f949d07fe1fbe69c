"""Are the probabilities of crossing a threshold true? Simulated series, each against 400 continuations.

    python -m benchmarks.forecasting_crossing                # 40 series of each kind, some minutes of one core
    python -m benchmarks.forecasting_crossing --series 10

For each series sixteen thresholds are set by its past alone: 0 to 4 standard deviations above and below its last month.
The probability that the forecast gives to reaching one within the horizon is compared with the share of continuations
that do: the mean of both, the mean squared difference, and by class of the probability (reliability). Beside it, two
simpler ways with the same intervals: errors that are independent from step to step, and errors that stay the same over
the horizon. Numbers 0-9 of each kind were looked at while choosing the form of the dependence: the figures are of
others.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from itertools import pairwise

import numpy as np

from features.frequency import Grid
from models.forecasting.crossing import Direction, crossing
from models.forecasting.dependence import Dependence
from models.forecasting.engine import SeriesForecast, forecast_series
from models.forecasting.series import Floats, Series

DAILY = Grid("fixed", 86_400 * 10**9)
MEMBERS = ("DynamicOptimizedTheta", "AutoETS", "SeasonalNaive")
N, H, CONTINUATIONS = 250, 28, 400
Simulate = Callable[[np.random.Generator, int], tuple[Floats, Floats]]


def noise(rng: np.random.Generator, count: int) -> tuple[Floats, Floats]:
    """Trend, week and independent noise: past of shape (N,), continuations of shape (count, H)."""
    index = np.arange(N + H)
    mean = 100 + rng.normal(0, 0.05) * index + (4 * rng.standard_normal(7))[index % 7]
    return mean[:N] + 3 * rng.standard_normal(N), mean[N:] + 3 * rng.standard_normal((count, H))


def autoregressive(memory: float) -> Simulate:
    """AR(1) around a level with a week; memory 1 is a random walk."""

    def simulate(rng: np.random.Generator, count: int) -> tuple[Floats, Floats]:
        index = np.arange(N + H)
        week = rng.standard_normal(7)[index % 7]
        state, past = 0.0, np.empty(N)
        for k in range(N):
            state = memory * state + rng.standard_normal()
            past[k] = state
        ahead, now = np.empty((count, H)), np.full(count, state)
        for k in range(H):
            now = memory * now + rng.standard_normal(count)
            ahead[:, k] = now
        return 100 + week[:N] + past, 100 + week[N:] + ahead

    return simulate


KINDS: dict[str, Simulate] = {
    "trend + week + noise": noise,
    "AR(1) 0.5": autoregressive(0.5),
    "AR(1) 0.9": autoregressive(0.9),
    "random walk": autoregressive(1.0),
}
WAYS = ("Meritorder", "independent steps", "one error for all steps")
DEVIATIONS = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0)
CLASSES = (0.05, 0.2, 0.4, 0.6, 0.8, 0.95)


def probabilities(made: SeriesForecast, threshold: float, direction: Direction) -> list[float]:
    """Probability of reaching a threshold within the horizon, in each of `WAYS`."""
    forms = (made.dependence, Dependence(0.0, 0.0, 0.0), Dependence(1.0, 1.0, 0.0))
    return [
        float(crossing(made.path, made.scores.scale, made.scores.quantiles, form, threshold, direction).crossed[-1])
        for form in forms
    ]


def compared(kind: str, numbers: range) -> Floats:
    """Truth and the probability in each way, a row for each series and threshold."""
    rows = []
    for number in numbers:
        rng = np.random.default_rng([number, list(KINDS).index(kind)])
        past, ahead = KINDS[kind](rng, CONTINUATIONS)
        made = forecast_series(Series("s", past, (7,), DAILY, 19_000), H, members=MEMBERS)
        spread = float(np.std(past[7:] - past[:-7])) / np.sqrt(2)
        for deviation in DEVIATIONS:
            high, low = (float(past[-28:].mean() + sign * deviation * spread) for sign in (1, -1))
            rows.append([(ahead >= high).any(axis=1).mean(), *probabilities(made, high, "above")])
            rows.append([(ahead <= low).any(axis=1).mean(), *probabilities(made, low, "below")])
    return np.array(rows)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=40, help="series of each kind")
    parser.add_argument("--first", type=int, default=10, help="number of the first series")
    asked = parser.parse_args()
    print("| kind | way | mean probability | mean truth | mean squared difference |")
    print("|---|---|---|---|---|")
    every = []
    for kind in KINDS:
        values = compared(kind, range(asked.first, asked.first + asked.series))
        every.append(values)
        for k, way in enumerate(WAYS, start=1):
            off = values[:, k] - values[:, 0]
            print(
                f"| {kind} | {way} | {values[:, k].mean():.3f} | {values[:, 0].mean():.3f} | {np.mean(off**2):.4f} |",
                flush=True,
            )
    together = np.concatenate(every)
    edges = ["below 5 %", *(f"{low:.0%} to {high:.0%}" for low, high in pairwise(CLASSES)), "above 95 %"]
    print("\n| all kinds | " + " | ".join(edges) + " |\n|---" + "|---" * len(edges) + "|")
    for k, way in enumerate(WAYS, start=1):
        which = np.digitize(together[:, k], CLASSES)
        cells = []
        for place in range(len(edges)):
            rows = together[which == place]
            cells.append(f"{rows[:, k].mean():.2f} → {rows[:, 0].mean():.2f} ({len(rows)})" if len(rows) else "–")
        print(f"| {way}: said → came (cases) | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
