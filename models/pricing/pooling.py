"""A segment's elasticity, shrunk towards those of its siblings as far as they agree.

Estimates bₛ ± seₛ are draws around θₛ, and the θₛ draws around a common mean with spread τ. The posterior of
θₛ is averaged over τ on a grid with a half-normal prior (Gelman, 2006, *Bayesian Analysis* 1; Röver, 2020, *Journal of
Statistical Software* 93), since with a handful of segments any single value of τ pretends to know it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SPREAD = 0.5
"""Scale of the half-normal prior on τ: elasticities of siblings seldom differ by more than twice this."""


def shrunk(values: Floats, errors: Floats) -> tuple[Floats, Floats]:
    """Posterior means and standard deviations of the θₛ.

    Parameters
    ----------
    values, errors : estimates and their standard errors, all finite, shape (segments,).
    """
    taus = np.linspace(0.0, 4 * SPREAD, 201)
    variance = errors[None, :] ** 2 + taus[:, None] ** 2
    precision = 1 / variance
    total = precision.sum(axis=1)
    centre = (precision * values).sum(axis=1) / total
    # Marginal likelihood of τ with a flat prior on the common mean.
    log_weight = (
        -0.5 * np.log(variance).sum(axis=1)
        - 0.5 * np.log(total)
        - 0.5 * (precision * (values - centre[:, None]) ** 2).sum(axis=1)
        - 0.5 * (taus / SPREAD) ** 2
    )
    weight = np.exp(log_weight - log_weight.max())
    weight /= weight.sum()
    keep = taus[:, None] ** 2 / variance  # share of a segment's own estimate
    mean = keep * values + (1 - keep) * centre[:, None]
    spread = keep * errors[None, :] ** 2 + (1 - keep) ** 2 / total[:, None]
    posterior = (weight[:, None] * mean).sum(axis=0)
    second = (weight[:, None] * (spread + (mean - posterior) ** 2)).sum(axis=0)
    return posterior, np.sqrt(second)
