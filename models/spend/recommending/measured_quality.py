"""Whether answers got worse: what people said of them before and after, at the same mix of tasks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from models.spend.recommending.advice import drawn_days, interval

DRAWS = 1_000
_LEAST = 10


def quality_change(before: pd.DataFrame, after: pd.DataFrame, *, seed: int = 0) -> dict[str, Any] | None:
    """Mean judgement after less before, by complexity as it is after, with the interval over days.

    Where people judged too little, the scores from words count. None: those are too few as well.
    """
    for by, count, total in (("people", "judged", "judgement"), ("scores", "scored", "score")):
        found = _change(before[before[count] > 0], after[after[count] > 0], count, total, seed)
        if found is not None:
            return {**found, "by": by}
    return None


def _change(before: pd.DataFrame, after: pd.DataFrame, count: str, total: str, seed: int) -> dict[str, Any] | None:
    known = sorted(set(before["complexity"]) & set(after["complexity"]))
    before, after = before[before["complexity"].isin(known)], after[after["complexity"].isin(known)]
    if min(before[count].sum(), after[count].sum()) < _LEAST:
        return None
    old, new = _sums(before, count, total, known, seed), _sums(after, count, total, known, seed + 1)
    share = np.maximum(new[0], 0.0)
    share = share / np.maximum(share.sum(axis=1, keepdims=True), 1e-9)
    with np.errstate(invalid="ignore", divide="ignore"):
        was, is_now = old[1] / old[0], new[1] / new[0]
    usable = (old[0] > 0).all(axis=1) & (new[0] > 0).all(axis=1)
    drawn = ((is_now - was) * share).sum(axis=1)
    change = interval(drawn[usable], float(drawn[0]))
    return {
        "before": float((was[0] * share[0]).sum()),
        "after": float((is_now[0] * share[0]).sum()),
        "change": change.value,
        "low": change.low,
        "high": change.high,
        "judged_before": int(before[count].sum()),
        "judged_after": int(after[count].sum()),
    }


def _sums(cells: pd.DataFrame, count: str, total: str, known: list[str], seed: int) -> tuple[Any, Any]:
    """Number and sum of judgements by complexity, draws × complexities; days are drawn anew."""
    days = pd.Index(sorted(cells["day"].unique()))
    table = cells.groupby(["day", "complexity"])[[count, total]].sum().unstack("complexity").fillna(0.0)
    table = table.reindex(days).fillna(0.0)
    weights = drawn_days(len(days), DRAWS, seed)
    return weights @ table[count][known].to_numpy(np.float64), weights @ table[total][known].to_numpy(np.float64)
