"""What a division and its value model are worth on customers and a period that neither has seen.

| name | definition |
|---|---|
| next_period_loss | mean of the per-row losses, see `models.segmentation.outlook`; 1 is one mean for all customers |
| silhouette | mean silhouette of the held-out customers, −1 to 1 |
| stability | mean adjusted Rand index with segments refitted to bootstrap samples; its interval holds 95 % of them |
| value_rmse | root mean squared error of the amount expected in the period, in its unit |
| value_rmse_naive | the same of a naive rule: buyers go on at their past rate and mean amount, subscribers all stay |
| value_total_error | (expected − actual) / actual of the amounts of all customers together |
| value_total_error_naive | the same of the naive rule |
| purchases_mae, purchases_mae_naive | mean absolute error of the number of purchases (buyers only) |
| purchases_total_error | (expected − actual) / actual of the purchases of all customers together (buyers only) |
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.lifecycle.evaluation import Estimate
from models.segmentation.behaviour import Behaviour
from models.segmentation.choice import silhouettes
from models.segmentation.model import SegmentationModel
from models.segmentation.value.subscriptions import MONTH_DAYS
from models.segmentation.value.valuing import value_columns

Floats = NDArray[np.float64]
_NAN = float("nan")


def estimates(
    model: SegmentationModel, losses: Floats, holdout: pd.DataFrame, replicates: int, seed: int
) -> dict[str, Estimate]:
    """Every metric with its 95 % interval, by bootstrap over the customers (one row each).

    The value model is judged only where it knew nothing of the period: a registered one was fitted to the end of the
    data of its day.
    """
    draw = _drawn(len(losses), replicates, seed)
    found = {"next_period_loss": _mean(losses, draw)}
    z = model.scaler.matrix(holdout)
    shape = silhouettes(z, model.codes(holdout), seed)
    found["silhouette"] = _mean(shape, _drawn(len(shape), replicates, seed)) if len(shape) else _unknown()
    agreement = np.asarray(model.facts.get("stability", []), dtype=np.float64)
    if len(agreement):
        low, high = np.quantile(agreement, (0.025, 0.975))
        found["stability"] = Estimate(float(agreement.mean()), float(low), float(high))
    else:
        found["stability"] = _unknown()
    if model.value is not None and pd.Timestamp(model.value_as_of) <= holdout["as_of"].min():
        found |= _of_value(model, holdout, draw)
    return found


def _of_value(model: SegmentationModel, holdout: pd.DataFrame, draw: NDArray[np.intp]) -> dict[str, Estimate]:
    assert model.value is not None
    columns = {name: holdout[name].to_numpy(np.float64) for name in value_columns(model.behaviour)}
    days = float(model.horizon_days)
    bought, amount = model.value.outlook(columns, days)
    actual_bought, actual = actual_of(model.behaviour, holdout, days)
    naive_bought, naive = naive_of(model.behaviour, holdout, days)
    found = {
        "value_rmse": _root(_mean((amount - actual) ** 2, draw)),
        "value_rmse_naive": _root(_mean((naive - actual) ** 2, draw)),
        "value_total_error": _statistic(lambda rows: _off(amount[rows], actual[rows]), draw),
        "value_total_error_naive": _statistic(lambda rows: _off(naive[rows], actual[rows]), draw),
    }
    if model.behaviour.name == "buyers":
        found["purchases_mae"] = _mean(np.abs(bought - actual_bought), draw)
        found["purchases_mae_naive"] = _mean(np.abs(naive_bought - actual_bought), draw)
        found["purchases_total_error"] = _statistic(lambda rows: _off(bought[rows], actual_bought[rows]), draw)
    return found


def actual_of(behaviour: Behaviour, rows: pd.DataFrame, days: float) -> tuple[Floats, Floats]:
    """Purchases (or months paid) and amount of the period that really came."""
    if behaviour.name == "buyers":
        return rows["next_orders"].to_numpy(np.float64), rows["next_spent"].to_numpy(np.float64)
    months = np.minimum(rows["observed_days"].to_numpy(np.float64), days) / MONTH_DAYS
    return months, months * rows["monthly_price"].to_numpy(np.float64)


def naive_of(behaviour: Behaviour, rows: pd.DataFrame, days: float) -> tuple[Floats, Floats]:
    """What a rule of thumb expects: the past goes on."""
    if behaviour.name == "buyers":
        age = np.maximum(rows["age_days"].to_numpy(np.float64), days)
        bought = rows["repeats"].to_numpy(np.float64) / age * days
        return bought, bought * rows["mean_amount"].to_numpy(np.float64)
    months = np.full(len(rows), days / MONTH_DAYS)
    return months, months * rows["monthly_price"].to_numpy(np.float64)


def _off(expected: Floats, actual: Floats) -> float:
    total = float(actual.sum())
    return (float(expected.sum()) - total) / total if total > 0 else _NAN


def _drawn(size: int, replicates: int, seed: int) -> NDArray[np.intp]:
    # Very many customers need fewer replicates, and their indices would not fit into memory.
    count = int(np.clip(20_000_000 // max(size, 1), 100, replicates))
    return np.random.default_rng(seed).integers(0, max(size, 1), size=(count, size))


def _mean(values: Floats, draw: NDArray[np.intp]) -> Estimate:
    if not len(values):
        return _unknown()
    low, high = np.quantile(np.array([values[rows].mean() for rows in draw]), (0.025, 0.975))
    return Estimate(float(values.mean()), float(low), float(high))


def _root(squares: Estimate) -> Estimate:
    return Estimate(*(float(np.sqrt(value)) for value in (squares.value, squares.low, squares.high)))


def _statistic(compute: Callable[[NDArray[np.intp] | slice], float], draw: NDArray[np.intp]) -> Estimate:
    sample = np.array([compute(rows) for rows in draw])
    sample = sample[np.isfinite(sample)]
    value = compute(slice(None))
    if not len(sample) or not np.isfinite(value):
        return Estimate(value, _NAN, _NAN)
    low, high = np.quantile(sample, (0.025, 0.975))
    return Estimate(value, float(low), float(high))


def _unknown() -> Estimate:
    return Estimate(_NAN, _NAN, _NAN)
