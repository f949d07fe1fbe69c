"""Holes in a series: several values for one step, missing values, missing steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from store.errors import InvalidValue

Floats = np.ndarray[Any, np.dtype[np.float64]]
Ints = np.ndarray[Any, np.dtype[np.int64]]
Fill = Literal["interpolate", "zero"]


def regularise(places: Ints, values: Floats, seasons: Sequence[int], fill: Fill) -> tuple[Floats, int, dict[str, int]]:
    """One value per place from the first to the last known one.

    Parameters
    ----------
    places : place on the grid of each value, shape (n,), in any order, possibly repeated.
    values : shape (n,), NaN where missing.
    seasons : season lengths that the series may have.

    Returns
    -------
    values of shape (last − first + 1,), the first place, and what was done: duplicates, gaps, missing, cut.
    """
    distinct, inverse = np.unique(places, return_inverse=True)
    known = np.isfinite(values)
    total = np.bincount(inverse, weights=np.where(known, values, 0.0))
    count = np.bincount(inverse, weights=known.astype(float))
    counts = {"duplicates": len(places) - len(distinct), "gaps": 0, "missing": 0, "cut": 0}
    there = np.flatnonzero(count > 0)
    if len(there) == 0:
        counts["cut"] = len(distinct)
        return np.empty(0), 0, counts
    first, last = there[0], there[-1]
    counts["cut"] = int(len(distinct) - (last - first + 1))
    start, end = int(distinct[first]), int(distinct[last])
    length = end - start + 1
    if length > 50 * len(places) + 1000:
        raise InvalidValue(
            f"{length - len(there)} of {length} time steps are missing between the first and the last time stamp.",
            remedy="Check the time column, or give a coarser frequency (--freq).",
            field="freq",
        )
    clean = np.full(length, np.nan)
    clean[distinct[there] - start] = total[there] / count[there]
    counts["missing"] = int(last - first + 1 - len(there))
    counts["gaps"] = int(length - (last - first + 1))
    holes = ~np.isfinite(clean)
    if holes.any():
        clean = np.where(holes, 0.0, clean) if fill == "zero" else _interpolate(clean, holes, seasons)
    return clean, start, counts


def _interpolate(values: Floats, holes: np.ndarray[Any, np.dtype[np.bool_]], seasons: Sequence[int]) -> Floats:
    """Linear between the neighbours; in gaps longer than three steps with the mean seasonal pattern on top."""
    index = np.arange(len(values))
    line = np.interp(index, index[~holes], values[~holes])
    season = next((s for s in reversed(seasons) if (~holes).sum() >= 3 * s), 0)
    edges = np.flatnonzero(np.diff(np.concatenate(([0], holes.astype(np.int8), [0]))))
    long_gaps = [(a, b) for a, b in edges.reshape(-1, 2) if b - a > 3]
    if not season or not long_gaps:
        return np.asarray(line)
    # Deviations from a moving mean over whole seasons, averaged by phase.
    window = np.ones(season) / season
    weight = np.convolve(np.ones(len(line)), window, mode="same")
    deviation = line - np.convolve(line, window, mode="same") / weight
    phase = index % season
    seen = np.bincount(phase[~holes], minlength=season)
    pattern = np.bincount(phase[~holes], weights=deviation[~holes], minlength=season) / np.maximum(seen, 1)
    seasonal = pattern[phase]
    smooth = np.interp(index, index[~holes], (values - seasonal)[~holes]) + seasonal
    for a, b in long_gaps:
        line[a:b] = smooth[a:b]
    if values[~holes].min() >= 0:
        line = np.maximum(line, 0.0)
    return np.asarray(line)
