"""What a cache saved: each answer from it, at what calls of the same kind cost that it did not answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from models.spend.recommending.advice import drawn_days, interval

DRAWS = 1_000
_KINDS = (["asked", "domain", "complexity"], ["asked", "complexity"], ["asked"])


def cache_saving(hits: pd.DataFrame, paid: pd.DataFrame, days: float, *, seed: int = 0) -> dict[str, Any] | None:
    """Fields of `models.spend.recommending.measuring.Measured`; None where the cache answered nothing.

    Parameters
    ----------
    hits : `features.views.llm_costs.cached_cells`.
    paid : `cost_cells` of the workspace, before and since.
    """
    chats = paid[paid["kind"] == "chat"]
    if hits.empty or chats.empty:
        return None
    paid_days = pd.Index(sorted(chats["day"].unique()))
    weights = drawn_days(len(paid_days), DRAWS, seed)
    every = max(round(days), hits["day"].nunique())
    drawn = drawn_days(every, DRAWS, seed + 1)
    place = {day: number for number, day in enumerate(sorted(hits["day"].unique()))}
    totals = np.zeros(DRAWS)
    for key, rows in hits.groupby(_KINDS[0], sort=True):
        unit = _unit(chats, paid_days, weights, key)
        count = np.zeros(every)
        np.add.at(count, [place[day] for day in rows["day"]], rows["calls"].to_numpy(np.float64))
        totals += (drawn @ count) * unit
    saved = interval(totals, float(totals[0]))
    return {
        "calls": int(hits["calls"].sum()),
        "spent": 0.0,
        "counterfactual": saved.value,
        "saved": saved,
        "evidence": {"answered_by_the_cache": int(hits["calls"].sum()), "paid": int(chats["calls"].sum())},
    }


def _unit(chats: pd.DataFrame, days: pd.Index[Any], weights: Any, key: Any) -> Any:
    """Dollars a call of a kind, draws: of the nearest kind that calls were paid for."""
    wanted = dict(zip(_KINDS[0], key, strict=True))
    rows = chats
    for names in _KINDS:
        same = chats[np.logical_and.reduce([chats[name] == wanted[name] for name in names])]
        if same["calls"].sum() >= 5:
            rows = same
            break
    sums = rows.groupby("day")[["cost", "calls"]].sum().reindex(days).fillna(0.0)
    calls = weights @ sums["calls"].to_numpy(np.float64)
    overall = float(rows["cost"].sum() / max(rows["calls"].sum(), 1e-9))
    cost = weights @ sums["cost"].to_numpy(np.float64)
    return np.where(calls > 0, cost / np.where(calls > 0, calls, 1.0), overall)
