"""Computes the fixed samples of scaled errors in `models/forecasting/conformal_prior.py`.

    python benchmarks/forecasting_prior.py --cache /tmp/forecasting-accuracy

Only the training parts of the five public sets of `forecasting_accuracy.py` are used: the errors of the combination at
the rolling origins inside them, each scaled by what the other origins of the series say. Run
`forecasting_accuracy.py` with the same cache first. Prints the quantiles at 0.5, 1.5, … 99.5 % for months and quarters,
and how each set would be covered by its own frequency's sample if it had not been in it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.forecasting_accuracy import SETS, cases, runs_of
from models.forecasting.backtest import actuals
from models.forecasting.combination import combine
from models.forecasting.conformal import scaled_errors
from models.forecasting.series import Floats, naive_scale, persistence

SHARES = np.arange(0.005, 1.0, 0.01)


def scores_of(dataset: str, cache: Path) -> Floats:
    """Scaled errors at the rolling origins of every series of a set that is in the cache."""
    found = []
    for case in cases(dataset, None):
        if not (cache / f"{case.dataset} {case.series.name}.pickle").exists():
            continue
        runs, _ = runs_of(case, cache)
        h = len(case.test)
        combined = combine(runs, case.series.y, h, power=0)
        naive = naive_scale(case.series.y, case.series.season)
        origins = next(iter(runs.values())).origins
        if naive <= 0 or len(origins) < 2:
            continue
        lasting = persistence(case.series.y, case.series.season)
        errors = np.abs(combined.paths - actuals(case.series.y, origins, h))
        found.extend(scaled_errors(naive, errors, combined.spreads, lasting))
    return np.concatenate(found)


def pooled(parts: list[Floats]) -> Floats:
    """Quantiles at `SHARES` of several samples together."""
    return np.quantile(np.concatenate(parts), SHARES)


def main() -> None:
    """Print the samples and the cross-check."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cache", type=Path, required=True)
    options = parser.parse_args()
    scores = {dataset: scores_of(dataset, options.cache) for dataset in SETS}
    for label, period in (("MONTHS", 12), ("QUARTERS", 4)):
        members = [dataset for dataset in SETS if SETS[dataset][1] == period]
        sample = pooled([scores[dataset] for dataset in members])
        print(f"{label} = ({', '.join(f'{value:.3f}' for value in sample)})")
        for dataset in members:
            rest = pooled([scores[other] for other in members if other != dataset])
            shares = [float(np.mean(scores[dataset] <= np.interp(level, SHARES, rest))) for level in (0.8, 0.95)]
            print(f"# {dataset}: {len(scores[dataset])} errors, covered by the others {shares[0]:.3f} {shares[1]:.3f}")


if __name__ == "__main__":
    main()
