"""Columns that give the target away: written after the fact, or the target under another name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

SUSPECT_AUC = 0.98
STRONG_AUC = 0.95
SUSPECT_PURITY = 0.98
SUSPECT_COVERAGE = 0.30
NAMED_AUC = 0.65
MIN_POSITIVES = 20
MAX_BINS = 20

# Words of a target's name that say nothing about what it means: `status` must not accuse `marital_status`.
_EMPTY_WORDS = frozenset(
    {"is", "has", "had", "was", "will", "be", "did", "the", "a", "y", "target", "label", "class", "flag", "value"}
    | {"outcome", "status", "result", "response", "event", "customer", "client", "user", "account", "binary", "bool"}
    | {"indicator", "next", "month", "day", "days", "year", "0", "1", "no", "yes", "num", "count"}
)


@dataclass(frozen=True)
class SuspectedLeak:
    """A column that knows too much.

    Attributes
    ----------
    auc : area under the ROC curve of this column alone (its values in at most 20 bins, missing as one of them).
    evidence : what was seen, in a sentence.
    """

    column: str
    auc: float
    evidence: str

    def to_dict(self) -> dict[str, Any]:
        return {"column": self.column, "auc": round(self.auc, 4), "evidence": self.evidence}


@dataclass(frozen=True)
class StrongColumn:
    """A column that alone tells nearly everything, by rights or not: only who knows the data can say.

    Attributes
    ----------
    auc : as of a suspected leak.
    """

    column: str
    auc: float

    @property
    def question(self) -> str:
        """What to ask about it, in two sentences."""
        return (
            f"{self.column!r} alone ranks the rows very well (AUC {self.auc:.3f}). "
            "Is it known before the customer leaves?"
        )

    def to_dict(self) -> dict[str, Any]:
        return {"column": self.column, "auc": round(self.auc, 4)}


def suspect(
    name: str, series: pd.Series, numeric: bool, y: NDArray[np.int64], target: str
) -> SuspectedLeak | StrongColumn | None:
    """Judge one column against the target.

    Suspected when the column alone ranks almost perfectly (AUC ≥ .98), when one value, range or its being missing
    is nearly all positive (≥ 98 %) and holds at least 30 % of the positives, or when it is named after the target and
    ranks clearly better than chance. Not suspected, but strong, when it alone ranks with an AUC ≥ .95. A column that
    ranks so well only the rows that its rates come from, not one half of them by the rates of the other, has many rare
    levels and is neither. Fewer than 20 positives judge nothing.

    Parameters
    ----------
    numeric : whether the values are ordered numbers (binned by quantile) or levels.
    y : 0/1, one a row.
    """
    positives = int(y.sum())
    if min(positives, len(y) - positives) < MIN_POSITIVES:
        return None
    codes, labels = _bins(series, numeric)
    count = np.bincount(codes, minlength=len(labels)).astype(np.float64)
    hits = np.bincount(codes, weights=y, minlength=len(labels)).astype(np.float64)
    # Rates are shrunk towards the base rate, so that a column of many rare levels is not accused for its luck.
    base = positives / len(y)
    rate = (hits + 2.0 * base) / (count + 2.0)
    auc = _auc_of_bins(rate, count, hits)
    near = auc >= STRONG_AUC and _holds_across_halves(codes, y, len(labels))
    if near and auc >= SUSPECT_AUC:
        return SuspectedLeak(name, auc, f"{name!r} alone ranks the rows almost perfectly (AUC {auc:.3f})")
    if base <= 0.7:
        pure = (hits >= SUSPECT_PURITY * count) & (hits >= MIN_POSITIVES)
        covered = float(hits[pure].sum() / positives)
        if covered >= SUSPECT_COVERAGE:
            where = int(np.argmax(np.where(pure, hits, -1.0)))
            return SuspectedLeak(
                name,
                auc,
                f"{name!r} {labels[where]}: {int(hits[where])} of {int(count[where])} such rows are positive, "
                f"{covered:.0%} of all positives are found this way",
            )
    shared = _words(name) & (_words(target) - _EMPTY_WORDS)
    if shared and auc >= NAMED_AUC:
        return SuspectedLeak(name, auc, f"{name!r} is named after the target {target!r} and ranks it (AUC {auc:.3f})")
    return StrongColumn(name, auc) if near else None


def _holds_across_halves(codes: NDArray[np.intp], y: NDArray[np.int64], bins: int) -> bool:
    """A column of many rare levels ranks the very rows that its rates come from well, and no others."""
    one, other = (np.arange(len(y)) % 2 == k for k in (0, 1))
    if min(y[other].sum(), (1 - y[other]).sum()) == 0:
        return False
    count, hits = (np.bincount(codes[one], weights=weights, minlength=bins) for weights in (None, y[one]))
    rate = (hits + 2.0 * y.mean()) / (count + 2.0)
    count, hits = (np.bincount(codes[other], weights=weights, minlength=bins) for weights in (None, y[other]))
    return _auc_of_bins(rate, count.astype(np.float64), hits.astype(np.float64)) >= STRONG_AUC


def _words(name: str) -> set[str]:
    split = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", name)
    words = {word.lower() for word in re.split(r"[^A-Za-z0-9]+", split) if word}
    return {re.sub(r"(ed|s|ing)$", "", word) if len(word) > 4 else word for word in words}


def _bins(series: pd.Series, numeric: bool) -> tuple[NDArray[np.intp], list[str]]:
    """Bin of every row and how to name it in a sentence; the last one is "is missing"."""
    if numeric:
        values = series.to_numpy(dtype=np.float64)
        present = values[~np.isnan(values)]
        distinct, counts = np.unique(present, return_counts=True)
        if len(distinct) <= MAX_BINS:
            codes = np.searchsorted(distinct, values)
            labels = [f"= {value:g}" for value in distinct]
        else:
            edges = np.unique(np.quantile(present, np.linspace(0, 1, MAX_BINS + 1)[1:-1]))
            codes = np.searchsorted(edges, values, side="right")
            low, high = [present.min(), *edges], [*edges, present.max()]
            labels = [f"between {a:g} and {b:g}" for a, b in zip(low, high, strict=True)]
            # A value that many rows share is a bin of its own: a balance of 0 must not hide among small ones.
            shared = distinct[counts >= len(present) / MAX_BINS]
            for value in shared:
                codes = np.where(values == value, len(labels), codes)
                labels.append(f"= {value:g}")
        codes = np.where(np.isnan(values), len(labels), codes)
    else:
        raw, levels = pd.factorize(series)
        labels = [f"= {level!r}" for level in levels]
        codes = np.where(raw < 0, len(labels), raw)
    return codes.astype(np.intp), [*labels, "is missing"]


def _auc_of_bins(rate: NDArray[np.float64], count: NDArray[np.float64], hits: NDArray[np.float64]) -> float:
    order = np.argsort(rate, kind="stable")
    positive, negative = hits[order], (count - hits)[order]
    below = np.cumsum(negative) - negative
    return float((positive * (below + 0.5 * negative)).sum() / (positive.sum() * negative.sum()))
