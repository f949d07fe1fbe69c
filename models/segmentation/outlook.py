"""What a segment says about the next period: the mean of its customers' behaviour one horizon later.

A division of customers is worth what it says about what they do next. So every division, one segment or thirty, is
judged alike: for a customer who was never trained on, at a later moment, the squared distance between the behaviour
that came and the mean of the segment, each column in units of its spread among the training rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from store.errors import InvalidValue, MissingColumn

Floats = NDArray[np.float64]

# A segment counts as if this many rows of everybody's mean belonged to it: a tiny one is no oracle.
_PRIOR_ROWS = 5.0
_FLAT = 1e-9


@dataclass(frozen=True)
class Outlook:
    """Means of log(1 + next behaviour), shape (segments, targets)."""

    targets: tuple[str, ...]
    means: Floats

    def predict(self, codes: NDArray[np.intp]) -> Floats:
        return self.means[codes]

    def to_dict(self) -> dict[str, Any]:
        return {"targets": list(self.targets), "means": self.means.tolist()}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Outlook:
        return cls(tuple(data["targets"]), np.asarray(data["means"], dtype=np.float64))


def next_behaviour(frame: pd.DataFrame, targets: Sequence[str]) -> Floats:
    """log(1 + x) of what came after each row's moment, shape (rows, targets).

    Raises
    ------
    MissingColumn, InvalidValue : a target is absent or not known in some row.
    """
    for name in targets:
        if name not in frame.columns:
            raise MissingColumn(
                f"There is no column {name!r}.", remedy="Judge on rows whose next period is known.", field=name
            )
        if frame[name].isna().any():
            raise InvalidValue(
                f"{name} is not known in {int(frame[name].isna().sum())} of {len(frame)} rows.",
                remedy="Judge on rows whose next period is over.",
                field=name,
            )
    values = np.column_stack([frame[name].to_numpy(np.float64) for name in targets])
    return np.asarray(np.log1p(np.maximum(values, 0.0)))


def fit_outlook(codes: NDArray[np.intp], y: Floats, count: int, targets: Sequence[str]) -> Outlook:
    """Means by segment, drawn towards the mean of everybody where a segment has few rows."""
    overall = y.mean(axis=0)
    rows = np.bincount(codes, minlength=count)[:, None]
    sums = np.stack([np.bincount(codes, weights=column, minlength=count) for column in y.T], axis=1)
    return Outlook(tuple(targets), (sums + _PRIOR_ROWS * overall) / (rows + _PRIOR_ROWS))


def loss_rows(predicted: Floats, y: Floats, reference: Floats) -> Floats:
    """Mean over the targets of the squared error in units of the spread of `reference`; 1 is what one mean for all
    customers costs. Targets that do not vary in the reference say nothing and are left out.

    Parameters
    ----------
    predicted, y : (rows, targets); reference : the same of the training rows.
    """
    spread = reference.std(axis=0)
    used = spread > _FLAT
    if not used.any():
        return np.zeros(len(y))
    return np.asarray((((predicted - y)[:, used] / spread[used]) ** 2).mean(axis=1))
