"""Shorter prompts: what the optimiser would take out of the prompts of a workspace, and what that would save."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from models.spend.recommending.advice import (
    LEAST_SAVING,
    LEAST_SHARE,
    LEVEL,
    MONTH,
    Advice,
    drawn_days,
    interval,
    money,
)
from models.spend.recommending.prices import UnitPrice

Floats = np.ndarray[Any, np.dtype[np.float64]]

DRAWS = 1_000
_LEAST_PROMPTS, _LEAST_SHARE = 30, 0.02


def trims(
    samples: Mapping[str, Sequence[tuple[int, int]]],
    cells: pd.DataFrame,
    prices: Mapping[str, UnitPrice],
    *,
    days: float,
    bill: float,
    seed: int = 0,
) -> list[Advice]:
    """What shorter prompts would save each workspace whose words are kept.

    Of each workspace a sample of prompts is shortened; the share of tokens that falls away is applied to what all its
    input costs (a ratio estimate, Cochran 1977, ch. 6).

    Parameters
    ----------
    samples : workspace → tokens of its prompts before and after; see `models.spend.recommending.requests`.
    cells : `cost_cells` of the last `days` days.
    bill : dollars a month that everything costs.
    """
    found = []
    for workspace, pairs in sorted(samples.items()):
        before, after = np.array(pairs, dtype=np.float64).reshape(-1, 2).T
        share = 1.0 - after.sum() / max(before.sum(), 1.0)
        if len(before) < _LEAST_PROMPTS or share < _LEAST_SHARE:
            continue
        advice = _advice(workspace, before, after, cells, prices, days, max(LEAST_SAVING, LEAST_SHARE * bill), seed)
        if advice is not None:
            found.append(advice)
    return found


def _advice(
    workspace: str,
    before: Floats,
    after: Floats,
    cells: pd.DataFrame,
    prices: Mapping[str, UnitPrice],
    days: float,
    least: float,
    seed: int,
) -> Advice | None:
    mine = cells[(cells["workspace"] == workspace) & (cells["kind"] == "chat")]
    every = max(round(days), 1)
    by_day, spent = np.zeros(every), float(mine["cost"].sum()) * MONTH / days
    # What a provider has in its cache is not paid in full; what is taken out there saves as little.
    last = mine["day"].max()
    for model, rows in mine.groupby("model"):
        if (price := prices.get(str(model))) is None:
            continue
        plain = (rows["input_tokens"] - rows["cached_tokens"]).to_numpy(np.float64)
        cost = plain * price.input + rows["cached_tokens"].to_numpy(np.float64) * price.cached
        places = np.minimum((last - rows["day"]).dt.days.to_numpy(), every - 1)
        np.add.at(by_day, places, cost)
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, len(before), size=(DRAWS, len(before)))
    drawn[0] = np.arange(len(before))
    shares = 1.0 - after[drawn].sum(axis=1) / before[drawn].sum(axis=1)
    totals = shares * (drawn_days(every, DRAWS, seed + 1) @ by_day) * MONTH / days
    saving = interval(totals, float(totals[0]))
    if saving.value < least or saving.low <= 0:
        return None
    share = float(shares[0])
    return Advice(
        kind="prompt trimming",
        workspace=workspace,
        subject="prompts",
        words=(
            f"{share:.1%} of the tokens that {workspace} sends say nothing that is not said before. Without them "
            f"{money(saving.value)} [{money(saving.low)}, {money(saving.high)}] of {money(spent)} a month fall away."
        ),
        saving=saving,
        spent=spent,
        scope={},
        steps=(
            "See what would go: `merit optimise-prompt FILE`, or `POST /v1/prompts/optimise` with a request's body.",
            "Put the shortened system prompt into the program; then accept, so that the saving is measured.",
        ),
        evidence={
            "prompts": len(before),
            "tokens_before": float(before.mean()),
            "tokens_after": float(after.mean()),
            "share": share,
            "level": LEVEL,
        },
    )
