"""Bins fixed on a reference, and how far the shares in them have moved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Kind = Literal["number", "category"]
Counts = NDArray[np.float64]

MISSING, OTHER = "(missing)", "(other)"
# Added to every bin, so that an empty one makes a share small and not zero (Jeffreys).
_PSEUDO = 0.5


@dataclass(frozen=True)
class Bins:
    """Bins of one feature.

    Attributes
    ----------
    labels : of the bins in order, the last one for missing values; for categories the one before for other levels.
    edges : of a number's bins, ascending; a value belongs to the first bin whose edge it does not exceed.
    levels : level → place of its bin, for categories.
    """

    kind: Kind
    labels: tuple[str, ...]
    edges: tuple[float, ...] = ()
    levels: Mapping[str, int] | None = None

    def place(self, values: pd.Series) -> NDArray[np.intp]:
        """Place of the bin of every value."""
        last = len(self.labels) - 1
        if self.kind == "number":
            numbers = as_numbers(values)
            placed = np.searchsorted(np.asarray(self.edges), numbers, side="left").astype(np.intp)
            return np.where(np.isnan(numbers), last, placed)
        assert self.levels is not None
        codes, uniques = pd.factorize(as_text(values))
        of_level = np.array([self.levels.get(str(level), last - 1) for level in uniques] + [last], dtype=np.intp)
        return of_level[codes]  # factorize gives −1 to what is missing: the last one

    def count(self, values: pd.Series) -> Counts:
        """Rows in each bin."""
        return np.bincount(self.place(values), minlength=len(self.labels)).astype(np.float64)


def kind_of(values: pd.Series) -> Kind:
    """Numbers are binned by quantiles; everything else, flags included, by its levels."""
    if pd.api.types.is_bool_dtype(values.dtype):
        return "category"
    if pd.api.types.is_numeric_dtype(values.dtype):
        return "number"
    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        return "number"
    numeric = {"integer", "floating", "mixed-integer-float", "decimal"}
    return "number" if pd.api.types.infer_dtype(values, skipna=True) in numeric else "category"


def as_numbers(values: pd.Series) -> NDArray[np.float64]:
    """Numbers as float64, NaN where missing; dates as days since 1970."""
    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        naive = values.dt.tz_convert(None) if values.dt.tz is not None else values
        values = (naive - pd.Timestamp(0)) / pd.Timedelta(days=1)
    return np.asarray(values.to_numpy(dtype=np.float64, na_value=np.nan), dtype=np.float64)


def as_text(values: pd.Series) -> pd.Series:
    """Levels as text, missing ones as None."""
    return values.map(lambda value: None if _absent(value) else str(value)).astype(object)


def bins_of(reference: pd.Series, *, bins: int = 10, levels: int = 50) -> Bins:
    """Bins from the reference: quantiles of a number, the most frequent levels of a category.

    A number with few distinct values gets a bin for each of them and for each gap, so that a value of its own (0, a
    price) is not mixed with what lies around it.
    """
    kind = kind_of(reference)
    if kind == "category":
        counts = as_text(reference).value_counts()
        # Ties in one order, whatever the order of the rows.
        kept = sorted(counts.index, key=lambda level: (-counts[level], level))[:levels]
        kept.sort()
        return Bins(kind, (*kept, OTHER, MISSING), levels={level: place for place, level in enumerate(kept)})
    numbers = as_numbers(reference)
    numbers = numbers[~np.isnan(numbers)]
    distinct = np.unique(numbers)
    if 0 < len(distinct) <= bins:
        below = np.nextafter(distinct, -np.inf)
        edges = np.column_stack([below, distinct]).ravel()
    else:
        shares = np.linspace(0, 1, bins + 1)[1:-1]
        inner = np.quantile(numbers, shares, method="inverted_cdf") if len(numbers) else np.empty(0)
        edges = np.unique(inner)
    return Bins(kind, (*_ranges(edges), MISSING), edges=tuple(float(edge) for edge in edges))


def psi(reference: Counts, now: Counts) -> float:
    """Population stability index of two sets of counts in the same bins: Σ (qᵢ − pᵢ) ln(qᵢ/pᵢ).

    The symmetrised Kullback–Leibler divergence (Siddiqi 2006, *Credit Risk Scorecards*), with half a row added to each
    bin. 0 where nothing moved; below 0.1 little, above 0.2 much.
    """
    p = (reference + _PSEUDO) / (reference.sum() + _PSEUDO * len(reference))
    q = (now + _PSEUDO) / (now.sum() + _PSEUDO * len(now))
    return float(np.sum((q - p) * np.log(q / p)))


def psi_by_chance(reference: float, now: float, bins: int) -> float:
    """What the index is on average when nothing moved: (B − 1)(1/n + 1/m), for n and m rows in B bins (Yurdakul and
    Naranjo 2020, *Statistical properties of the population stability index*)."""
    return (bins - 1) * (1.0 / max(reference, 1.0) + 1.0 / max(now, 1.0))


def _ranges(edges: Any) -> list[str]:
    if len(edges) == 0:
        return ["any"]
    inner = [
        # A bin of one value ends where it begins, at any number of digits that people read.
        f"{high:.4g}" if f"{low:.4g}" == f"{high:.4g}" else f"{low:.4g} to {high:.4g}"
        for low, high in pairwise(edges)
    ]
    return [f"≤ {edges[0]:.4g}", *inner, f"> {edges[-1]:.4g}"]


def _absent(value: Any) -> bool:
    return value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and value != value)
