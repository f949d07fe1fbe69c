"""The textbook's log-log demand: log E[q] is linear in log prices, beside effects of place, trend and season.

Fitted by Poisson likelihood with a ridge penalty on everything but the intercept, so that zeros are welcome and a place
with few rows leans on its product. The own-price slope of each product is bounded above by zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from models.pricing.encoding import Encoder
from models.pricing.panel import Floats, Panel

ROUNDS = 300
SLOPE_PENALTY = 1.0
TREND_PENALTY = 4.0
SEASON_PENALTY = 20.0
"""A trend of e^0.5 over the time seen, and a season of ±20 %, are one standard deviation of what is expected."""


@dataclass(frozen=True)
class LogLog:
    """Fitted coefficients, in the order of `design`.

    Attributes
    ----------
    centre : usual log price of each product, so that slopes and levels do not fight.
    """

    encoder: Encoder
    coefficients: Floats
    intercept: float
    penalty: float
    name = "loglog"

    def mean(self, panel: Panel) -> Floats:
        """Expected quantity of each row."""
        design, _, _ = _design(self.encoder, panel)
        predictor = design @ self.coefficients + self.intercept
        return np.asarray(np.exp(np.clip(predictor, -40.0, 40.0)) * panel.length, dtype=np.float64)

    def to_dict(self) -> dict[str, Any]:
        return {"coefficients": self.coefficients.tolist(), "intercept": self.intercept, "penalty": self.penalty}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], encoder: Encoder) -> LogLog:
        return cls(encoder, np.asarray(data["coefficients"], dtype=np.float64), data["intercept"], data["penalty"])


def fit_loglog(encoder: Encoder, panel: Panel, penalty: float) -> LogLog:
    """Minimise Poisson loss over its dispersion plus half the penalty times the squared coefficients."""
    from scipy.optimize import minimize

    design, slopes, strength = _design(encoder, panel)
    y, exposure = panel.quantity, panel.length
    level = np.log(y.sum() / exposure.sum())
    usual = exposure * np.exp(level)
    # In units of its dispersion the loss of large quantities does not drown the penalty.
    dispersion = max(1.0, float(np.mean((y - usual) ** 2 / usual)) / 4)
    weights = np.r_[np.where(strength < 0, -strength, penalty * strength), 0.0]
    transposed = design.T.tocsr()

    def objective(parameters: Floats) -> tuple[float, Floats]:
        predictor = np.clip(design @ parameters[:-1] + parameters[-1], -40.0, 40.0)
        mean = np.exp(predictor) * exposure
        error = (mean - y) / dispersion
        loss = float((mean.sum() - y @ predictor) / dispersion + 0.5 * (weights * parameters**2).sum())
        gradient = np.r_[transposed @ error, error.sum()] + weights * parameters
        return loss, gradient

    start = np.zeros(design.shape[1] + 1)
    start[-1] = level
    bounds = [(None, 0.0) if slope else (None, None) for slope in slopes] + [(None, None)]
    best = minimize(objective, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": ROUNDS}).x
    return LogLog(encoder, best[:-1], float(best[-1]), penalty)


def _design(encoder: Encoder, panel: Panel) -> tuple[sparse.csr_matrix, list[bool], Floats]:
    """Columns, which of them are own-price slopes, and how strongly each is penalised: as a multiple of the penalty, or
    absolutely where negative."""
    rows = len(panel)
    product = encoder.level(panel, 0)
    products = len({unit[0] for unit in encoder.places})
    blocks: list[Any] = []
    slopes: list[bool] = []
    strength: list[float] = []

    def add(block: Any, slope: bool, penalty: float) -> None:
        blocks.append(block)
        slopes.extend([slope] * block.shape[1])
        strength.extend([penalty] * block.shape[1])

    _, off = encoder.log_price(panel)
    add(_indicators(product, products), False, 0.03)
    if len(encoder.places) > products:
        add(_indicators(encoder.place(panel), len(encoder.places)), False, 0.1)
    # Around what is usual at the place: the level of a price is the place's effect.
    # One slope for all products and each product's distance to it, both of one sign.
    add(sparse.csr_matrix(off[:, None]), True, 0.01)
    if products > 1:
        add(_indicators(product, products, off), True, SLOPE_PENALTY)
    dense: list[Floats] = []
    fixed: list[float] = []
    rival = encoder.log_rival(panel)
    if rival is not None:
        logs, _ = encoder.log_price(panel)
        gap = np.asarray([encoder.gap.get(name, 0.0) for name in panel.product.tolist()])
        dense.append(rival - (logs - off) - gap)
        fixed.append(0.1)
    trend = encoder.trend(panel)
    if trend is not None:
        dense.append(trend)
        fixed.append(-TREND_PENALTY)
    seasons, controls = encoder.seasons(panel), encoder.control_columns(panel)
    dense += seasons + controls
    fixed += [-SEASON_PENALTY] * len(seasons) + [0.1] * len(controls)
    if dense:
        blocks.append(sparse.csr_matrix(np.column_stack(dense)))
        slopes += [False] * len(dense)
        strength += fixed
    design = sparse.hstack(blocks, format="csr") if blocks else sparse.csr_matrix((rows, 0))
    return design, slopes, np.asarray(strength, dtype=np.float64)


def _indicators(codes: Any, count: int, values: Floats | None = None) -> sparse.csr_matrix:
    known = codes >= 0
    data = np.ones(int(known.sum())) if values is None else values[known]
    return sparse.csr_matrix((data, (np.flatnonzero(known), codes[known])), shape=(len(codes), count))
