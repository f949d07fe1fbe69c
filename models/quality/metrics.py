"""How well a scorer agrees with what people thought, each number with a 95 % interval by bootstrap over persons.

| name | definition |
|---|---|
| auc | probability that an answer judged good (½ or more) scores above one judged bad, ties count half |
| log_loss | −mean(y ln p + (1 − y) ln(1 − p)), nats, y being the judgement from 0 to 1 |
| brier | mean (p − y)² |
| ece | expected calibration error: ten bins of equal numbers of rows; Σ share × abs(mean p − mean y) |
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.lifecycle.evaluation import Estimate

Floats = NDArray[np.float64]

BINS = 10
SMALLEST = 1e-6


def log_loss_rows(y: Floats, p: Floats) -> Floats:
    """Cross-entropy of every row, nats."""
    held = np.clip(p, SMALLEST, 1.0 - SMALLEST)
    return np.asarray(-(y * np.log(held) + (1.0 - y) * np.log1p(-held)))


def auc(y: Floats, p: Floats) -> float:
    """Area under the ROC curve; NaN where all answers are good, or all bad."""
    order = np.argsort(p, kind="stable")
    good, ranked = (y[order] >= 0.5).astype(float), p[order]
    bad = 1.0 - good
    starts = np.flatnonzero(np.concatenate([[True], np.diff(ranked) != 0]))
    good_in, bad_in = np.add.reduceat(good, starts), np.add.reduceat(bad, starts)
    below = np.cumsum(bad_in) - bad_in
    total = good.sum() * bad.sum()
    return float(np.sum(good_in * (below + bad_in / 2.0)) / total) if total > 0 else float("nan")


def ece(y: Floats, p: Floats) -> float:
    """Expected calibration error."""
    return float(np.abs(np.bincount(bins_of(p), weights=p - y, minlength=BINS)).sum() / len(p))


def bins_of(p: Floats) -> NDArray[np.intp]:
    """Bin of every row: ranks cut into equal parts; equal scores share the bin of their first rank."""
    order = np.argsort(p, kind="stable")
    first = np.searchsorted(p[order], p[order], side="left")
    out = np.empty(len(p), dtype=np.intp)
    out[order] = first * BINS // max(1, len(p))
    return out


def estimates(y: Floats, p: Floats, groups: NDArray[Any], *, replicates: int, seed: int) -> dict[str, Estimate]:
    """Every metric with its interval."""
    order = np.argsort(p, kind="stable")
    y, p, groups = y[order], p[order], groups[order]
    loss, square, good = log_loss_rows(y, p), (p - y) ** 2, (y >= 0.5).astype(float)
    codes, names = pd.factorize(groups)
    # Equal scores share a place; sums by person, so that a replicate adds up persons rather than rows.
    place = np.cumsum(np.append(False, np.diff(p) != 0))
    places = int(place[-1]) + 1
    cells = np.bincount(codes * BINS + bins_of(p), weights=p - y, minlength=len(names) * BINS).reshape(-1, BINS)
    rows, losses, squares = (np.bincount(codes, weights=one) for one in (np.ones(len(p)), loss, square))
    rng = np.random.default_rng(seed)
    drawn: dict[str, list[float]] = {name: [] for name in ("auc", "log_loss", "brier", "ece")}
    for _ in range(replicates):
        times = np.bincount(rng.integers(0, len(names), len(names)), minlength=len(names)).astype(float)
        total, weights = float(times @ rows), times[codes]
        good_in = np.bincount(place, weights=weights * good, minlength=places)
        bad_in = np.bincount(place, weights=weights * (1.0 - good), minlength=places)
        pairs = good_in.sum() * bad_in.sum()
        ahead = good_in @ (np.cumsum(bad_in) - bad_in / 2.0)
        drawn["auc"].append(float(ahead / pairs) if pairs else float("nan"))
        drawn["log_loss"].append(float(times @ losses / total))
        drawn["brier"].append(float(times @ squares / total))
        drawn["ece"].append(float(np.abs(times @ cells).sum() / total))
    point = {"auc": auc(y, p), "log_loss": float(loss.mean()), "brier": float(square.mean()), "ece": ece(y, p)}
    return {name: _estimate(value, np.array(drawn[name]), shifted=name == "ece") for name, value in point.items()}


def _estimate(value: float, sample: Floats, *, shifted: bool) -> Estimate:
    sample = sample[np.isfinite(sample)]
    if not len(sample) or not np.isfinite(value):
        return Estimate(value, float("nan"), float("nan"))
    # A bootstrap inflates a calibration error: its interval is moved back by as much.
    shift = value - float(sample.mean()) if shifted else 0.0
    low, high = np.quantile(sample, (0.025, 0.975)) + shift
    return Estimate(value, max(0.0, float(low)) if shifted else float(low), float(high))
