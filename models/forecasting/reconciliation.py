"""Forecasts that add up: each total the sum of its parts, at every step.

Minimum trace reconciliation in its projection form: of all vectors that satisfy the sums C y = 0, the one nearest to
the forecasts ŷ in the metric of their error covariance W,

    ỹ = ŷ − W Cᵀ (C W Cᵀ)⁻¹ C ŷ.

W at a step is D R D: D the error scales that the intervals are made from, R the correlation of the errors at the
rolling origins, shrunk towards none. Where a series is never negative, a negative result is set to zero and the others
are reconciled again around it.

References: Wickramasuriya, Athanasopoulos and Hyndman 2019 (minimum trace); Schäfer and Strimmer 2005 (the shrinkage);
Di Fonzo and Girolimetto 2024 (the projection for any linear constraints); Wickramasuriya, Turlach and Hyndman 2020
(non-negative reconciliation).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from models.forecasting.hierarchy import Sum
from models.forecasting.series import Floats

Bools = np.ndarray[Any, np.dtype[np.bool_]]
_MOST_CORRELATED = 1_000  # series in one system; beyond, R is the identity (weighted least squares)


def systems(sums: Sequence[Sum]) -> list[tuple[tuple[str, ...], Floats]]:
    """Sums that share series, together: names and constraints C of shape (sums, names) of each such system."""
    groups: list[tuple[list[str], list[Sum]]] = []
    for one in sums:
        names, members = [one.total, *one.parts], [one]
        rest = []
        for known, others in groups:
            if set(known) & set(names):
                names, members = [*known, *names], [*others, *members]
            else:
                rest.append((known, others))
        groups = [*rest, (list(dict.fromkeys(names)), members)]
    found = []
    for names, members in groups:
        place = {name: k for k, name in enumerate(names)}
        matrix = np.zeros((len(members), len(names)))
        for row, one in enumerate(members):
            matrix[row, place[one.total]] = 1.0
            matrix[row, [place[name] for name in one.parts]] -= 1.0
        found.append((tuple(names), matrix))
    return found


def shrunk_correlation(errors: Floats) -> Floats | None:
    """Correlation of errors around zero, shrunk towards the identity by the intensity of Schäfer and Strimmer 2005.

    Parameters
    ----------
    errors : shape (observations, series).

    Returns
    -------
    shape (series, series); None for the identity: fewer than three observations, or more than a thousand series.
    """
    count, series = errors.shape
    if count < 3 or series > _MOST_CORRELATED:
        return None
    size = np.sqrt(np.mean(errors**2, axis=0))
    scaled = np.divide(errors, size, out=np.zeros_like(errors), where=size > 0)
    raw = scaled.T @ scaled / count
    spread = ((scaled**2).T @ (scaled**2) / count - raw**2) / (count - 1)
    np.fill_diagonal(spread, 0.0)
    off = raw - np.diag(np.diag(raw))
    power = float(np.sum(off**2))
    shrink = 1.0 if power == 0 else float(np.clip(np.sum(spread) / power, 0.0, 1.0))
    return np.asarray((1 - shrink) * off + np.eye(series))


def reconciled(base: Floats, constraints: Floats, scales: Floats, correlation: Floats | None, stop: Bools) -> Floats:
    """Forecasts that satisfy the constraints.

    Parameters
    ----------
    base, scales : forecasts and their error scales (> 0), shape (series, steps).
    constraints : shape (sums, series).
    correlation : of the errors, shape (series, series); None for none.
    stop : which series stop at zero, shape (series,).

    Returns
    -------
    shape (series, steps).
    """
    if correlation is None:
        columns = [_nearest(base[:, k], constraints, scales[:, k], None) for k in range(base.shape[1])]
        result = np.column_stack(columns)
    else:
        # As `_nearest`, for all steps at once.
        scaled = constraints[None] * scales.T[:, None, :]
        right = correlation @ np.swapaxes(scaled, 1, 2)
        inverse = np.linalg.pinv(scaled @ right, hermitian=True)
        move = right @ inverse @ (constraints @ base).T[:, :, None]
        result = base - scales * move[:, :, 0].T
    for step in np.flatnonzero((stop[:, None] & (result < 0)).any(axis=0)):
        result[:, step] = _above_zero(result[:, step], base[:, step], constraints, scales[:, step], correlation, stop)
    return np.asarray(result)


def _nearest(base: Floats, constraints: Floats, scale: Floats, correlation: Floats | None) -> Floats:
    """ŷ − D R (C D)ᵀ [C D R (C D)ᵀ]⁻¹ C ŷ: the projection in units of the error scales D."""
    scaled = constraints * scale
    right = scaled.T if correlation is None else correlation @ scaled.T
    inverse = np.linalg.pinv(scaled @ right, hermitian=True)
    return np.asarray(base - scale * (right @ (inverse @ (constraints @ base))))


def _above_zero(
    found: Floats, base: Floats, constraints: Floats, scale: Floats, correlation: Floats | None, stop: Bools
) -> Floats:
    """The projection with what would be negative held at zero: a series without an error scale does not move."""
    held = np.zeros(len(base), dtype=bool)
    while True:
        below = stop & ~held & (found < 0)
        if not below.any():
            return found
        held |= below
        found = _nearest(np.where(held, 0.0, base), constraints, np.where(held, 0.0, scale), correlation)
        found[held] = 0.0
