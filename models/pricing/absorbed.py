"""Regression with two sets of fixed effects absorbed exactly, for logarithms and for counts, with instruments, and with
errors that are robust to whatever goes on within a cluster.

For counts (and quantities with zeros) the model is E[y] = exp(offset + cell + period + Dβ), fitted by Poisson
pseudo-maximum likelihood (Santos Silva and Tenreyro, 2006, *Review of Economics and Statistics* 88), which needs only
the mean to be right; each step of the iteration is a weighted regression with the effects swept out (Correia, Guimarães
and Zylkin, 2020, *Stata Journal* 20). For logarithms it is the same with weights of one.

Given V beside D, the moments are E[V (y − μ)] = 0: two-stage least squares for logarithms, the additive moments of
Windmeijer and Santos Silva (1997, *Journal of Applied Econometrics* 12) for counts. With V = D − E[D | X] and an
offset g(X) this is the Neyman-orthogonal score of the partially linear model (Chernozhukov et al., 2018, *Econometrics
Journal* 21, eq. 4.4): errors in E[D | X] and in g count only by their product.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from store.errors import TrainingError

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]
Response = Literal["log", "count"]

ROUNDS = 100
TOLERANCE = 1e-9
MOST_LEVERAGE = 0.9


@dataclass(frozen=True)
class Estimates:
    """Coefficients with their cluster-robust covariance.

    Attributes
    ----------
    beta : shape (k,), NaN where nothing is left of a column besides the effects and the other columns.
    covariance : shape (k, k), NaN in the same places.
    freedom : degrees of freedom of each coefficient's t, shape (k,): how many clusters tell of it, in effect.
    left : share of each column's variance within cells that is left to learn from, shape (k,).
    dispersion : mean of (y − μ)² / μ for counts, residual variance for logarithms.
    used : rows that tell anything; cells and periods without any sale do not.
    mean : μ (or the fitted logarithm) of each row, NaN for rows not used.
    """

    beta: Floats
    covariance: Floats
    freedom: Floats
    left: Floats
    dispersion: float
    used: NDArray[np.bool_]
    mean: Floats


@dataclass(frozen=True)
class Effects:
    """Codes of the two sets of effects; a single code means none."""

    cell: Codes
    period: Codes

    def residual(self, values: Floats, weights: Floats) -> Floats:
        """What is left of columns after a weighted regression on both sets of effects.

        Parameters
        ----------
        values : shape (rows, columns).
        """
        cells, periods = int(self.cell.max()) + 1, int(self.period.max()) + 1
        of_cell = np.maximum(np.bincount(self.cell, weights, cells), 1e-300)
        sums = _sums(self.cell, values * weights[:, None], cells)
        if periods == 1:
            return values - (sums / of_cell[:, None])[self.cell]
        crossed = np.bincount(self.cell * periods + self.period, weights, cells * periods).reshape(cells, periods)
        normal = np.diag(crossed.sum(axis=0)) - crossed.T @ (crossed / of_cell[:, None])
        right = _sums(self.period, values * weights[:, None], periods) - crossed.T @ (sums / of_cell[:, None])
        # One period per connected part of the panel is redundant; a grain of ridge picks one of the solutions, which
        # all have the same residuals.
        normal[np.diag_indices(periods)] += 1e-9 * normal.trace() / periods + 1e-300
        of_period = cho_solve(cho_factor(normal, lower=True, check_finite=False), right, check_finite=False)
        rest = (sums - crossed @ of_period) / of_cell[:, None]
        left: Floats = values - rest[self.cell] - of_period[self.period]
        return left

    def leverage(self, weights: Floats, *, nested: bool) -> Floats:
        """How far each row pulls its own effects, to first order. Residuals divided by 1 − leverage are about those
        of a fit without the row (HC3; MacKinnon and White, 1985, *Journal of Econometrics* 29).

        Parameters
        ----------
        nested : a cell within one cluster costs nothing: what is true of a cell's rows together stays so.
        """
        pull = np.zeros(len(weights))
        for codes, counts in ((self.cell, not nested), (self.period, True)):
            if counts:
                pull += weights / np.maximum(np.bincount(codes, weights)[codes], 1e-300)
        return pull


def fit(
    y: Floats,
    regressors: Floats,
    effects: Effects,
    clusters: Codes,
    response: Response,
    *,
    instruments: Floats | None = None,
    offset: Floats | None = None,
    nested: bool = False,
) -> Estimates:
    """Estimate β.

    Parameters
    ----------
    y : logarithm of the quantity, or the quantity itself (response "count").
    regressors, instruments : shape (rows, k); the regressors are their own instruments by default.
    offset : added to the linear predictor.
    nested : whether every cell lies within one cluster; its effects then cost no degrees of freedom.

    Raises
    ------
    TrainingError : nothing is left to learn from, or the iteration goes astray.
    """
    rows = len(y)
    used = _informative(y, effects) if response == "count" else np.ones(rows, dtype=bool)
    if used.sum() < 3:
        raise TrainingError(
            f"Only {int(used.sum())} of {rows} rows tell anything about the response to prices.",
            remedy="Bring more sales.",
        )
    effects = Effects(_compact(effects.cell[used]), _compact(effects.period[used]))
    y, D = y[used], regressors[used]
    V = D if instruments is None else instruments[used]
    shift = np.zeros(len(y)) if offset is None else offset[used]
    clusters = _compact(clusters[used])

    weights = np.ones(len(y)) if response == "log" else _start(y, shift)
    keep, left = _identified(D, V, effects, weights)
    D, V = D[:, keep], V[:, keep]
    if response == "log":
        D_, V_, z_ = _swept(effects, weights, D, V, (y - shift)[:, None])
        beta = _solve(V_.T @ D_, V_.T @ z_[:, 0])
        mean = y - (z_[:, 0] - D_ @ beta)
        error = y - mean
    else:
        beta, mean, D_, V_ = _poisson(y, shift, D, V, effects, weights)
        weights, error = mean, y - mean
    leverage = effects.leverage(weights, nested=nested) + _leverage(V_, D_, weights)
    covariance, freedom = _sandwich(V_, D_, weights, error / (1 - np.clip(leverage, 0.0, MOST_LEVERAGE)), clusters)
    spread = error**2 / mean if response == "count" else error**2
    parameters = int(effects.cell.max()) + int(effects.period.max()) + 1 + D.shape[1]
    dispersion = float(spread.sum() / max(1, len(y) - parameters))
    whole = np.full(rows, np.nan)
    whole[used] = mean
    return Estimates(
        beta=_spread(beta, keep),
        covariance=_spread(_spread(covariance, keep).T, keep),
        freedom=_spread(freedom, keep),
        left=left,
        dispersion=dispersion,
        used=used,
        mean=whole,
    )


def _poisson(
    y: Floats, shift: Floats, D: Floats, V: Floats, effects: Effects, mean: Floats
) -> tuple[Floats, Floats, Floats, Floats]:
    """Iteratively reweighted regression; returns β, μ and both sides swept of the effects at the solution."""
    predictor = np.log(mean)
    deviance = np.inf
    for _ in range(ROUNDS):
        work = predictor - shift + (y - mean) / mean
        D_, V_, z_ = _swept(effects, mean, D, V, work[:, None])
        beta = _solve((V_ * mean[:, None]).T @ D_, (V_ * mean[:, None]).T @ z_[:, 0])
        fitted = work - (z_[:, 0] - D_ @ beta) + shift
        # A long first step can overshoot: no predictor moves by more than e⁵ at once.
        predictor = predictor + np.clip(fitted - predictor, -5.0, 5.0)
        mean = np.exp(np.clip(predictor, -50.0, 50.0))
        before, deviance = deviance, _deviance(y, mean)
        if abs(before - deviance) <= TOLERANCE * (abs(deviance) + 1e-3):
            break
    if not np.all(np.isfinite(beta)):
        raise TrainingError("The Poisson regression did not converge.", remedy="Look for prices that are outliers.")
    D_, V_ = _swept(effects, mean, D, V)
    return beta, mean, D_, V_


def _identified(D: Floats, V: Floats, effects: Effects, weights: Floats) -> tuple[NDArray[np.bool_], Floats]:
    """Columns that can be told from the effects and from each other, and how much of each is left."""
    (V_,) = _swept(effects, weights, V)
    cell_only = Effects(effects.cell, np.zeros(len(weights), dtype=np.int64))
    within = (weights[:, None] * cell_only.residual(D, weights) ** 2).sum(axis=0)
    scale = (weights[:, None] * D**2).sum(axis=0)
    rest = (weights[:, None] * V_**2).sum(axis=0)
    left = np.divide(rest, within, out=np.zeros(len(within)), where=within > 1e-12 * scale)
    keep = (within > 1e-12 * scale) & (left > 1e-8)
    # Columns that are combinations of earlier ones go: elimination in the order of the columns keeps the first.
    normal = V_.T @ (V_ * weights[:, None])
    for column in range(len(keep)):
        if not keep[column]:
            continue
        if normal[column, column] < 1e-6 * rest[column]:
            keep[column] = False
            left[column] = 0.0
            continue
        normal = normal - np.outer(normal[:, column], normal[column]) / normal[column, column]
    return keep, left


def _sandwich(V: Floats, D: Floats, weights: Floats, error: Floats, clusters: Codes) -> tuple[Floats, Floats]:
    """Covariance G/(G − 1)·B·Σ s_g s_g'·B' (Cameron and Miller, 2015, *Journal of Human Resources* 50, §VI), and each
    coefficient's degrees of freedom.

    Degrees of freedom are the effective number of clusters less one: (Σ h_g)²/Σ h_g², h_g being a cluster's share in
    what is known about the coefficient (after Carter, Schnepel and Steigerwald, 2017, *Review of Economics and
    Statistics* 99).
    """
    count = int(clusters.max()) + 1
    columns = V.shape[1]
    if not columns:
        return np.empty((0, 0)), np.empty(0)
    bread = np.linalg.pinv((V * weights[:, None]).T @ D)
    scores = _sums(clusters, V * error[:, None], count)
    covariance = count / max(1, count - 1) * bread @ (scores.T @ scores) @ bread.T
    influence = _sums(clusters, weights[:, None] * (V @ bread.T) ** 2, count)
    freedom = influence.sum(axis=0) ** 2 / np.maximum((influence**2).sum(axis=0), 1e-300) - 1
    return covariance, np.maximum(1.0, freedom)


def _leverage(V: Floats, D: Floats, weights: Floats) -> Floats:
    """How far each row pulls the coefficients."""
    if not V.shape[1]:
        return np.zeros(len(V))
    bread = np.linalg.pinv((V * weights[:, None]).T @ D)
    return np.asarray(weights * ((D @ bread) * V).sum(axis=1), dtype=np.float64)


def _swept(effects: Effects, weights: Floats, *blocks: Floats) -> list[Floats]:
    widths = np.cumsum([block.shape[1] for block in blocks])[:-1]
    return list(np.split(effects.residual(np.concatenate(blocks, axis=1), weights), widths, axis=1))


def _informative(y: Floats, effects: Effects) -> NDArray[np.bool_]:
    """Rows whose cell and period have any sales; a cell without one fits any price."""
    used = np.ones(len(y), dtype=bool)
    while True:
        before = int(used.sum())
        for codes in (effects.cell, effects.period):
            used &= np.bincount(codes, np.where(used, y, 0.0), int(codes.max()) + 1)[codes] > 0
        if int(used.sum()) == before:
            return used


def _start(y: Floats, shift: Floats) -> Floats:
    rate = y.mean() / np.exp(shift).mean()
    start: Floats = (y + rate * np.exp(shift)) / 2 + 1e-9
    return start


def _deviance(y: Floats, mean: Floats) -> float:
    positive = y > 0
    return float(2 * (np.sum(y[positive] * np.log(y[positive] / mean[positive])) - np.sum(y - mean)))


def _solve(left: Floats, right: Floats) -> Floats:
    return np.asarray(np.linalg.lstsq(left, right, rcond=1e-12)[0], dtype=np.float64) if len(left) else np.empty(0)


def _sums(codes: Codes, values: Floats, count: int) -> Floats:
    """Sums of each column by code, shape (count, columns)."""
    if not values.shape[1]:
        return np.empty((count, 0))
    return np.column_stack([np.bincount(codes, column, count) for column in values.T])


def _compact(codes: Codes) -> Codes:
    return np.unique(codes, return_inverse=True)[1].astype(np.int64)


def _spread(values: Floats, keep: NDArray[np.bool_]) -> Floats:
    whole = np.full((len(keep), *values.shape[1:]), np.nan)
    whole[keep] = values
    return whole
