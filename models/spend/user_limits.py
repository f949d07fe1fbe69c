"""A daily amount for each user that lets everybody work and stops a program that runs away."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from models.spend.budgets import rounded_up

PERCENT = 99
TIMES = 3.0
_LEAST_DAYS = 50  # on which somebody spent something; fewer say nothing about the hundredth
_TOLD = 5


@dataclass(frozen=True)
class Hit:
    """Days of one user on which the amount would have been used up."""

    workspace: str
    user: str
    days: int
    spent: float
    saved: float


@dataclass(frozen=True)
class UserLimit:
    """An amount a day for each user.

    Attributes
    ----------
    amount : dollars.
    usual : dollars that 99 of 100 days of users stay below.
    days : days of users that it was worked out from.
    hits : whom it would have stopped, those with most saved first.
    """

    amount: float
    usual: float
    days: int
    hits: tuple[Hit, ...]

    @property
    def saved(self) -> float:
        """Dollars that would not have been spent."""
        return sum(one.saved for one in self.hits)

    @property
    def reasons(self) -> tuple[str, ...]:
        said = [
            f"{PERCENT} of 100 days on which a user spends anything stay below ${self.usual:,.4f} "
            f"({self.days:,} of them); {TIMES:g} times that leaves room."
        ]
        if not self.hits:
            return (*said, "Nobody would have been stopped by it.")
        most = self.hits[0]
        told = f"{most.user} in {most.workspace} on {most.days} day{'s' if most.days > 1 else ''}"
        others = f" and {len(self.hits) - 1} more" if len(self.hits) > 1 else ""
        return (*said, f"It would have stopped {told}{others}: ${self.saved:,.2f} less.")

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        hits: list[Mapping[str, Any]] = [vars(one) for one in self.hits[:_TOLD]]
        return {
            "amount": self.amount,
            "usual": self.usual,
            "user_days": self.days,
            "saved": self.saved,
            "hits": hits,
            "reasons": list(self.reasons),
        }


def user_limit(cells: pd.DataFrame) -> UserLimit | None:
    """The amount; None where too little is known of users.

    Parameters
    ----------
    cells : day, workspace, user, cost.
    """
    daily = cells.groupby(["workspace", "user", "day"], sort=True)["cost"].sum().reset_index()
    daily = daily[daily["cost"] > 0]
    if len(daily) < _LEAST_DAYS:
        return None
    usual = float(np.percentile(daily["cost"], PERCENT))
    amount = rounded_up(TIMES * usual)
    over = daily[daily["cost"] > amount]
    hits = [
        Hit(str(workspace), str(user), len(rows), float(rows["cost"].sum()), float((rows["cost"] - amount).sum()))
        for (workspace, user), rows in over.groupby(["workspace", "user"])
    ]
    return UserLimit(amount, usual, len(daily), tuple(sorted(hits, key=lambda one: -one.saved)))
