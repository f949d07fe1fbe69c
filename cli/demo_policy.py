"""How good a policy that was promoted truly is: on the calls that it was judged on, by the truth of the demo world."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from store.settings import Settings

if TYPE_CHECKING:
    from features.world.llm_calls import LlmTruth
    from models.routing.model import RoutingModel

REPLICATES = 200
_READ = ("aiq", "kept_at_quarter")


@dataclass(frozen=True)
class HeldOut:
    """A policy and others on calls that it has not seen; every answer's quality and cost is known.

    Attributes
    ----------
    calls : that were held out.
    own : of the policy: `area` and `kept at ¼ cost`, each with its 95 % interval.
    others : of each baseline the same, and `ahead`, the policy's area less its own, paired.
    figure : PNG of the cost–quality curves.
    """

    calls: int
    own: dict[str, Any]
    others: list[dict[str, Any]]
    figure: bytes

    @property
    def ahead_of_all(self) -> bool:
        """Whether the policy is above every baseline beyond chance."""
        return all(one["ahead"]["low"] > 0 for one in self.others)


def held_out(settings: Settings, folder: Path, truth: LlmTruth, as_of: datetime, days: int) -> HeldOut:
    """Judge a version by the truth.

    Parameters
    ----------
    folder : of the version, as the registry gives it.
    as_of, days : as it was trained with: its holdout is found again.
    """
    from features.snapshot import read_dataset
    from features.views import llm_calls
    from gateway.account.contents import Contents
    from models.lifecycle.training import run_folder
    from models.routing.family import RoutingFamily, RoutingOptions
    from models.routing.judging import Drawn, estimate, points_of, readings
    from models.routing.outcomes import outcomes
    from models.routing.regret import Worth
    from models.routing.scoreboard import compared

    family = RoutingFamily(RoutingOptions(days=days, seed=settings.seed, threads=settings.threads))
    snapshot = llm_calls.take(settings, as_of, Contents(settings).read)
    ref = family.dataset(snapshot, run_folder(settings, "routing", "by the truth"))
    split = family.split(read_dataset(ref), ref.roles)
    model = _judged(family.load(folder))
    judged = outcomes(split.holdout, ref.roles, model.models)
    learned = outcomes(split.train, ref.roles, model.models)
    frame = truth.frame().set_index("id").loc[judged.keys]
    quality = frame[[f"quality:{name}" for name in model.models]].to_numpy(np.float64)
    cost = frame[[f"cost:{name}" for name in model.models]].to_numpy(np.float64) / 1e9
    real = Worth(quality, cost, quality, cost, 0.0)
    drawn = Drawn.of(np.arange(len(judged)), REPLICATES, settings.seed)
    points = points_of(*model.predict(model.vectors(judged.gists, judged.task)), model.tradeoff, real)
    own = readings(points, real, drawn)
    told, figures = compared(model, judged, learned, real, drawn, points, own, ref.roles, split.train, split.holdout)
    others = [
        {"against": one["against"], "ahead": one["aiq"], "kept": one.get("kept_at_quarter")}
        for one in told["differences"]
        if one["against"] != "oracle"
    ]
    read = {name: estimate(own[name]).to_dict() for name in _READ}
    return HeldOut(len(judged), read, others, figures["cost_quality.png"])


def _judged(model: RoutingModel) -> RoutingModel:
    """The policy as it was judged, before it was made again from all calls."""
    return model.judged or model
