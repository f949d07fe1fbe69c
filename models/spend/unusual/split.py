"""Why spending changed, exactly: how much of it is volume, mix, length and price, and whose it is.

Spending is a sum over cells, a workspace's use of a model: n calls of t tokens at p dollars a token. From one time to
another,

    Σ n₁ t₁ p₁ − Σ n₀ t₀ p₀  =  (N₁ − N₀) Σ s₀ u₀  +  N₁ Σ (s₁ − s₀) u₀  +  Σ n₁ (t₁ − t₀) p₀  +  Σ n₁ t₁ (p₁ − p₀)
                                      volume              mix                 length                 price

with N calls in all, shares s = n / N and u = t p dollars a call. The four add up to the change to the last digit. A
cell that is new, or gone, belongs to the mix: it has no price or length to be compared with. A token of output counts
as four of input, about what providers charge: else longer prompts would read as a price that fell.

Reference: Laspeyres and Paasche weights as in Balk 2008, "Price and Quantity Index Numbers" (the additive form).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

Floats = np.ndarray[Any, np.dtype[np.float64]]

OUTPUT_WEIGHT = 4.0
CELL = ("workspace", "model")
_TOLD = 4


@dataclass(frozen=True)
class Split:
    """A change of daily spending, taken apart. Dollars a day; volume, mix, length and price add up to `change`."""

    before: float
    after: float
    volume: float
    mix: float
    length: float
    price: float

    @property
    def change(self) -> float:
        return self.after - self.before

    @property
    def main(self) -> str:
        """The part that moved it most."""
        return max(self.parts(), key=lambda name: abs(self.parts()[name]))

    def parts(self) -> dict[str, float]:
        return {"volume": self.volume, "mix": self.mix, "length": self.length, "price": self.price}


def split(before: pd.DataFrame, after: pd.DataFrame, days_before: float, days_after: float) -> Split:
    """Why a day costs something else than it did.

    Parameters
    ----------
    before, after : rows with workspace, model, calls, input_tokens, output_tokens, cost.
    days_before, days_after : how long each lasted.
    """
    names = list(CELL)
    sums = [
        frame.assign(tokens=tokens_of(frame)).groupby(names)[["calls", "tokens", "cost"]].sum() / days
        for frame, days in ((before, days_before), (after, days_after))
    ]
    index = sums[0].index.union(sums[1].index)
    old, new = (one.reindex(index).fillna(0.0).to_numpy(np.float64) for one in sums)
    return split_of(old, new)


def tokens_of(rows: pd.DataFrame) -> pd.Series:
    """Tokens, weighed by what they usually cost."""
    return rows["input_tokens"] + OUTPUT_WEIGHT * rows["output_tokens"]


def split_of(old: Floats, new: Floats) -> Split:
    """The same of sums by cell.

    Parameters
    ----------
    old, new : calls, tokens and dollars a day of the same cells, shape (cells, 3).
    """
    (n0, k0, c0), (n1, k1, c1) = old.T, new.T
    t0, t1 = _ratio(k0, n0), _ratio(k1, n1)
    p0, p1 = _ratio(c0, k0), _ratio(c1, k1)
    # What costs without a token, by the call: a price of one token.
    for calls, cost, tokens, price in ((n0, c0, t0, p0), (n1, c1, t1, p1)):
        bare = (tokens == 0) & (calls > 0) & (cost > 0)
        tokens[bare], price[bare] = 1.0, cost[bare] / calls[bare]
    # Without a counterpart there is nothing to compare with: it is all mix.
    fresh, gone = n0 == 0, n1 == 0
    t0[fresh], p0[fresh] = t1[fresh], p1[fresh]
    t1[gone], p1[gone] = t0[gone], p0[gone]
    u0 = t0 * p0
    all0, all1 = float(n0.sum()), float(n1.sum())
    s0 = n0 / all0 if all0 else np.zeros_like(n0)
    s1 = n1 / all1 if all1 else np.zeros_like(n1)
    return Split(
        before=float(c0.sum()),
        after=float(c1.sum()),
        volume=(all1 - all0) * float(s0 @ u0),
        mix=all1 * float((s1 - s0) @ u0),
        length=float(np.sum(n1 * (t1 - t0) * p0)),
        price=float(np.sum(n1 * t1 * (p1 - p0))),
    )


def causes(
    before: pd.DataFrame, after: pd.DataFrame, days_before: float, days_after: float, by: Sequence[str]
) -> list[Mapping[str, Any]]:
    """Whose spending changed: of the dimension that tells most, its values with the largest changes.

    Returns
    -------
    Rows of dimension, value, before, after, change (dollars a day) and share of the whole change.
    """
    whole = float(after["cost"].sum() / days_after - before["cost"].sum() / days_before)
    told: list[Mapping[str, Any]] = []
    apart = -1.0
    for name in by:
        old = before.groupby(name)["cost"].sum() / days_before
        new = after.groupby(name)["cost"].sum() / days_after
        index = old.index.union(new.index)
        old, new = old.reindex(index).fillna(0.0), new.reindex(index).fillna(0.0)
        change = new - old
        usual = old / old.sum() if old.sum() else old
        shares = change / whole if whole else change * 0.0
        # An outage of one model is a matter of models, however it spreads over workspaces.
        difference = float((shares - usual).abs().max()) if len(index) else 0.0
        if difference > apart + 1e-9:
            apart = difference
            order = change.abs().sort_values(ascending=False).index[:_TOLD]
            told = [
                {
                    "dimension": name,
                    "value": str(value),
                    "before": float(old[value]),
                    "after": float(new[value]),
                    "change": float(change[value]),
                    "share": float(shares[value]),
                }
                for value in order
            ]
    return told


def _ratio(above: Floats, below: Floats) -> Floats:
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)
