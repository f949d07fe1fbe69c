"""Routing policies as the lifecycle sees them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.gist import gists
from models.lifecycle.evaluation import Evaluation, slices_of
from models.lifecycle.family import Candidate, Metric, Model, Split
from models.routing.model import EXAMPLES, RoutingModel, Scale
from models.routing.options import RoutingOptions
from models.routing.outcomes import SCORE, Outcomes, outcomes
from store.dataset import DatasetRef, SnapshotRef
from store.errors import MissingColumn

__all__ = ["RoutingFamily", "RoutingModel", "RoutingOptions"]

SLICE_ROWS = 50
TIMED_ROWS = 40
# More levels than this are no kinds of prompts.
_MOST_SLICES = 30


class RoutingFamily:
    """Task means, ridge regression, neighbourhoods, difficulty, boosted trees and their blend, against a choice that
    does not look at the prompt, one that looks at its length, and the mean of its task.
    """

    name = "routing"
    tables: tuple[str, ...] = ("llm_calls",)
    primary = Metric("regret", "lower", "quality")
    comparison: Literal["paired_bootstrap", "diebold_mariano"] = "paired_bootstrap"
    purpose = (
        "Says of each prompt how well every model would answer it and what that would cost, so that the cheapest model "
        "that is good enough can be chosen."
    )
    limits = (
        "Most of what can be known about a prompt from its words is what kind of task it is; two prompts of one kind "
        "are told apart only a little.",
        "Prices are those of the rows that were learned from; the gateway decides with today's prices and the "
        "predicted length of the answer.",
    )

    def __init__(self, options: RoutingOptions | None = None) -> None:
        self.options = options or RoutingOptions()

    def dataset(self, snapshot: SnapshotRef, folder: Path) -> DatasetRef:
        """Calls of the ledger that were answered, with what is known of how well: a gist of the prompt in place of its
        words."""
        from features.snapshot import write_dataset
        from features.views.llm_calls import ROLES, training_frame

        frame = training_frame(snapshot, days=self.options.days)
        return write_dataset(
            frame, folder, as_of=snapshot.as_of, roles=ROLES, source=f"snapshot {snapshot.digest[:12]}"
        )

    def split(self, frame: pd.DataFrame, roles: Mapping[str, str]) -> Split:
        """By time, by whole groups, or by prompts; see `models.routing.splitting`.

        Raises
        ------
        InvalidValue : too few rows on one side.
        """
        from models.routing.splitting import split

        return split(frame, roles, self.options)

    def candidates(self) -> Sequence[Candidate]:
        """Baselines, members, and the blend of them, which alone is chosen as long as it can be fitted."""
        from models.routing.training import BASELINES, members_of

        members = members_of(self.options)
        return (
            *(Candidate(name, baseline=True) for name in BASELINES),
            *(Candidate(name, contender=False) for name in members if name not in BASELINES),
            Candidate("blend", needs=members, partial=True),
        )

    def fit(
        self,
        candidate: Candidate,
        train: pd.DataFrame,
        roles: Mapping[str, str],
        fitted: Mapping[str, Model],  # noqa: ARG002 - members are found once for all candidates
    ) -> RoutingModel:
        """Members, their weights and the spread of trade-offs from predictions out of fold, then fits on all rows.

        Raises
        ------
        DataError : the training rows cannot be learned from.
        TrainingError : an unknown candidate.
        """
        from models.routing.material import material
        from models.routing.training import fit

        return fit(candidate.name, material(train, roles, self.options), self.options, Scale(*self.options.scale))

    def load(self, folder: Path) -> RoutingModel:
        """Read back a policy.

        Raises
        ------
        IntegrityFailed : the folder holds no routing policy of this format.
        """
        return RoutingModel.load(folder)

    def evaluate(
        self, model: Model, holdout: pd.DataFrame, train: pd.DataFrame, roles: Mapping[str, str]
    ) -> Evaluation:
        """Regret per row, what is read off the cost–quality curve with intervals, and others on the same rows.

        Raises
        ------
        MissingColumn : the policy knows fewer than two of the models in the rows.
        """
        from models.routing.judging import Drawn, curve_of, estimate, points_of, readings
        from models.routing.material import material, row_numbers
        from models.routing.regret import regret_rows, weights_of, worth
        from models.routing.training import reward

        assert isinstance(model, RoutingModel)
        learned = outcomes(train, roles)
        names = sorted({*learned.models, *outcomes(holdout, roles).models})
        learned, judged = outcomes(train, roles, names), outcomes(holdout, roles, names)
        # Made again from all rows, it has seen the answers; what was judged then has not.
        if model.judged is not None and np.isin(row_numbers(judged), model.seen).any():
            model = model.judged
        quality, cost = _predicted(model, judged)
        said = None if judged.whole else reward(judged, material(train, roles, self.options))
        real = worth(judged, said)
        weights = weights_of(learned)
        units = _units(judged, roles)
        drawn = Drawn.of(units, self.options.replicates, self.options.seed)
        points = points_of(quality, cost, model.tradeoff, real)
        own = readings(points, real, drawn)
        loss = regret_rows(quality, cost, real, weights)
        keys = pd.Index(judged.keys.astype(str), name=None)
        losses = pd.DataFrame({"loss": loss, "group": units.astype(str), "step": 0}, index=keys)
        losses = losses.join(_slices(holdout, roles, keys))
        metrics = {name: estimate(values) for name, values in own.items()}
        metrics["regret"] = estimate(drawn.means(loss[:, None])[:, 0])
        details: dict[str, Any] = {
            "curve": curve_of(points, drawn),
            "models": list(model.models),
            "settings": model.facts["settings"],
            "out_of_fold": model.facts["out_of_fold"],
            "unseen_groups": model.facts.get("unseen_groups"),
            "weights": dict(zip(model.quality.members, model.quality.weights.tolist(), strict=True)),
            "tradeoffs": {f"{(i + 1) / 10:.1f}": one for i, one in enumerate(model.tradeoff.weights)},
            "cells_estimated": real.estimated,
        }
        if "model" in roles:
            from models.routing.off_policy import off_policy

            details["off_policy"] = off_policy(quality, cost, model.tradeoff, judged, real, drawn)
        plots: dict[str, bytes] = {}
        if model.rivals:
            from models.routing.scoreboard import compared

            told, plots = compared(model, judged, learned, real, drawn, points, own, roles, train, holdout)
            details |= told
        return Evaluation(
            candidate=model.candidate,
            losses=losses,
            metrics=metrics,
            slices=slices_of(losses, SLICE_ROWS),
            latency_ms=_latency(model),
            plots=plots,
            details=details,
        )

    def finalise(
        self,
        model: Model,
        frame: pd.DataFrame,
        roles: Mapping[str, str],
        champion: Model | None = None,  # noqa: ARG002
    ) -> Model:
        """The same recipe fitted again to all rows; what was judged stays in it."""
        from models.routing.material import prepare
        from models.routing.training import refit

        assert isinstance(model, RoutingModel)
        seen = outcomes(frame, roles)
        return refit(model, prepare(seen, self.options), self.options) if seen.models == model.models else model

    def online(self, snapshot: SnapshotRef) -> None:  # noqa: ARG002 - the policy holds all that the gateway needs
        """Nothing: prompts come with their words."""
        return


def _predicted(model: RoutingModel, judged: Outcomes) -> tuple[Any, Any]:
    """Predictions in the order of the rows' models; one that the policy does not know is never chosen."""
    place = {name: i for i, name in enumerate(model.models)}
    known = [name for name in judged.models if name in place]
    if len(known) < 2:
        raise MissingColumn(
            f"The policy knows {len(known)} of the models {', '.join(judged.models[:8])}: it chooses among "
            f"{', '.join(model.models[:8])}.",
            remedy="Train under another name, or bring outcomes of the same models.",
            field=SCORE,
        )
    quality, cost = model.predict(model.vectors(judged.gists, judged.task))
    take = [place.get(name, -1) for name in judged.models]
    strange = np.array([one < 0 for one in take])
    quality, cost = quality[:, take].copy(), cost[:, take].copy()
    quality[:, strange], cost[:, strange] = -1e9, 1e9
    return quality, cost


