"""Logistic regression that can bend: piecewise-linear in every number, ridge penalty chosen by cross-validation.

Numbers are imputed by their median (a missing indicator tells), standardised, and joined by hinges max(0, x − knot) at
quantiles (Friedman's truncated power basis of degree 1, *The Elements of Statistical Learning*, §5.2).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.churn.encoding import Encoder, Matrix

MOST_KNOTS = 10
FEWEST_KNOTS = 3
MOST_HINGES = 300
FEWEST_VALUES = 8
WIDE = 400

# Inverse penalties, strongest first.
STRENGTHS = (0.0001, 0.001, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)


@dataclass(frozen=True)
class LinearBasis:
    """Fitted expansion of encoded rows into the columns of the regression.

    Attributes
    ----------
    numeric : the first `numeric` encoded positions are numbers.
    centre, scale, fill : per number; `fill` replaces NaN.
    missing : positions that get a missing indicator.
    hinge_at, hinge_knot, hinge_scale : one entry per hinge, on the standardised number.
    indicators : positions taken as they are.
    codes : (position, number of codes) of native categories, expanded into indicators.
    mean : of the columns of the design over the training rows; what contributions are counted from.
    """

    numeric: int
    centre: NDArray[np.float64]
    scale: NDArray[np.float64]
    fill: NDArray[np.float64]
    missing: NDArray[np.intp]
    hinge_at: NDArray[np.intp]
    hinge_knot: NDArray[np.float64]
    hinge_scale: NDArray[np.float64]
    indicators: NDArray[np.intp]
    codes: tuple[tuple[int, int], ...]
    mean: NDArray[np.float64]

    @classmethod
    def fit(cls, matrix: Matrix, encoder: Encoder) -> LinearBasis:
        """Learn medians, scales and knots from encoded training rows."""
        count = encoder.numeric_width
        numbers = matrix[:, :count]
        lacking = np.isnan(numbers)
        fill = np.array([_median(column) for column in numbers.T])
        filled = np.where(lacking, fill, numbers)
        centre = filled.mean(axis=0)
        scale = filled.std(axis=0)
        scale = np.where(scale > 1e-12 * (1.0 + np.abs(centre)), scale, 1.0)
        standard = (filled - centre) / scale
        at: list[int] = []
        knots: list[float] = []
        spreads: list[float] = []
        if count <= WIDE:
            each = min(MOST_KNOTS, max(FEWEST_KNOTS, MOST_HINGES // max(1, count)))
            quantiles = (np.arange(each) + 0.5) / each
            for i in range(count):
                values = np.unique(standard[:, i])
                if len(values) < FEWEST_VALUES:
                    continue
                for knot in np.unique(np.quantile(standard[:, i], quantiles)):
                    spread = float(np.maximum(standard[:, i] - knot, 0.0).std())
                    if values[0] < knot < values[-1] and spread > 1e-9:
                        at.append(i)
                        knots.append(float(knot))
                        spreads.append(spread)
        native = dict(zip(encoder.native, encoder.cardinalities, strict=True))
        basis = cls(
            count,
            centre,
            scale,
            fill,
            np.flatnonzero(lacking.any(axis=0)),
            np.asarray(at, dtype=np.intp),
            np.asarray(knots, dtype=np.float64),
            np.asarray(spreads, dtype=np.float64),
            np.asarray([i for i in range(count, matrix.shape[1]) if i not in native], dtype=np.intp),
            tuple(native.items()),
            np.empty(0),
        )
        return replace(basis, mean=basis.design(matrix).mean(axis=0))

    @property
    def positions(self) -> tuple[int, ...]:
        """The encoded position that every column of the design came from."""
        expanded = [at for at, size in self.codes for _ in range(size)]
        return (
            *range(self.numeric),
            *self.hinge_at.tolist(),
            *self.missing.tolist(),
            *self.indicators.tolist(),
            *expanded,
        )

    def design(self, matrix: Matrix) -> Matrix:
        """Columns of the regression: float64, shape (rows, width)."""
        numbers = matrix[:, : self.numeric]
        lacking = np.isnan(numbers)
        standard = (np.where(lacking, self.fill, numbers) - self.centre) / self.scale
        # Far outside what was seen a line goes astray: numbers are held within 5 standard deviations or the fill.
        standard = np.clip(standard, -5.0, 5.0)
        parts = [
            standard,
            np.maximum(standard[:, self.hinge_at] - self.hinge_knot, 0.0) / self.hinge_scale,
            lacking[:, self.missing].astype(np.float64),
            matrix[:, self.indicators],
        ]
        parts += [(matrix[:, [at]] == np.arange(size)).astype(np.float64) for at, size in self.codes]
        return np.concatenate(parts, axis=1)

    def to_dict(self) -> dict[str, Any]:
        return {
            name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in self.__dict__.items()
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> LinearBasis:
        whole = {"missing", "hinge_at", "indicators"}
        values: dict[str, Any] = {}
        for name, value in data.items():
            if name == "numeric":
                values[name] = int(value)
            elif name == "codes":
                values[name] = tuple((int(at), int(size)) for at, size in value)
            else:
                values[name] = np.asarray(value, dtype=np.intp if name in whole else np.float64)
        if "mean" not in values:  # models of the first release count from the origin of the design
            basis = cls(**values, mean=np.empty(0))
            return replace(basis, mean=np.zeros(len(basis.positions)))
        return cls(**values)


def _median(column: NDArray[np.float64]) -> float:
    present = column[~np.isnan(column)]
    return float(np.median(present)) if len(present) else 0.0


def fit_ridge(design: Matrix, y: NDArray[np.int64], strength: float) -> Any:
    """sklearn LogisticRegression with ridge penalty; `strength` is the inverse of the penalty (sklearn's C)."""
    return _regression(design.shape[1], strength).fit(design, y)


def ridge_path(
    learn: Matrix, y: NDArray[np.int64], held: Matrix, held_y: NDArray[np.int64], strengths: Sequence[float]
) -> list[NDArray[np.float64]]:
    """Log-odds of held-out rows for rising strengths, each fit starting from the one before.

    The path ends once the held-out loss is 2 % above its best: weaker penalties would only go on rising. What is left
    of it repeats the last fit.
    """
    regression = _regression(learn.shape[1], strengths[0])
    regression.warm_start = True
    path: list[NDArray[np.float64]] = []
    losses: list[float] = []
    for strength in strengths:
        regression.C = strength
        regression.fit(learn, y)
        z = np.asarray(regression.decision_function(held))
        path.append(z)
        losses.append(float(np.mean(np.logaddexp(0.0, z) - held_y * z)))
        if losses[-1] > 1.02 * min(losses):
            break
    return path + path[-1:] * (len(strengths) - len(path))


def _regression(width: int, strength: float) -> Any:
    from sklearn.linear_model import LogisticRegression

    wide = width > WIDE
    return LogisticRegression(
        C=strength, solver="lbfgs" if wide else "newton-cholesky", max_iter=200 if wide else 50, tol=1e-5
    )


def log_odds(design: Matrix, coefficients: NDArray[np.float64], intercept: float) -> NDArray[np.float64]:
    """Row sums rather than a matrix product: BLAS rounds one row differently from many."""
    return np.asarray((design * coefficients).sum(axis=1) + intercept)
