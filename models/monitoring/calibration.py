"""Predicted probabilities against what came: on the whole, and for each slice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.lifecycle.evaluation import Estimate
from models.monitoring.multiplicity import benjamini_hochberg
from models.monitoring.policy import MonitorPolicy

Floats = NDArray[np.float64]
SLICE = "slice."
_BINS = 10


@dataclass(frozen=True)
class Calibration:
    """Calibration in the large, and the curve.

    Attributes
    ----------
    predicted, came : mean probability and share of positives.
    gap : came − predicted, with the interval at the policy's confidence, by groups.
    curve : one entry per bin of equal numbers of rows: (mean probability, share that came, rows).
    off : whether the gap is beyond chance and large enough to matter.
    """

    rows: int
    groups: int
    predicted: float
    came: float
    gap: Estimate
    curve: tuple[tuple[float, float, int], ...]
    off: bool

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "gap": self.gap.to_dict(), "curve": [list(point) for point in self.curve]}


@dataclass(frozen=True)
class SliceBias:
    """One slice against the rest.

    Attributes
    ----------
    gap : came − predicted within the slice.
    beyond : that gap less the one of all other rows: what is particular to the slice.
    p_value, q_value : of `beyond`, adjusted for the number of slices.
    biased : beyond chance among the slices, and large enough to matter.
    """

    slice: str
    rows: int
    predicted: float
    came: float
    gap: float
    beyond: float
    p_value: float
    q_value: float
    biased: bool

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def matters(base_rate: float, policy: MonitorPolicy) -> float:
    """The least gap between probability and outcome that is worth an alarm."""
    return max(policy.calibration_gap, policy.calibration_share * base_rate)


def calibration(p: Floats, y: Floats, groups: Sequence[Any] | NDArray[Any], policy: MonitorPolicy) -> Calibration:
    """Calibration of probabilities `p` of outcomes `y` (0 or 1).

    The interval is normal with a variance over groups (Liang and Zeger 1986): rows of one customer go together.
    """
    gap = float((y - p).mean())
    codes, kinds = pd.factorize(np.asarray(groups))
    z = NormalDist().inv_cdf(0.5 + policy.confidence / 2)
    half = z * _standard_error(y - p, codes, len(kinds))
    low, high = gap - half, gap + half
    order = np.argsort(p, kind="stable")
    curve = tuple(
        (float(p[part].mean()), float(y[part].mean()), len(part))
        for part in np.array_split(order, min(_BINS, len(order)))
        if len(part)
    )
    came = float(y.mean())
    off = (low > 0 or high < 0) and abs(gap) > matters(came, policy)
    return Calibration(len(y), len(kinds), float(p.mean()), came, Estimate(gap, low, high), curve, off)


def bias(
    p: Floats, y: Floats, groups: Sequence[Any] | NDArray[Any], slices: pd.DataFrame, policy: MonitorPolicy
) -> list[SliceBias]:
    """Every level of every slice against the rest, the most biased first.

    Parameters
    ----------
    slices : columns `slice.<name>` with the level of each row; levels of few rows, or of all, are left out.
    """
    residual = y - p
    codes, kinds = pd.factorize(np.asarray(groups))
    floor = matters(float(y.mean()), policy)
    found = []
    for column in slices.columns:
        levels, names = pd.factorize(slices[column].to_numpy())
        for code, name in enumerate(names):
            inside = levels == code
            rows = int(inside.sum())
            if rows < policy.slice_rows or len(y) - rows < policy.slice_rows:
                continue
            gap, rest = float(residual[inside].mean()), float(residual[~inside].mean())
            # Influence of each row on the difference of the two means, so that a group on both sides counts once.
            influence = np.where(inside, (residual - gap) / rows, -(residual - rest) / (len(y) - rows)) * len(y)
            error = _standard_error(influence, codes, len(kinds))
            beyond = gap - rest
            p_value = 1.0 if error == 0 else math.erfc(abs(beyond) / error / math.sqrt(2))
            title = f"{str(column).removeprefix(SLICE)}={name}"
            predicted, came = float(p[inside].mean()), float(y[inside].mean())
            found.append(SliceBias(title, rows, predicted, came, gap, beyond, p_value, p_value, False))
    adjusted = benjamini_hochberg([one.p_value for one in found])
    judged = [
        SliceBias(
            **{
                **asdict(one),
                "q_value": float(q),
                "biased": bool(q <= policy.false_discovery and abs(one.beyond) > floor),
            }
        )
        for one, q in zip(found, adjusted, strict=True)
    ]
    return sorted(judged, key=lambda one: (not one.biased, one.p_value, one.slice))


def slices_of_records(records: Sequence[Any], policy: MonitorPolicy) -> pd.DataFrame:
    """`slice.<feature>` for every feature of logged records that divides them into a few kinds."""
    frame = pd.DataFrame(list(records))
    kept = {}
    for column in frame.columns:
        values = frame[column]
        known = values.dropna()
        kinds = known.map(lambda value: isinstance(value, str | bool))
        if len(known) and bool(kinds.all()) and 2 <= known.nunique() + int(len(known) < len(values)) <= policy.levels:
            levels = values.map(lambda value: {True: "yes", False: "no"}.get(value, value))
            kept[f"{SLICE}{column}"] = levels.astype(object).where(values.notna(), "(missing)")
    return pd.DataFrame(kept, index=frame.index)


def _standard_error(values: Floats, codes: NDArray[np.intp], groups: int) -> float:
    """Standard error of the mean of values that go together in groups."""
    if groups < 2:
        return math.inf
    sums = np.bincount(codes, weights=values - values.mean(), minlength=groups)
    return float(np.sqrt(groups / (groups - 1) * np.sum(sums**2)) / len(values))
