"""What a model looks at, over many customers: the mean size of every column's contribution, with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.churn.model import ChurnModel
from models.churn.reasons.contributions import contributions

# Enough for three digits; contributions of more rows would only take time.
MOST_ROWS = 2_000
REPLICATES = 400


@dataclass(frozen=True)
class Importance:
    """One column's weight in what the model says.

    Attributes
    ----------
    value, low, high : mean absolute contribution to the log-odds, with its 95 % interval.
    share : of the sum over all columns.
    unit, meaning : of a feature of the platform; empty for a column of somebody's own.
    """

    column: str
    value: float
    low: float
    high: float
    share: float
    unit: str = ""
    meaning: str = ""

    def to_dict(self) -> dict[str, Any]:
        return {
            "column": self.column,
            "value": round(self.value, 6),
            "low": round(self.low, 6),
            "high": round(self.high, 6),
            "share": round(self.share, 6),
            "unit": self.unit,
            "meaning": self.meaning,
        }


def importance(
    model: ChurnModel, frame: pd.DataFrame, groups: NDArray[Any] | None = None, *, seed: int = 0
) -> list[Importance]:
    """Mean absolute contribution of every column over the rows of a frame, largest first, ties by name.

    Percentile bootstrap over groups. Of more than 2,000 rows an even 2,000 are taken.

    Parameters
    ----------
    groups : one key per row; rows that share one are not independent. None when every row is its own.
    """
    if not len(frame):
        return []
    if len(frame) > MOST_ROWS:
        kept = np.linspace(0, len(frame) - 1, MOST_ROWS).astype(int)
        frame = frame.iloc[kept]
        groups = None if groups is None else groups[kept]
    sizes = np.abs(contributions(model, frame).values)
    value = sizes.mean(axis=0)
    low, high = _interval(sizes, groups, seed)
    total = float(value.sum())
    told = _features(model.columns)
    found = [
        Importance(
            name,
            float(value[i]),
            float(min(low[i], value[i])),
            float(max(high[i], value[i])),
            float(value[i]) / total if total > 0 else 0.0,
            *told.get(name, ("", "")),
        )
        for i, name in enumerate(model.columns)
    ]
    return sorted(found, key=lambda one: (-one.value, one.column))


def _interval(
    sizes: NDArray[np.float64], groups: NDArray[Any] | None, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    codes = np.arange(len(sizes)) if groups is None else pd.factorize(groups)[0]
    count = int(codes.max()) + 1
    sums = np.zeros((count, sizes.shape[1]))
    np.add.at(sums, codes, sizes)
    rows = np.bincount(codes, minlength=count).astype(np.float64)
    weights = np.random.default_rng(seed).multinomial(count, np.full(count, 1.0 / count), size=REPLICATES)
    means = (weights @ sums) / (weights @ rows)[:, None]
    low, high = np.quantile(means, (0.025, 0.975), axis=0)
    return low, high


def _features(columns: Sequence[str]) -> dict[str, tuple[str, str]]:
    from features.views.churn_features import FEATURES

    return {name: FEATURES[name] for name in columns} if all(name in FEATURES for name in columns) else {}
