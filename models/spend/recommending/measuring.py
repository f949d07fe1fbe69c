"""What a recommendation saved once it was followed, beside what would have been paid without it; never its estimate.

Each kind has a counterfactual of its own. Where none can be had, nothing is claimed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pandas as pd

from features.views.llm_costs import cached_cells, cost_cells
from models.spend.recommending.advice import LEVEL, MONTH, NANOS, Interval, money
from models.spend.recommending.measured_cache import cache_saving
from models.spend.recommending.measured_model import model_saving
from models.spend.recommending.measured_prompts import prompt_saving
from store.errors import StateConflict
from store.settings import Settings
from store.spend_recommendations import IN_FORCE, SpendRecommendation

BEFORE = timedelta(days=60)
LEAST_DAYS = 3.0


@dataclass(frozen=True)
class Measured:
    """What came of a recommendation.

    Attributes
    ----------
    days : since it is followed.
    spent, counterfactual : dollars that its calls cost, and would have cost without it.
    saved : dollars so far; None: it cannot be told, `warnings` say why.
    check : the same by another method, where there is one.
    quality : change of judgements; None: too few.
    """

    days: float
    method: str
    calls: int = 0
    spent: float | None = None
    counterfactual: float | None = None
    saved: Interval | None = None
    check: Mapping[str, Any] | None = None
    quality: Mapping[str, Any] | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def report(self, estimated: float) -> dict[str, Any]:
        """JSON-ready; money in dollars.

        Parameters
        ----------
        estimated : dollars a month, as it was proposed.
        """
        scale = MONTH / self.days if self.days > 0 else 0.0
        saved = None if self.saved is None else self.saved.to_dict()
        return {
            "days": round(self.days, 2),
            "method": self.method,
            "calls": self.calls,
            "spent": self.spent,
            "counterfactual": self.counterfactual,
            "saved": saved,
            "saved_a_month": None if saved is None else {name: value * scale for name, value in saved.items()},
            "estimated_a_month": estimated,
            "level": LEVEL,
            "check": self.check,
            "quality": self.quality,
            "evidence": dict(self.evidence),
            "warnings": list(self.warnings),
            "words": self._words(estimated, scale),
        }

    def _words(self, estimated: float, scale: float) -> str:
        if self.saved is None:
            return f"What it saved cannot be told: {' '.join(self.warnings)}"
        one = self.saved
        month = f"{money(one.value * scale)} [{money(one.low * scale)}, {money(one.high * scale)}]"
        told = f"Saved {month} a month over {self.days:.0f} days, against {money(estimated)} estimated."
        return " ".join([told, *self.warnings])


def measure(settings: Settings, row: SpendRecommendation, as_of: datetime, *, seed: int = 0) -> dict[str, Any]:
    """What a recommendation that is in force saved up to a moment; see `Measured.report`.

    Raises
    ------
    StateConflict : it is not in force.
    """
    if row.state not in IN_FORCE or row.accepted is None:
        raise StateConflict(
            f"The recommendation {row.id} is {row.state}: nothing was changed that could be measured.",
            remedy="Accept it first.",
            field="state",
            value=row.state,
        )
    since = datetime.fromisoformat(str(row.accepted["since"]).removesuffix("Z"))
    return _measured(settings, row, since, as_of, seed).report(row.saving / NANOS)


def _measured(settings: Settings, row: SpendRecommendation, since: datetime, until: datetime, seed: int) -> Measured:
    days = (until - since) / timedelta(days=1)
    if days < LEAST_DAYS:
        told = f"It has been followed for {max(days, 0):.1f} days; after {LEAST_DAYS:g} it is looked at."
        return Measured(max(days, 0.0), "none yet", warnings=(told,))
    if row.kind == "batch" or row.workspace is None:
        told = "The ledger does not see what a provider charges for its batches; its invoice does."
        return Measured(days, "none", warnings=(told,))
    before, after = cost_cells(settings, since - BEFORE, since), cost_cells(settings, since, until)
    if row.kind == "cache":
        return _cache(settings, row.workspace, before, after, since, until, days, seed)
    if row.kind == "prompt trimming":
        return _prompts(row.workspace, before, after, days, seed)
    return _model(row.workspace, row.advice["scope"], before, after, days, seed)


def _model(
    workspace: str, scope: Mapping[str, Any], before: pd.DataFrame, after: pd.DataFrame, days: float, seed: int
) -> Measured:
    found = model_saving(workspace, scope, before, after, days, seed=seed)
    if found is None:
        told = "No call has been answered by the other model since, or none asked for the dearer one before."
        return Measured(days, "none", warnings=(told,))
    return Measured(days=days, method="the same calls at the old models' lengths and today's prices", **found)


def _cache(
    settings: Settings,
    workspace: str,
    before: pd.DataFrame,
    after: pd.DataFrame,
    since: datetime,
    until: datetime,
    days: float,
    seed: int,
) -> Measured:
    hits = cached_cells(settings, since, until, workspace)
    paid = pd.concat([before, after], ignore_index=True)
    found = cache_saving(hits, paid[paid["workspace"] == workspace], days, seed=seed)
    if found is None:
        return Measured(days, "none", warnings=("The cache has answered nothing since.",))
    return Measured(days=days, method="what calls of the same kind cost that the cache did not answer", **found)


def _prompts(workspace: str, before: pd.DataFrame, after: pd.DataFrame, days: float, seed: int) -> Measured:
    found = prompt_saving(workspace, before, after, days, seed=seed)
    if found is None:
        told = "There are too few calls of the same kind before and after."
        return Measured(days, "none", warnings=(told,))
    method = "tokens of prompts beside those before, less what changed in other workspaces"
    return Measured(days=days, method=method, **found)
