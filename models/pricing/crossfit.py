"""What controls, calendar and place tell about demand and about prices, learned out of fold.

The orthogonal score needs E[D | X] and g(X), each predicted for rows that it did not learn from (cross-fitting;
Chernozhukov et al., 2018). The learner is gradient boosting with early stopping. Rows of one group, or of one stretch
of time, stay in one fold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.pricing.absorbed import Codes, Floats, Response
from models.pricing.panel import Panel

MANY_GROUPS = 20
STRETCHES_PER_FOLD = 4
MOST_LEVELS = 200
ROUNDS = 400
PATIENCE = 10
RIDGE = 0.1
ROWS_PER_KNOT = 40
MOST_KNOTS = 24


@dataclass(frozen=True)
class Covariates:
    """X: what may move both price and demand, beside the panel's own effects.

    Attributes
    ----------
    values : shape (rows, columns); categories as codes.
    categorical : positions of the categories.
    names : of the columns, for people.
    """

    values: Floats
    categorical: tuple[int, ...]
    names: tuple[str, ...]


def covariates(panel: Panel) -> Covariates | None:
    """Controls and seasons, with the product so that each may have seasons of its own; None where there are neither:
    then the panel's effects are all there is to take out.

    Neither the panel unit nor the moment is among them: together they name the row, and a learner that knows both knows
    every price that lasts longer than a fold. Effects and trends take care of them.
    """
    columns: list[Floats] = []
    categorical: list[int] = []
    names: list[str] = []

    def add(name: str, values: NDArray[Any], category: bool = False) -> None:
        if category:
            codes = np.unique(values.astype(str), return_inverse=True)[1]
            if codes.max() == 0:
                return
            if codes.max() < MOST_LEVELS:
                categorical.append(len(columns))
            columns.append(codes.astype(np.float64))
        else:
            columns.append(values.astype(np.float64))
        names.append(name)

    for name in panel.controls.columns:
        values = panel.controls[name].to_numpy()
        add(str(name), values, category=values.dtype == object)
    if panel.day is not None and panel.dated:
        # A season is one only if it was seen more than once.
        if panel.span_days > 550:
            turn = 2 * np.pi * panel.day / 365.25
            add("season", np.sin(turn))
            add("season", np.cos(turn))
        if np.median(panel.length) <= 1:
            add("weekday", (panel.day + 3) % 7)
    if not columns:
        return None
    add("product", panel.product, category=True)
    return Covariates(np.column_stack(columns), tuple(categorical), tuple(dict.fromkeys(names)))


def folds_of(panel: Panel, folds: int, seed: int) -> Codes:
    """Fold of every row: by group where there are many, else by stretches of time, else row by row."""
    groups = np.unique(panel.group.astype(str), return_inverse=True)[1]
    rng = np.random.default_rng(seed)
    if groups.max() + 1 >= MANY_GROUPS:
        drawn = rng.permutation(int(groups.max()) + 1)
        return np.asarray(drawn[groups] % folds, dtype=np.int64)
    if panel.day is not None and len(np.unique(panel.day)) >= 2 * folds:
        stretches = stretch_of(panel.day, folds * STRETCHES_PER_FOLD)
        # Neighbours in different folds, in an order of their own in every round.
        order = np.concatenate([rng.permutation(folds) for _ in range(STRETCHES_PER_FOLD)])
        return np.asarray(order[stretches], dtype=np.int64)
    return np.asarray(rng.permutation(len(panel)) % folds, dtype=np.int64)


def stretch_of(day: Floats, count: int) -> Codes:
    """Which of `count` equally long stretches of time each row begins in."""
    first, last = float(day.min()), float(day.max())
    width = (last - first + 1e-9) / count
    return np.minimum(count - 1, np.floor((day - first) / width)).astype(np.int64)


def predicted(
    X: Covariates,
    y: Floats,
    fold: Codes,
    response: Response,
    *,
    weights: Floats | None = None,
    base: Floats | None = None,
    seed: int = 7,
    threads: int = 1,
) -> Floats:
    """Out-of-fold prediction of y, or for counts of log E[y] − base.

    Parameters
    ----------
    base : what is known of the linear predictor already.
    """
    found = np.zeros(len(y))
    base = np.zeros(len(y)) if base is None else base
    for k in range(int(fold.max()) + 1):
        out = fold == k
        check = fold == (k + 1) % (int(fold.max()) + 1)
        learn = ~out & ~check
        if not out.any():
            continue
        if not learn.any() or not check.any():
            learn = check = ~out
        found[out] = _boosted(X, y, learn, check, out, response, weights, base, seed, threads)
    return found


def _boosted(
    X: Covariates,
    y: Floats,
    learn: NDArray[np.bool_],
    check: NDArray[np.bool_],
    out: NDArray[np.bool_],
    response: Response,
    weights: Floats | None,
    base: Floats,
    seed: int,
    threads: int,
) -> Floats:
    import lightgbm

    known = base
    w = np.ones(len(y)) if weights is None else weights
    rows = learn | check
    if response == "count":
        level = float(np.log(max(y[learn].sum(), 0.5) / np.exp(base[learn]).sum()))
    else:
        level = float(np.average(y[learn] - base[learn], weights=w[learn]))
        # Smooth curves first: trees then only have to learn what jumps, and what goes together.
        base = base + _linear(X, y - base - level, rows, w)

    def part(taken: NDArray[np.bool_], reference: Any = None) -> Any:
        return lightgbm.Dataset(
            X.values[taken],
            label=y[taken],
            weight=w[taken],
            init_score=base[taken] + level,
            categorical_feature=list(X.categorical),
            reference=reference,
        )

    settings = {
        "objective": "poisson" if response == "count" else "regression",
        "metric": "poisson" if response == "count" else "l2",
        "num_leaves": 15,
        "learning_rate": 0.08,
        "min_data_in_leaf": int(max(10, min(200, learn.sum() // 40))),
        "lambda_l2": 1.0,
        "cat_smooth": 20.0,
        "min_data_per_group": 10,
        "deterministic": True,
        "force_col_wise": True,
        "num_threads": threads,
        "seed": seed,
        "verbosity": -1,
    }
    training = part(learn)
    stop = lightgbm.early_stopping(PATIENCE, verbose=False)
    model = lightgbm.train(settings, training, ROUNDS, valid_sets=[part(check, training)], callbacks=[stop])
    best = int(model.best_iteration)

    def raw(asked: NDArray[np.bool_]) -> Floats:
        told = model.predict(X.values[asked], raw_score=True, num_iteration=best, num_threads=threads)
        return np.asarray(told, dtype=np.float64)

    straight = base[out] - known[out] + level
    # What the rows put aside do not confirm is noise, and would be noise in the estimate.
    if not _confirmed(y[check], base[check] + level, raw(check), w[check], response):
        return straight
    # They have said how long to learn; now they are learned from as well.
    model = lightgbm.train(settings, part(rows), best)
    return straight + raw(out)


def _confirmed(y: Floats, without: Floats, more: Floats, weights: Floats, response: Response) -> bool:
    """Whether the loss falls by more than twice its standard error."""
    if response == "count":
        gain = (np.exp(without) - y * without) - (np.exp(without + more) - y * (without + more))
    else:
        gain = (y - without) ** 2 - (y - without - more) ** 2
    gain = gain * weights / weights.mean()
    return bool(gain.mean() > 2 * gain.std() / np.sqrt(len(gain)))


def _splines(values: Floats, learn: NDArray[np.bool_]) -> Floats:
    """Cubic B-splines with knots at quantiles, straight beyond them; the values themselves where they are few."""
    from sklearn.preprocessing import SplineTransformer

    count = int(np.clip(learn.sum() // ROWS_PER_KNOT, 5, MOST_KNOTS))
    knots = np.unique(np.quantile(values[learn], np.linspace(0.0, 1.0, count)))
    if len(knots) < count:
        return np.column_stack([values, values**2])
    basis = SplineTransformer(degree=3, knots=knots[:, None], extrapolation="linear", include_bias=False)
    return np.asarray(np.column_stack([values, basis.fit_transform(values[:, None])]), dtype=np.float64)


def _linear(X: Covariates, y: Floats, learn: NDArray[np.bool_], weights: Floats) -> Floats:
    """Ridge regression on cubic splines of numbers and indicators of categories, predicted for every row."""
    parts = []
    for at, column in enumerate(X.values.T):
        if at in X.categorical:
            parts.append((column[:, None] == np.unique(column[learn])).astype(np.float64))
            continue
        seen = column[learn]
        centre, spread = (np.nanmean(seen), np.nanstd(seen)) if np.isfinite(seen).any() else (0.0, 0.0)
        if spread > 0:
            standard = np.clip(np.nan_to_num((column - centre) / spread), -5.0, 5.0)
            parts.append(_splines(standard, learn))
    if not parts:
        return np.zeros(len(y))
    design = np.concatenate(parts, axis=1)
    w = weights / weights[learn].mean()
    normal = design[learn].T @ (design[learn] * w[learn, None]) + RIDGE * np.eye(design.shape[1])
    return np.asarray(design @ np.linalg.solve(normal, design[learn].T @ (w[learn] * y[learn])), dtype=np.float64)
