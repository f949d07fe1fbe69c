"""Many tests at once: how many of the findings may be chance."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def benjamini_hochberg(p_values: ArrayLike) -> NDArray[np.float64]:
    """Adjusted p-values: naming all with q ≤ α keeps the expected share of false ones among them at α or below.

    q₍ᵢ₎ = min over j ≥ i of m·p₍ⱼ₎/j (Benjamini and Hochberg 1995), also valid for positively dependent tests
    (Benjamini and Yekutieli 2001). NaN stands for a test that was not made: it stays NaN and is not counted.

    Returns
    -------
    q-values in the order of the p-values, each at least as large as its p-value and at most 1.
    """
    p = np.asarray(p_values, dtype=np.float64)
    q = np.full(p.shape, np.nan)
    made = np.flatnonzero(~np.isnan(p))
    if not len(made):
        return q
    order = made[np.argsort(p[made], kind="stable")]
    scaled = p[order] * len(order) / np.arange(1, len(order) + 1)
    q[order] = np.minimum(1.0, np.minimum.accumulate(scaled[::-1])[::-1])
    return q
