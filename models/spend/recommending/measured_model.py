"""What another model saved: the same calls as the old ones would have answered them, at today's prices.

What is counted is the calls there were, with their own prompts. Their answers by the old models would have been longer
or shorter by a ratio that is learned from all calls; prices that changed meanwhile change both sides and are no saving.
Beside it stands a difference in differences: what such a call cost before, moved by what the same models' calls
elsewhere did, less what it costs now (Card & Krueger 1994).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from models.spend.recommending.advice import Interval, interval
from models.spend.recommending.another_model import drawn_totals
from models.spend.recommending.drawn_sums import standardised, weighted_sums
from models.spend.recommending.expected import DRAWS, Expected, expected
from models.spend.recommending.measured_quality import quality_change

Floats = np.ndarray[Any, np.dtype[np.float64]]

TASK = ["domain", "complexity"]
_LEAST_CALLS, _LEAST_CONTROL, _LEAST_HELD = 10, 50, 20
_FALL = -0.02


def model_saving(
    workspace: str, scope: Mapping[str, Any], before: pd.DataFrame, after: pd.DataFrame, days: float, *, seed: int = 0
) -> dict[str, Any] | None:
    """Fields of `models.spend.recommending.measuring.Measured`; None where nothing can be told.

    Parameters
    ----------
    scope : `asked`, `complexities` and `use`, as they were proposed.
    before, after : `cost_cells` of all workspaces until it was accepted and since.
    """
    old, new = _within(before, workspace, scope), _within(after, workspace, scope)
    used = new[(new["model"] == scope["use"]) & (new["part"] != "held back")].reset_index(drop=True)
    held = new[new["part"] == "held back"]
    if used["calls"].sum() < _LEAST_CALLS or old["calls"].sum() < _LEAST_CALLS:
        return None
    known = expected(pd.concat([before, after], ignore_index=True), seed=seed)
    would, missing = _would_have_cost(used, pd.concat([old, held]), known)
    totals = drawn_totals(used, would - used["cost"].to_numpy(np.float64), days, seed)
    saved = interval(totals, float(totals[0]))
    spent = float(used["cost"].sum())
    check = _differences(workspace, scope, old, used, before, after, seed)
    quality = quality_change(pd.concat([old, held]), used, seed=seed)
    warnings = [f"{missing} is asked no more, and counts at the price that it had last."] if missing else []
    if check is not None and (check["low"] > saved.high or check["high"] < saved.low):
        warnings.append("The difference in differences disagrees: something else has changed with it.")
    if quality is not None:
        if quality["high"] < 0:
            warnings.append(f"Judgements fell by {-100 * quality['change']:.1f} points, and not by chance.")
        elif quality["change"] < _FALL:
            warnings.append(f"Judgements are {-100 * quality['change']:.1f} points lower, which may be chance.")
    return {
        "calls": int(used["calls"].sum()),
        "spent": spent,
        "counterfactual": spent + saved.value,
        "saved": saved,
        "check": check,
        "quality": quality,
        "evidence": {"held_back": int(held["calls"].sum()), **_held_back(held, used)},
        "warnings": tuple(warnings),
    }


def _within(cells: pd.DataFrame, workspace: str, scope: Mapping[str, Any]) -> pd.DataFrame:
    mine = (cells["workspace"] == workspace) & (cells["asked"] == scope["asked"]) & (cells["kind"] == "chat")
    found: pd.DataFrame = cells.loc[mine & ~cells["batch"] & cells["complexity"].isin(scope["complexities"])]
    return found


def _would_have_cost(used: pd.DataFrame, old: pd.DataFrame, known: Expected) -> tuple[Floats, str]:
    """Dollars of the used calls at the models that answered such calls before, draws × cells; and a model that nobody
    can price any more, "" where there is none."""
    shares = old.groupby([*TASK, "model"])["calls"].sum().unstack("model", fill_value=0)
    overall = old.groupby("model")["calls"].sum()
    keys = pd.MultiIndex.from_frame(used[TASK])
    # A kind of task that was not asked before went as all did.
    each = np.array(shares.reindex(keys), dtype=np.float64)
    none = ~np.isfinite(each).all(axis=1)
    each[none] = overall.reindex(shares.columns).to_numpy(np.float64)
    each = each / each.sum(axis=1, keepdims=True)
    tokens = used["output_tokens"].to_numpy(np.float64)
    cost = np.zeros((DRAWS, len(used)))
    missing = ""
    for place, model in enumerate(shares.columns):
        price = known.prices.get(str(model))
        if price is None:
            missing = str(model)
            continue
        cost += each[:, place] * price.cost(used, tokens * known.longer(used, str(model)))
    return cost, missing


def _differences(
    workspace: str,
    scope: Mapping[str, Any],
    old: pd.DataFrame,
    used: pd.DataFrame,
    before: pd.DataFrame,
    after: pd.DataFrame,
    seed: int,
) -> dict[str, Any] | None:
    """Dollars saved so far by difference in differences; None where there is nothing to compare with."""
    models = set(old["model"])

    def elsewhere(cells: pd.DataFrame) -> pd.DataFrame:
        mine = (cells["workspace"] == workspace) & (cells["asked"] == scope["asked"])
        found: pd.DataFrame = cells.loc[
            (cells["kind"] == "chat") & cells["model"].isin(models) & ~mine & ~cells["batch"]
        ]
        return found

    control_old, control_new = elsewhere(before), elsewhere(after)
    if min(control_old["calls"].sum(), control_new["calls"].sum()) < _LEAST_CONTROL:
        return None
    kinds = sorted(set().union(*(map(tuple, one[TASK].to_numpy()) for one in (old, used, control_old, control_new))))
    sums = [
        weighted_sums(one, TASK, kinds, ("calls", "cost"), DRAWS, seed + place)
        for place, one in enumerate((old, used, control_old, control_new))
    ]
    drawn = _difference(*sums)
    values = drawn[np.isfinite(drawn)]
    if len(values) < DRAWS // 2 or not np.isfinite(drawn[0]):
        return None
    found: Interval = interval(values, float(drawn[0]))
    return {"method": "difference in differences", **found.to_dict(), "control_calls": int(control_new["calls"].sum())}


def _difference(
    old: tuple[Floats, ...], used: tuple[Floats, ...], control_old: tuple[Floats, ...], control_new: tuple[Floats, ...]
) -> Floats:
    """A call's dollars before, at today's mix of tasks, moved as the control moved, less today's; (draws,)."""
    now = control_new[1].sum(axis=1) / np.maximum(control_new[0].sum(axis=1), 1e-9)
    moved = standardised(control_new[0], *control_old)
    then = standardised(used[0], *old)
    ratio = np.divide(now, moved, out=np.full(len(now), np.nan), where=moved > 0)
    return np.asarray(used[0].sum(axis=1) * then * ratio - used[1].sum(axis=1))


def _held_back(held: pd.DataFrame, used: pd.DataFrame) -> dict[str, Any]:
    """Dollars a call of those drawn by chance to be answered as before, beside the others; {} where they are few."""
    if held["calls"].sum() < _LEAST_HELD:
        return {}
    kinds = sorted(set(map(tuple, held[TASK].to_numpy())) | set(map(tuple, used[TASK].to_numpy())))
    names = ("calls", "cost")
    before, after = (weighted_sums(one, TASK, kinds, names, 1, 0) for one in (held, used))
    return {
        "cost_a_call_held_back": float(standardised(after[0], *before)[0]),
        "cost_a_call_used": float(standardised(after[0], *after)[0]),
    }
