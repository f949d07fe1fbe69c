"""Direct gradient boosting on lags, for long seasons.

One model for all steps: a row is an origin t and a step j, its target the value at t + j less the recent level, its
features what is known at t: the same phase one or more seasons earlier, the last values, recent means, the step, and
the phase within each season; where something is known in advance, its value at the target's time. No recursion, so
errors do not feed on themselves.
"""

from __future__ import annotations

import numpy as np

from models.forecasting.series import Floats, Ints, Series

_MAX_ROWS = 24_000
_CYCLES = 3


class Booster:
    """LightGBM fitted on the first `n` observations; `path` forecasts from any later origin."""

    def __init__(self, series: Series, n: int, h: int, *, seed: int = 7) -> None:
        import lightgbm

        self.series, self.h = series, h
        longest = series.seasons[-1]
        # How far back the features look; the phase of a target is known at most one season before the origin.
        self.reach = longest * (2 if n >= 6 * longest + h else 1)
        if n < self.reach + h + longest // 2:
            raise ValueError(f"{n} observations are too few for boosting with season {longest} and horizon {h}")
        origins = np.arange(self.reach, n - h + 1)
        rng = np.random.default_rng(seed)
        count = max(1, min(len(origins) * h, _MAX_ROWS))
        flat = rng.choice(len(origins) * h, size=count, replace=False)
        flat.sort()
        at, step = origins[flat // h], flat % h + 1
        features, level = self._features(at, step)
        target = series.y[at + step - 1] - level
        data = lightgbm.Dataset(features, label=target, free_raw_data=True)
        params = {
            "objective": "regression", "learning_rate": 0.06, "num_leaves": 31, "min_data_in_leaf": 20,
            "feature_fraction": 0.7, "bagging_fraction": 0.8, "bagging_freq": 1, "lambda_l2": 1.0, "seed": seed,
            "num_threads": 1, "deterministic": True, "force_row_wise": True, "verbosity": -1,
        }  # fmt: skip
        self.booster = lightgbm.train(params, data, num_boost_round=200)

    def _features(self, at: Ints, step: Ints) -> tuple[Floats, Floats]:
        """Features of shape (rows, k) relative to the recent level, and that level, shape (rows,).

        `at` counts the observations known: the last known one is `y[at - 1]`, the target `y[at + step - 1]`.
        """
        y, seasons = self.series.y, self.series.seasons
        total = np.concatenate(([0.0], np.cumsum(y)))
        level = (total[at] - total[at - seasons[-1]]) / seasons[-1]
        columns: list[Floats] = [step.astype(float)]
        target = at + step - 1
        for season in seasons:
            back = -(-step // season) * season  # the latest whole number of seasons that is known for this step
            for cycle in range(min(_CYCLES, self.reach // season)):
                columns.append(y[target - back - cycle * season] - level)
            columns.append(((self.series.first + target) % season).astype(float))
            columns.append((total[at] - total[at - season]) / season - level)
        columns += [y[at - 1] - level, y[at - 2] - level]
        if len(seasons) == 1:
            week = 7 * seasons[0]
            if self.reach >= week:
                columns.append(((self.series.first + target) % week).astype(float))
        if self.series.covariates is not None:
            # What is known about the target's own time, and how it differs from a season earlier.
            values = self.series.covariates.values
            back = -(-step // seasons[0]) * seasons[0]
            columns += [*values[target].T, *(values[target] - values[target - back]).T]
        return np.column_stack(columns), level

    def path(self, n: int, h: int) -> Floats:
        """Forecast of the `h` steps after the first `n` observations."""
        at, step = np.full(h, n), np.arange(1, h + 1)
        features, level = self._features(at, step)
        return np.asarray(self.booster.predict(features, num_threads=1) + level, dtype=np.float64)
