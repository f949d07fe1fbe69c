"""What shorter prompts saved: tokens of a call before, as they moved in other workspaces, less those of a call now."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from models.spend.recommending.advice import interval
from models.spend.recommending.drawn_sums import weighted_sums
from models.spend.recommending.prices import unit_prices

Floats = np.ndarray[Any, np.dtype[np.float64]]

DRAWS = 400
_KIND = ["asked", "domain", "complexity"]
_LEAST = 30


def prompt_saving(
    workspace: str, before: pd.DataFrame, after: pd.DataFrame, days: float, *, seed: int = 0
) -> dict[str, Any] | None:
    """Fields of `models.spend.recommending.measuring.Measured`; None where there is too little to compare.

    Tokens are worth what an input token of the workspace costs on average since, those from a provider's cache at less.
    """
    chats = [one[(one["kind"] == "chat") & ~one["batch"]] for one in (before, after)]
    mine = [one[one["workspace"] == workspace] for one in chats]
    others = [one[one["workspace"] != workspace] for one in chats]
    if min(one["calls"].sum() for one in mine) < _LEAST:
        return None
    control = min(one["calls"].sum() for one in others) >= _LEAST
    prices = unit_prices(pd.concat([before, after], ignore_index=True))
    cost, tokens = _input(mine[1], prices)
    would, were = _less(mine[0], mine[1], _KIND, seed)
    if control:
        # What prompts elsewhere became, without anybody's doing.
        would = would * _ratio(others[0], others[1], ["workspace", *_KIND], seed + 2)
    drawn = (would - were) * cost / max(tokens, 1.0)
    saved = interval(drawn, float(drawn[0]))
    return {
        "calls": int(mine[1]["calls"].sum()),
        "spent": float(mine[1]["cost"].sum()),
        "counterfactual": float(mine[1]["cost"].sum()) + saved.value,
        "saved": saved,
        "evidence": {
            "tokens_a_call_before": float(mine[0]["input_tokens"].sum() / mine[0]["calls"].sum()),
            "tokens_a_call": float(mine[1]["input_tokens"].sum() / mine[1]["calls"].sum()),
            "days": days,
        },
    }


def _less(old: pd.DataFrame, new: pd.DataFrame, by: list[str], seed: int) -> tuple[Floats, Floats]:
    """Input tokens of the new calls if each kind had as many as before, and as they are; (draws,) each. A kind that is
    new counts as it is."""
    before = {tuple(one) for one in old[by].to_numpy()}
    kinds = sorted(before | {tuple(one) for one in new[by].to_numpy()})
    names = ("calls", "input_tokens")
    calls0, tokens0 = weighted_sums(old, by, kinds, names, DRAWS, seed)
    calls1, tokens1 = weighted_sums(new, by, kinds, names, DRAWS, seed + 1)
    now = np.divide(tokens1, calls1, out=np.zeros_like(tokens1), where=calls1 > 1e-9)
    unit = np.divide(tokens0, calls0, out=now, where=calls0 > 1e-9)
    return (unit * np.maximum(calls1, 0.0)).sum(axis=1), tokens1.sum(axis=1)


def _ratio(old: pd.DataFrame, new: pd.DataFrame, by: list[str], seed: int) -> Floats:
    """By how much a prompt of the same kind grew."""
    expected, actual = _less(old, new, by, seed)
    return np.asarray(actual / np.maximum(expected, 1.0))


def _input(cells: pd.DataFrame, prices: dict[str, Any]) -> tuple[float, float]:
    """What the prompts cost, and their tokens."""
    cost = 0.0
    for model, rows in cells.groupby("model"):
        if (price := prices.get(str(model))) is not None:
            cost += float(price.cost(rows, np.zeros(len(rows))).sum())
    return cost, float(cells["input_tokens"].sum())
