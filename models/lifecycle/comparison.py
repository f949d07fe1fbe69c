"""Several models on the same rows: means with intervals, and which of them really differ.

Rows that are not independent of each other (repeats of a prompt, prompts of one conversation) share a group, and groups
are what is drawn and flipped.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from models.lifecycle.evaluation import Estimate
from models.lifecycle.statistics import Floats, paired_bootstrap
from store.errors import TrainingError

# Up to so many groups every sign is tried, beyond them as many as this are drawn.
_EXACT, _DRAWN = 13, 9_999


@dataclass(frozen=True)
class Difference:
    """Two models compared by one measure.

    Attributes
    ----------
    difference : mean of `first` minus that of `second`, with the ends of its 95 % interval.
    p_value : two-sided, of the null that signs of the differences are chance.
    adjusted : the same among all pairs compared by this measure (Holm).
    groups : independent units it rests on.
    """

    measure: str
    first: str
    second: str
    difference: float
    low: float
    high: float
    p_value: float
    adjusted: float
    groups: int

    @property
    def significant(self) -> bool:
        """At 5 %, all pairs considered."""
        return self.adjusted < 0.05

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {**vars(self), "significant": self.significant}


def mean_of(values: Floats, groups: Sequence[Hashable], *, seed: int = 0) -> Estimate:
    """Mean with its 95 % interval, bootstrapped over groups.

    Parameters
    ----------
    values, groups : shape (rows,).
    """
    frame = pd.DataFrame({"difference": values, "group": list(groups)})
    test = paired_bootstrap(frame, seed=seed)
    return Estimate(test.difference, test.low, test.high)


def compare(values: Mapping[str, pd.Series], groups: pd.Series, measure: str, *, seed: int = 0) -> list[Difference]:
    """Every pair of models by one measure, on the rows that both have.

    Parameters
    ----------
    values : model → one value a row, the index being the row's key; NaN where there is none.
    groups : key of a row → its group.

    Returns
    -------
    Pairs in the order of the models; one that has no row in common is left out.

    Raises
    ------
    TrainingError : a value is infinite.
    """
    made: list[tuple[str, str, float, float, float, float, int]] = []
    for first, second in combinations(values, 2):
        difference = (values[first] - values[second]).dropna()
        if difference.empty:
            continue
        if not np.isfinite(difference).all():
            raise TrainingError(f"{measure} of {first} or {second} is infinite somewhere.", remedy="Look at its rows.")
        group = groups.reindex(difference.index)
        test = paired_bootstrap(pd.DataFrame({"difference": difference, "group": group}), seed=seed)
        p_value = sign_flip(difference.to_numpy(dtype=np.float64), list(group), seed=seed)
        made.append((first, second, test.difference, test.low, test.high, p_value, test.units))
    adjusted = holm([one[5] for one in made])
    return [
        Difference(measure, first, second, mean, low, high, p, own, units)
        for (first, second, mean, low, high, p, units), own in zip(made, adjusted, strict=True)
    ]


def sign_flip(difference: Floats, groups: Sequence[Hashable], *, seed: int = 0) -> float:
    """Two-sided p-value of a paired randomisation test: the signs of whole groups are flipped (Fisher 1935, §21;
    Good 2005). Exact up to 13 groups; beyond them 9,999 flips are drawn, and the p-value is never 0.
    """
    codes, units = pd.factorize(pd.Series(list(groups), dtype=object))
    sums = np.bincount(codes, weights=difference, minlength=len(units)).astype(np.float64)
    observed = abs(sums.sum())
    # Sums that only differ by rounding count as equal.
    least = observed - 1e-9 * max(np.abs(sums).sum(), 1e-300)
    if len(sums) <= _EXACT:
        places = np.arange(2 ** len(sums))[:, None] >> np.arange(len(sums))
        signs = 1.0 - 2.0 * (places & 1)
        return float((np.abs(signs @ sums) >= least).mean())
    rng = np.random.default_rng(seed)
    signs = rng.integers(0, 2, (_DRAWN, len(sums))) * 2.0 - 1.0
    return float((1 + np.sum(np.abs(signs @ sums) >= least)) / (_DRAWN + 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values adjusted so that with probability 95 % none below 5 % is a false alarm (Holm 1979), in their order."""
    adjusted = [1.0] * len(p_values)
    worst = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        worst = max(worst, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = worst
    return adjusted
