"""What shorter prompts saved: tokens of a call before, as they moved in other workspaces, less those of a call now."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from models.spend.recommending.advice import drawn_days, interval
from models.spend.recommending.prices import unit_prices

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
    rng = np.random.default_rng(seed)
    drawn = []
    for draw in range(DRAWS):
        old, new = (_weighted(one, rng if draw else None) for one in mine)
        moved = 1.0
        if control:
            other_old, other_new = (_weighted(one, rng if draw else None, ["workspace", *_KIND]) for one in others)
            moved = float(other_new["input_tokens"].sum() / max(_expected(other_new, other_old), 1.0))
        less = _expected(new, old) * moved - float(new["input_tokens"].sum())
        drawn.append(less * cost / max(tokens, 1.0))
    saved = interval(np.array(drawn), drawn[0])
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


def _weighted(cells: pd.DataFrame, rng: np.random.Generator | None, by: list[str] = _KIND) -> pd.DataFrame:
    codes, days = pd.factorize(cells["day"])
    weight = np.ones(len(days))
    if rng is not None:
        weight = drawn_days(len(days), 2, int(rng.integers(2**31)))[1]
    return cells[["calls", "input_tokens"]].mul(weight[codes], axis=0).groupby([cells[name] for name in by]).sum()


def _expected(new: pd.DataFrame, old: pd.DataFrame) -> float:
    """Input tokens of the new calls if each kind had as many as before; a kind that is new counts as it is."""
    unit = (old["input_tokens"] / old["calls"].where(old["calls"] > 0)).reindex(new.index)
    now = new["input_tokens"] / new["calls"].where(new["calls"] > 0)
    return float((unit.fillna(now).fillna(0.0) * new["calls"].clip(lower=0.0)).sum())


def _input(cells: pd.DataFrame, prices: dict[str, Any]) -> tuple[float, float]:
    """What the prompts cost, and their tokens."""
    cost = 0.0
    for model, rows in cells.groupby("model"):
        if (price := prices.get(str(model))) is not None:
            cost += float(price.cost(rows, np.zeros(len(rows))).sum())
    return cost, float(cells["input_tokens"].sum())
