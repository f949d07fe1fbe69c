"""Small ledgers as frames, whose truth is known."""

from __future__ import annotations

import numpy as np
import pandas as pd

WEEK = np.array([1.0, 1.1, 1.0, 1.0, 0.9, 0.15, 0.1])
START = pd.Timestamp("2026-06-01")  # a Monday


def days_of(count: int) -> pd.DatetimeIndex:
    return pd.date_range(START, periods=count, freq="D")


def daily(days: int = 91, *, growth: float = 0.0, noise: float = 0.1, seed: int = 0) -> pd.DataFrame:
    """Two workspaces with two models each: day, workspace, model, cost; about 16 dollars a weekday."""
    rng = np.random.default_rng(seed)
    at = np.arange(days)
    parts = []
    for workspace, size in (("north", 10.0), ("south", 6.0)):
        for model, share in (("a/big", 0.7), ("a/small", 0.3)):
            level = size * share * WEEK[at % 7] * (1.0 + growth) ** (at / 7)
            cost = level * np.exp(rng.normal(0.0, noise, days))
            parts.append(pd.DataFrame({"day": days_of(days), "workspace": workspace, "model": model, "cost": cost}))
    return pd.concat(parts, ignore_index=True)
