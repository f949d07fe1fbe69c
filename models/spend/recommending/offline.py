"""Batches: what nobody waits for costs less at providers that sell it cheaper when they may answer within a day."""

from __future__ import annotations

from collections.abc import Mapping

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

DISCOUNTS: Mapping[str, float] = dict.fromkeys(("openai", "anthropic", "gemini", "groq", "together"), 0.5)
"""Provider → what its batch interface takes off the price, as each of them announces it."""

DRAWS = 1_000
_LEAST_CALLS, _LEAST_DAYS = 50, 8
_MOST_STREAMED, _LEAST_NIGHTLY = 0.01, 0.5


def batches(
    cells: pd.DataFrame, *, days: float, bill: float, discounts: Mapping[str, float] = DISCOUNTS, seed: int = 0
) -> list[Advice]:
    """What a provider's batch interface would save on calls that are not streamed, not of a conversation, mostly asked
    at night, day after day.

    Parameters
    ----------
    cells : `features.views.llm_waiting.waiting_cells` of the last `days` days.
    discounts : provider → part of the price that its batch interface takes off.
    """
    found = []
    for workspace, rows in cells.groupby("workspace", sort=True):
        calls = float(rows["calls"].sum())
        if calls < _LEAST_CALLS or rows["day"].nunique() < _LEAST_DAYS:
            continue
        if rows["streamed"].sum() + rows["talked"].sum() > _MOST_STREAMED * calls:
            continue
        if rows["nightly"].sum() < _LEAST_NIGHTLY * calls:
            continue
        off = rows["provider"].map(lambda name: discounts.get(str(name), 0.0)).to_numpy(np.float64)
        saved = rows["cost"].to_numpy(np.float64) * off
        every = max(round(days), 1)
        by_day = np.zeros(every)
        places = np.minimum((rows["day"].max() - rows["day"]).dt.days.to_numpy(), every - 1)
        np.add.at(by_day, places, saved)
        totals = drawn_days(every, DRAWS, seed) @ by_day * MONTH / days
        saving = interval(totals, float(totals[0]))
        if saving.value < max(LEAST_SAVING, LEAST_SHARE * bill) or saving.low <= 0:
            continue
        spent = float(rows["cost"].sum()) * MONTH / days
        night = float(rows["nightly"].sum() / calls)
        providers = sorted({str(name) for name in rows["provider"][off > 0]})
        found.append(
            Advice(
                kind="batch",
                workspace=str(workspace),
                subject="nightly calls",
                words=(
                    f"Nobody seems to wait for {workspace}: no call is streamed, {night:.0%} are asked at night. As "
                    f"batches of {' and '.join(providers)} they would cost {money(saving.value)} "
                    f"[{money(saving.low)}, {money(saving.high)}] of {money(spent)} a month less."
                ),
                saving=saving,
                spent=spent,
                scope={"providers": providers},
                steps=(
                    "Send these requests to the provider's own batch interface, where they may take a day.",
                    "The gateway's batches are ordinary calls at ordinary prices: they save nothing by themselves.",
                ),
                evidence={
                    "calls": int(calls),
                    "nightly": night,
                    "discounts": {name: discounts[name] for name in providers},
                    "level": LEVEL,
                },
                notes=("Whether somebody waits is not in the ledger; whoever wrote the program knows.",),
            )
        )
    return found
