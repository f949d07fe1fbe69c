"""Metrics of a probability of churn, each with its definition and a 95 % interval by bootstrap.

| name | definition |
|---|---|
| auc | probability that a positive row ranks above a negative one, ties count half |
| average_precision | Σ (recall gained) × precision over the distinct scores, highest first |
| log_loss | −mean(y ln p + (1 − y) ln(1 − p)), nats |
| brier | mean (p − y)² |
| ece | expected calibration error: ten bins of equal numbers of rows; Σ share × abs(mean p − share positive) |
| f1 | harmonic mean of precision and recall at the threshold |
| expected_value | money per row: (success × value × y − cost) where p ≥ threshold, else 0 |
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.lifecycle.evaluation import Estimate

Floats = NDArray[np.float64]

SMALLEST = 1e-12
BINS = 10
FEW = 20
CHUNK = 2_000_000
MOST_DRAWS = 20_000_000


@dataclass(frozen=True)
class Offer:
    """A retention offer.

    Attributes
    ----------
    cost : of making it, in currency.
    value : revenue saved when a leaving customer stays.
    success : share of leaving customers that stay because of it.
    """

    cost: float
    value: float
    success: float

    def threshold(self) -> float:
        """Probability above which an offer pays: success·value·p ≥ cost, so t = cost / (success·value), at most 1."""
        gain = self.success * self.value
        return 1.0 if gain <= self.cost else self.cost / gain


def sigmoid(z: Floats) -> Floats:
    """1 / (1 + e⁻ᶻ) without overflow."""
    e = np.exp(-np.abs(z))
    return np.where(z >= 0, 1.0 / (1.0 + e), e / (1.0 + e))


def log_loss_rows(y: NDArray[np.int64], p: Floats) -> Floats:
    """Log loss of every row, nats; probabilities are held within 1e-12 of 0 and 1."""
    held = np.clip(p, SMALLEST, 1.0 - SMALLEST)
    return np.asarray(-np.where(y == 1, np.log(held), np.log1p(-held)))


def ece(y: NDArray[np.int64], p: Floats) -> float:
    """Expected calibration error in ten bins of equal numbers of rows."""
    return float(_ece(np.ones((1, len(y))), y, p, equal_mass_bins(p))[0])


def equal_mass_bins(p: Floats, bins: int = BINS) -> NDArray[np.intp]:
    """Bin of every row: ranks cut into equal parts; equal probabilities share the bin of their first rank."""
    order = np.argsort(p, kind="stable")
    ranked = p[order]
    first = np.searchsorted(ranked, ranked, side="left")
    out = np.empty(len(p), dtype=np.intp)
    out[order] = first * bins // max(1, len(p))
    return out


def estimates(
    y: NDArray[np.int64],
    p: Floats,
    threshold: float,
    offer: Offer,
    *,
    groups: NDArray[Any] | None = None,
    replicates: int = 1000,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Every metric with its 95 % interval.

    Bootstrap over rows; over groups when rows of one customer are not independent; positives and negatives apart
    where one outcome has fewer than 20 rows. Very many rows get fewer replicates (at least 200). Intervals are
    percentiles; those of `ece`, which a bootstrap inflates, are moved back by the mean inflation.

    Parameters
    ----------
    groups : one key per row; None when every row is its own.
    """
    order = np.argsort(-p, kind="stable")
    y, p = y[order], p[order]
    groups = None if groups is None else groups[order]
    bins = equal_mass_bins(p)
    flagged = p >= threshold
    gain = np.where(flagged, offer.success * offer.value * y - offer.cost, 0.0)
    rows_loss, rows_brier = log_loss_rows(y, p), (p - y) ** 2
    ends = np.flatnonzero(np.append(np.diff(p) != 0, True))

    def compute(weights: Floats) -> dict[str, Floats]:
        total = weights.sum(axis=1)
        positive = weights * y
        hits = np.cumsum(positive, axis=1)[:, ends]
        seen = np.cumsum(weights, axis=1)[:, ends]
        all_hits = hits[:, -1]
        step = np.diff(hits, axis=1, prepend=0.0)
        misses = seen - hits
        missed = np.diff(misses, axis=1, prepend=0.0)
        with np.errstate(invalid="ignore", divide="ignore"):
            auc = (missed * (hits - 0.5 * step)).sum(axis=1) / (all_hits * misses[:, -1])
            precision = (step * np.where(seen > 0, hits / np.where(seen > 0, seen, 1.0), 0.0)).sum(axis=1) / all_hits
            caught = positive @ flagged
            f1 = 2.0 * caught / (weights @ flagged + all_hits)
        return {
            "auc": auc,
            "average_precision": precision,
            "log_loss": weights @ rows_loss / total,
            "brier": weights @ rows_brier / total,
            "ece": _ece(weights, y, p, bins),
            "f1": f1,
            "expected_value": weights @ gain / total,
        }

    point = {name: float(value[0]) for name, value in compute(np.ones((1, len(y)))).items()}
    draws = int(np.clip(MOST_DRAWS // max(1, len(y)), 200, replicates))
    drawn = [compute(weights) for weights in _weights(y, groups, draws, seed)]
    out: dict[str, Estimate] = {}
    for name, value in point.items():
        sample = np.concatenate([part[name] for part in drawn])
        sample = sample[np.isfinite(sample)]
        if not len(sample) or not np.isfinite(value):
            out[name] = Estimate(value, float("nan"), float("nan"))
            continue
        shift = value - float(sample.mean()) if name == "ece" else 0.0
        low, high = (np.quantile(sample, (0.025, 0.975)) + shift).tolist()
        out[name] = Estimate(value, max(0.0, low) if name == "ece" else low, high)
    return out


def _ece(weights: Floats, y: NDArray[np.int64], p: Floats, bins: NDArray[np.intp]) -> Floats:
    """Σ over bins of abs(Σ w (p − y)) / Σ w."""
    member = np.zeros((len(p), int(bins.max()) + 1))
    member[np.arange(len(p)), bins] = p - y
    return np.asarray(np.abs(weights @ member).sum(axis=1) / weights.sum(axis=1))


def _weights(y: NDArray[np.int64], groups: NDArray[Any] | None, draws: int, seed: int) -> Iterator[Floats]:
    """How often each row is drawn, shape (part of the draws, rows)."""
    rng = np.random.default_rng(seed)
    if groups is None or len(pd.unique(groups)) == len(groups):
        few = min(y.sum(), len(y) - y.sum()) < FEW
        parts: list[NDArray[np.intp]] = [np.flatnonzero(y == 1), np.flatnonzero(y == 0)] if few else [np.arange(len(y))]
        codes = None
    else:
        codes = pd.factorize(groups)[0]
        parts = [np.arange(int(codes.max()) + 1)]
    units = len(y) if codes is None else len(parts[0])
    size = max(1, min(draws, CHUNK // max(1, len(y))))
    for start in range(0, draws, size):
        count = min(size, draws - start)
        weights = np.zeros((count, units))
        for part in parts:
            if not len(part):
                continue
            picked = rng.integers(0, len(part), size=(count, len(part))) + np.arange(count)[:, None] * len(part)
            flat = np.bincount(picked.ravel(), minlength=count * len(part))
            weights[:, part] = flat.reshape(count, len(part))
        yield weights if codes is None else weights[:, codes]
