"""Means of cells that share what they have in common: a generalised linear model with normal priors on its effects.

A model is seen on some kinds of task and not on others, often a few times only. A mean for each pair alone would be
noise; effects of the model, of the task and of the two together, drawn towards zero, use everything there is (Gelman &
Hill 2007, ch. 12). For scores the link is the logit, which makes it the item-response model of Rasch (1960).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from models.lifecycle.threads import one_blas_thread

Floats = np.ndarray[Any, np.dtype[np.float64]]
Link = Literal["logit", "log"]

_STEPS, _ENOUGH = 50, 1e-5
_FAR = 30.0


@dataclass(frozen=True)
class Effect:
    """One term: a value of its own for each combination of `names`, `spread` standard deviations around zero."""

    names: tuple[str, ...]
    spread: float


@dataclass(frozen=True)
class Fitted:
    """A fitted model.

    Attributes
    ----------
    levels : term → its combinations, in the order of the coefficients.
    mean : coefficients, the intercept first, shape (k,).
    root : lower Cholesky factor of their covariance (Laplace's approximation), shape (k, k).
    dispersion : how many times as much a cell varies as its distribution alone would have it.
    """

    link: Link
    effects: tuple[Effect, ...]
    levels: tuple[dict[tuple[str, ...], int], ...]
    mean: Floats
    root: Floats
    dispersion: float

    def draws(self, count: int, seed: int) -> Floats:
        """Coefficients as they may be, shape (count, k), the first row being the most probable ones."""
        rng = np.random.default_rng(seed)
        drawn: Floats = self.mean + rng.standard_normal((count, len(self.mean))) @ self.root.T
        drawn[0] = self.mean
        return drawn

    def predictor(self, cells: pd.DataFrame, coefficients: Floats) -> Floats:
        """The linear predictor, shape (draws, cells): of unseen combinations the term counts as zero."""
        return np.asarray(coefficients @ _design(cells, self.effects, self.levels).T)

    def knows(self, cells: pd.DataFrame, term: int = 0) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Which cells' combination of a term was seen, shape (cells,)."""
        known = self.levels[term]
        return np.array([key in known for key in _keys(cells, self.effects[term].names)], dtype=bool)


def fit(cells: pd.DataFrame, count: str, total: str, effects: Sequence[Effect], link: Link) -> Fitted:
    """Fit the means `total` / `count`.

    Parameters
    ----------
    cells : one row for each day and combination; columns of the effects, `count` and `total`. Rows without any count
        are left out; their days say how much more a cell varies than its distribution would have it.
    link : "logit" for means between 0 and 1, "log" for positive ones.
    """
    # Matrices of a few hundred columns: threads would wait for each other longer than they work.
    with one_blas_thread():
        return _fit(cells, count, total, effects, link)


def _fit(cells: pd.DataFrame, count: str, total: str, effects: Sequence[Effect], link: Link) -> Fitted:
    names = list(dict.fromkeys(name for effect in effects for name in effect.names))
    seen = cells[cells[count] > 0]
    grouped = seen.groupby(names, sort=True, as_index=False)[[count, total]].sum()
    levels = tuple(
        {key: place for place, key in enumerate(dict.fromkeys(_keys(grouped, effect.names)))} for effect in effects
    )
    design = _design(grouped, effects, levels)
    n, y = grouped[count].to_numpy(np.float64), grouped[total].to_numpy(np.float64)
    prior = np.concatenate(
        ([1e-6], *(np.full(len(level), 1 / effect.spread**2) for effect, level in zip(effects, levels, strict=True)))
    )
    dispersion = 1.0
    start = np.zeros(design.shape[1])
    start[0] = _linked(float(y.sum() / max(n.sum(), 1.0)), link)
    for _ in range(2):  # the second time with what the first says of the dispersion
        mean, precision = _newton(design, n, y, prior, dispersion, link, start)
        start = mean
        dispersion = _dispersion(seen, grouped, names, count, total, design @ mean, link)
    root: Floats = np.linalg.cholesky(np.linalg.inv(precision) + 1e-12 * np.eye(len(mean))).astype(np.float64)
    return Fitted(link, tuple(effects), levels, mean, root, dispersion)


def inverse(predictor: Floats, link: Link) -> Floats:
    """Means of linear predictors."""
    bounded = np.clip(predictor, -_FAR, _FAR)
    return np.asarray(1 / (1 + np.exp(-bounded)) if link == "logit" else np.exp(bounded))


def _newton(
    design: Floats, n: Floats, y: Floats, prior: Floats, dispersion: float, link: Link, start: Floats
) -> tuple[Floats, Floats]:
    beta = start.copy()
    precision = np.diag(prior)
    for _ in range(_STEPS):
        mean = inverse(design @ beta, link)
        weight = n * (mean * (1 - mean) if link == "logit" else mean) / dispersion
        precision = (design.T * weight) @ design + np.diag(prior)
        step = np.linalg.solve(precision, design.T @ ((y - n * mean) / dispersion) - prior * beta)
        beta = beta + np.clip(step, -2.0, 2.0)
        if float(np.abs(step).max()) < _ENOUGH:
            break
    return beta, precision


def _dispersion(
    seen: pd.DataFrame, grouped: pd.DataFrame, names: list[str], count: str, total: str, predictor: Floats, link: Link
) -> float:
    """Pearson's: squared residuals of days beside what the distribution expects, at least a hundredth."""
    fitted = grouped[names].assign(fitted=inverse(predictor, link))
    rows = seen.merge(fitted, on=names, how="left")
    mean = rows["fitted"].to_numpy(np.float64)
    n, y = rows[count].to_numpy(np.float64), rows[total].to_numpy(np.float64)
    expected = n * (mean * (1 - mean) if link == "logit" else mean)
    freedom = max(len(rows) - len(grouped), 1)
    if len(rows) - len(grouped) < 10:
        freedom = max(len(rows), 1)
    return max(float(((y - n * mean) ** 2 / np.maximum(expected, 1e-9)).sum() / freedom), 0.01)


def _design(cells: pd.DataFrame, effects: Sequence[Effect], levels: Sequence[dict[tuple[str, ...], int]]) -> Floats:
    width = 1 + sum(len(level) for level in levels)
    design = np.zeros((len(cells), width))
    design[:, 0] = 1.0
    begin = 1
    for effect, level in zip(effects, levels, strict=True):
        places = np.array([level.get(key, -1) for key in _keys(cells, effect.names)], dtype=np.intp)
        seen = np.flatnonzero(places >= 0)
        design[seen, begin + places[seen]] = 1.0
        begin += len(level)
    return design


def _keys(cells: pd.DataFrame, names: tuple[str, ...]) -> list[tuple[str, ...]]:
    return list(zip(*(map(str, cells[name].tolist()) for name in names), strict=True))


def _linked(mean: float, link: Link) -> float:
    if link == "log":
        return float(np.log(max(mean, 1e-6)))
    mean = min(max(mean, 1e-4), 1 - 1e-4)
    return float(np.log(mean / (1 - mean)))
