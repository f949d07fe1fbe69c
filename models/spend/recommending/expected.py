"""What another model's answers would be: how good, how long, how long in coming, by kind of task."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from models.spend.recommending.prices import UnitPrice, unit_prices
from models.spend.recommending.ridge import Effect, Fitted, fit, inverse
from store.errors import EmptyData

Floats = np.ndarray[Any, np.dtype[np.float64]]

DRAWS = 400
TASK = ("domain", "complexity")
# Standard deviations on the scale of the link: how far effects lie apart before anything was seen. Complexity moves
# quality most; what a model is good at in one domain is mostly what it is good at in all.
_QUALITY = (
    Effect(("model",), 1.0),
    Effect(("complexity",), 2.0),
    Effect(("domain",), 0.7),
    Effect(("model", "domain"), 0.4),
    Effect(("model", "complexity"), 0.3),
)
_LENGTH = (
    Effect(("model",), 0.7),
    Effect(("workspace",), 0.5),
    Effect(("domain", "complexity"), 1.0),
    Effect(("model", "complexity"), 0.3),
    Effect(("model", "domain"), 0.2),
)
_TIME = (
    Effect(("model",), 1.5),
    Effect(("domain", "complexity"), 0.5),
    Effect(("model", "complexity"), 0.5),
)
_LEAST_JUDGED = 40
# Whose habits are told apart; all others together are one.
_MOST_WORKSPACES = 60


@dataclass(frozen=True)
class Expected:
    """What the ledger lets one expect of each model.

    Attributes
    ----------
    prices : model → what it charges now.
    quality : None where too few answers were judged.
    judged_by : "people" or "scores", whose opinion `quality` is.
    """

    prices: dict[str, UnitPrice]
    length: Fitted
    time: Fitted
    quality: Fitted | None
    judged_by: str
    seed: int
    _drawn: dict[str, Floats] = field(default_factory=dict)

    def longer(self, cells: pd.DataFrame, model: str) -> Floats:
        """Output tokens of a model's answers to cells' calls, relative to those that were given, draws × cells."""
        return self._ratio("length", self.length, cells, model)

    def slower(self, cells: pd.DataFrame, model: str) -> Floats:
        """The same of the time until the answer is whole."""
        return self._ratio("time", self.time, cells, model)

    def better(self, cells: pd.DataFrame, model: str) -> Floats | None:
        """Quality of a model's answers less that of the given ones' models, draws × cells; None: nobody can tell."""
        if self.quality is None:
            return None
        before, after = self._predicted("quality", self.quality, cells, model)
        return np.asarray(inverse(after, "logit") - inverse(before, "logit"))

    def quality_of(self, cells: pd.DataFrame, model: str) -> Floats | None:
        """Quality of a model's answers, draws × cells."""
        if self.quality is None:
            return None
        return inverse(self._predicted("quality", self.quality, cells, model)[1], "logit")

    def _ratio(self, name: str, fitted: Fitted, cells: pd.DataFrame, model: str) -> Floats:
        before, after = self._predicted(name, fitted, cells, model)
        return np.asarray(np.exp(np.clip(after - before, -5.0, 5.0)))

    def _predicted(self, name: str, fitted: Fitted, cells: pd.DataFrame, model: str) -> tuple[Floats, Floats]:
        """Linear predictors of the models that answered and of another one, draws × cells."""
        if name not in self._drawn:
            self._drawn[name] = fitted.draws(DRAWS, self.seed)
        drawn = self._drawn[name]
        # Cells of many days are of few kinds.
        names = ["workspace", "model", *TASK]
        kinds = list(zip(*(cells[one].tolist() for one in names), strict=True))
        place = {kind: number for number, kind in enumerate(dict.fromkeys(kinds))}
        codes = np.array([place[kind] for kind in kinds], dtype=np.intp)
        each = pd.DataFrame(list(place), columns=names)
        before, after = fitted.predictor(each, drawn), fitted.predictor(each.assign(model=model), drawn)
        return np.asarray(before[:, codes]), np.asarray(after[:, codes])


def expected(cells: pd.DataFrame, *, seed: int = 0) -> Expected:
    """Learn from the ledger's cells.

    Parameters
    ----------
    cells : `features.views.llm_costs.cost_cells` of all workspaces: what one asks a model the others can learn from.

    Raises
    ------
    EmptyData : no chat was answered.
    """
    chats = cells[(cells["kind"] == "chat") & (cells["domain"] != "") & ~cells["batch"]]
    if not len(chats):
        raise EmptyData("The ledger holds no answered chat in this time.", remedy="Look further back.", field="as_of")
    busiest = chats.groupby("workspace")["calls"].sum().nlargest(_MOST_WORKSPACES).index
    chats = chats.assign(workspace=chats["workspace"].where(chats["workspace"].isin(busiest), ""))
    judged_by = "people" if chats["judged"].sum() >= _LEAST_JUDGED else "scores"
    count, total = ("judged", "judgement") if judged_by == "people" else ("scored", "score")
    enough = float(chats[count].sum()) >= _LEAST_JUDGED
    return Expected(
        prices=unit_prices(cells),
        length=fit(chats, "calls", "output_tokens", _LENGTH, "log"),
        time=fit(chats, "calls", "latency_ms", _TIME, "log"),
        quality=fit(chats, count, total, _QUALITY, "logit") if enough else None,
        judged_by=judged_by,
        seed=seed,
    )