def _units(judged: Outcomes, roles: Mapping[str, str]) -> NDArray[np.int64]:
    """Rows that are not independent of each other share a number: those of a group; of calls, those with one prompt."""
    from models.routing.material import row_numbers

    if "model" in roles or len(np.unique(judged.group)) < 2:
        return np.unique(row_numbers(judged), return_inverse=True)[1].astype(np.int64)
    return judged.group


def _slices(holdout: pd.DataFrame, roles: Mapping[str, str], keys: pd.Index) -> pd.DataFrame:
    made: dict[str, Any] = {}
    for column in ("group", "domain", "complexity"):
        source = roles.get(column, column)
        if source in holdout and 1 < holdout[source].nunique() <= _MOST_SLICES:
            values = holdout[source]
            made[f"slice.{source}"] = values.astype(object).where(values.notna(), "(missing)").to_numpy()
    return pd.DataFrame(made, index=keys)


def _latency(model: RoutingModel) -> float:
    """Median of predicting one prompt, in milliseconds."""
    took = []
    for number in range(TIMED_ROWS):
        text = EXAMPLES[number % len(EXAMPLES)]
        start = time.perf_counter()
        model.predict(model.basis.vector(gists([text]))[None, :])
        took.append(time.perf_counter() - start)
    return 1000.0 * float(np.median(took))
