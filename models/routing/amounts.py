"""Costs, tokens and times of an answer: amounts that are never below zero and differ by factors.

log amount is predicted by ridge regression; the amount is what that says times a factor for each model that makes the
mean right again (Duan's smearing, 1983): the mean of a logarithm is not the logarithm of the mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.routing.fitting import Found, find_ridge
from models.routing.material import Material
from models.routing.members import Linear

Floats = NDArray[np.float64]
Vectors = NDArray[np.float32]

# Amounts of nothing are taken for this share of the usual one.
_LEAST = 1e-3
# A prediction may lie so many times beyond what was ever seen of the model.
_BEYOND = 3.0


@dataclass(frozen=True)
class Amounts:
    """Amounts of each model.

    Attributes
    ----------
    logarithm : predicts log amount.
    factor : (models).
    low, high : (models), bounds.
    """

    logarithm: Linear
    factor: Floats
    low: Floats
    high: Floats

    def predict(self, vectors: Vectors) -> Floats:
        made: Floats = np.clip(
            self.factor * np.exp(np.minimum(self.logarithm.predict(vectors), 60.0)), self.low, self.high
        )
        return made


@dataclass(frozen=True)
class FoundAmounts:
    """Amounts, and what was said of rows that were not seen: `predicted` by prompt, `apart` with whole groups held out,
    None where there are no such groups."""

    amounts: Amounts
    predicted: Floats
    apart: Floats | None
    settings: dict[str, float | int | str]


def find_amounts(given: Material, amount: Floats) -> FoundAmounts:
    """Fit amounts from what was seen of them."""
    logarithm = logarithm_of(amount)
    found: Found = find_ridge(given, logarithm)
    factor = factor_of(amount, np.exp(found.predicted))
    assert isinstance(found.member, Linear)
    low, high = bounds_of(amount)
    made = Amounts(found.member, factor, low, high)

    def amounts(said: Floats) -> Floats:
        told: Floats = np.clip(np.exp(np.minimum(said, 60.0)) * factor, low, high)
        return told

    apart = None if found.apart is None else amounts(found.apart)
    return FoundAmounts(made, amounts(found.predicted), apart, found.settings)


def logarithm_of(amount: Floats) -> Floats:
    """log amount, NaN where it was not seen."""
    seen = amount[~np.isnan(amount) & (amount > 0)]
    least = _LEAST * float(np.median(seen)) if len(seen) else 1e-9
    made: Floats = np.log(np.maximum(amount, least))
    return made


def factor_of(amount: Floats, said: Floats) -> Floats:
    """Sum of the amounts over the sum of what was said of them, for each model; 0 for one that never took anything."""
    seen = ~np.isnan(amount)
    total = np.nansum(amount, axis=0)
    told = np.where(seen, said, 0.0).sum(axis=0)
    overall = total.sum() / told.sum() if told.sum() > 0 else 1.0
    # Few rows leave the factor near that of all models.
    few = 5.0 * told / np.maximum(seen.sum(axis=0), 1)
    made: Floats = np.where(seen.any(axis=0), (total + overall * few) / np.maximum(told + few, 1e-300), overall)
    never = seen.any(axis=0) & (np.nanmax(np.where(seen, amount, 0.0), axis=0) <= 0.0)
    return np.where(never, 0.0, made)


def bounds_of(amount: Floats) -> tuple[Floats, Floats]:
    """What a prediction may be at least and at most, by model."""
    seen = ~np.isnan(amount)
    overall = float(np.nanmax(amount)) if seen.any() else 1.0
    smallest = np.where(seen, amount, np.inf).min(axis=0)
    largest = np.where(seen, amount, -np.inf).max(axis=0)
    low = np.where(np.isfinite(smallest), smallest / _BEYOND, 0.0)
    high = np.where(np.isfinite(largest), largest * _BEYOND, overall * _BEYOND)
    return low, high
