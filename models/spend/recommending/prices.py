"""What models charge for tokens now, read off the ledger: what a day cost is a sum of tokens times prices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

Floats = np.ndarray[Any, np.dtype[np.float64]]

# The shortest time that explains what was paid says what is paid now.
_DAYS = (3, 7, 14, 28, 365)
_LEAST_ROWS, _LEAST_CALLS = 6, 10
_OFF = 0.01


@dataclass(frozen=True)
class UnitPrice:
    """Dollars a token.

    Attributes
    ----------
    cached, cache_write : where nothing of the kind was seen, as `input`.
    off : part of what was paid that these prices do not explain: prices by length of prompt, or a change in between.
    """

    input: float
    output: float
    cached: float
    cache_write: float
    off: float

    def cost(self, cells: pd.DataFrame, output_tokens: Floats) -> Floats:
        """Dollars of cells if their answers were so long, shape of `output_tokens` (…, cells)."""
        plain = (cells["input_tokens"] - cells["cached_tokens"] - cells["cache_write_tokens"]).to_numpy(np.float64)
        given = (
            plain * self.input
            + cells["cached_tokens"].to_numpy(np.float64) * self.cached
            + cells["cache_write_tokens"].to_numpy(np.float64) * self.cache_write
        )
        return np.asarray(given + output_tokens * self.output)


def unit_prices(cells: pd.DataFrame) -> dict[str, UnitPrice]:
    """Model → its present prices, of models with enough calls to tell.

    Parameters
    ----------
    cells : `features.views.llm_costs.cost_cells`.
    """
    found = {}
    for model, rows in cells[cells["kind"] == "chat"].groupby("model", sort=True):
        price = _of(rows)
        if price is not None:
            found[str(model)] = price
    return found


def _of(rows: pd.DataFrame) -> UnitPrice | None:
    last = rows["day"].max()
    best: UnitPrice | None = None
    for days in _DAYS:
        recent = rows[rows["day"] > last - pd.Timedelta(days=days)]
        if len(recent) < _LEAST_ROWS or recent["calls"].sum() < _LEAST_CALLS:
            continue
        price = _fitted(recent)
        if best is None or price.off < best.off:
            best = price
        if price.off <= _OFF:
            break
    return best


def _fitted(rows: pd.DataFrame) -> UnitPrice:
    """Non-negative least squares of relative errors."""
    from scipy.optimize import nnls

    cost = rows["cost"].to_numpy(np.float64)
    plain = (rows["input_tokens"] - rows["cached_tokens"] - rows["cache_write_tokens"]).to_numpy(np.float64)
    kinds = [rows["output_tokens"], rows["cached_tokens"], rows["cache_write_tokens"]]
    tokens = np.column_stack([plain, *(one.to_numpy(np.float64) for one in kinds)])
    if cost.sum() <= 0:
        return UnitPrice(0.0, 0.0, 0.0, 0.0, 0.0)
    weight = 1.0 / np.maximum(cost, float(cost.max()) * 1e-3)
    size = np.maximum(tokens.max(axis=0), 1.0)
    solved, _ = nnls(tokens / size * weight[:, None], cost * weight)
    prices = solved / size
    off = float(np.abs(cost - tokens @ prices).sum() / cost.sum())
    seen = tokens.sum(axis=0) > 0
    return UnitPrice(
        input=float(prices[0]),
        output=float(prices[1]),
        cached=float(prices[2] if seen[2] else prices[0]),
        cache_write=float(prices[3] if seen[3] else prices[0]),
        off=off,
    )
