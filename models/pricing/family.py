"""Pricing as the lifecycle sees it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.lifecycle.evaluation import Evaluation, Plots, slices_of
from models.lifecycle.family import Candidate, Metric, Model, Split
from models.lifecycle.threads import one_blas_thread
from models.pricing.members import MEMBERS, Demand
from models.pricing.model import PricingModel
from models.pricing.options import PricingOptions
from models.pricing.panel import Panel, listed, panel_of
from store.dataset import DatasetRef, SnapshotRef

__all__ = ["PricingFamily", "PricingModel", "PricingOptions"]

BASELINE = "cell_mean"
ENSEMBLE = "ensemble"
SLICE_ROWS = 50
MANY_GROUPS = 20
TIMED_ROWS = 9


class PricingFamily:
    """Demand by log-log regression, forest, boosting and their ensemble against the mean of each place; and, of the
    model that is registered, causal elasticities.

    Candidates are judged by how well they foresee sales. What a price does is estimated apart from them, with
    cross-fitting: a model that predicts well is not one that knows causes.
    """

    name = "pricing"
    tables: tuple[str, ...] = ("customers", "subscriptions", "prices")
    primary = Metric("deviance", "lower", "nats")
    comparison: Literal["paired_bootstrap", "diebold_mariano"] = "paired_bootstrap"
    purpose = (
        "Says how much would be sold at another price, with intervals, and recommends prices where the data can tell; "
        "elsewhere it says why they cannot."
    )
    limits = (
        "An elasticity is an effect only as far as prices moved for reasons that are accounted for; a price outside "
        "the range seen so far is a guess.",
    )

    def __init__(self, options: PricingOptions | None = None) -> None:
        self.options = options or PricingOptions()

    def dataset(self, snapshot: SnapshotRef, folder: Path) -> DatasetRef:
        """Sign-ups per plan, region and week beside the prices asked. Product = plan, segment = region."""
        from features.snapshot import write_dataset
        from features.views.demand import demand_frame

        return write_dataset(
            demand_frame(snapshot),
            folder,
            as_of=snapshot.as_of,
            roles={
                "product": "plan",
                "segment": "region",
                "time": "day",
                "exposure": "days",
                "price": "price",
                "quantity": "quantity",
                "competitor": "competitor_price",
            },
            source=f"snapshot {snapshot.digest[:12]}",
        )

    def split(self, frame: pd.DataFrame, roles: Mapping[str, str]) -> Split:
        """The latest rows are the holdout; without time whole groups, or rows by their content.

        Raises
        ------
        DataError : the roles or values do not fit, or one side is left with too little.
        """
        from models.pricing.splitting import split

        return split(frame, roles, self.options)

    def candidates(self) -> Sequence[Candidate]:
        """The mean of each place, three demand models, and their ensemble, which alone may be chosen: it is a single
        model already where the weights say so."""
        return (
            Candidate(BASELINE, baseline=True),
            *(Candidate(name, contender=False) for name in MEMBERS),
            Candidate(ENSEMBLE, needs=MEMBERS, partial=True),
        )

    def fit(
        self, candidate: Candidate, train: pd.DataFrame, roles: Mapping[str, str], fitted: Mapping[str, Model]
    ) -> PricingModel:
        """Rolling origins within the training rows, then the fit on all of them.

        Raises
        ------
        DataError : the rows do not fit. TrainingError : too few rows, an unknown candidate, or members are missing.
        """
        with one_blas_thread():
            return self._fit(candidate, train, roles, fitted)

    def _fit(
        self, candidate: Candidate, train: pd.DataFrame, roles: Mapping[str, str], fitted: Mapping[str, Model]
    ) -> PricingModel:
        from models.pricing import training

        panel = panel_of(train, roles, self.options.period_days)
        if candidate.name == BASELINE:
            demand, loss = training.fit_baseline(panel, self.options)
            return PricingModel(BASELINE, loss, demand)
        if candidate.name != ENSEMBLE:
            demand, loss = training.fit_member(candidate.name, panel, self.options)
            return PricingModel(candidate.name, loss, demand)
        members = {name: fitted[name] for name in MEMBERS if name in fitted}
        known = {name: one.demand for name, one in members.items() if isinstance(one, PricingModel)}
        demand, loss = training.fit_ensemble(panel, known)
        return PricingModel(ENSEMBLE, loss, demand)

    def load(self, folder: Path) -> PricingModel:
        """Read back a model.

        Raises
        ------
        IntegrityFailed : the folder holds no pricing model of this format.
        """
        return PricingModel.load(folder)

    def evaluate(
        self, model: Model, holdout: pd.DataFrame, train: pd.DataFrame, roles: Mapping[str, str]
    ) -> Evaluation:
        """Deviance per row, metrics with intervals, slices by product and segment, latency, plots.

        With time a recipe is judged rather than one fit of it: the holdout is foreseen in parts, each by members fitted
        to everything before it, as if it had been trained again each time. That goes for a registered model as well,
        which has learned from the holdout. The loss is the deviance given the sales of all places in a period, where
        there are several; see `metrics.given_totals`.

        Raises
        ------
        DataError : the rows do not fit the model.
        """
        with one_blas_thread():
            return self._evaluate(model, holdout, train, roles)

    def _evaluate(
        self, model: Model, holdout: pd.DataFrame, train: pd.DataFrame, roles: Mapping[str, str]
    ) -> Evaluation:
        from models.pricing import metrics, training
        from models.pricing.plots import plots

        assert isinstance(model, PricingModel)
        panel = panel_of(holdout, roles, self.options.period_days)
        known = panel_of(train, roles, self.options.period_days)
        demand = model.demand
        if model.market is not None:
            demand = training.fit_recipe(demand, known, self.options)
        whole = panel_of(pd.concat([train, holdout]), roles, self.options.period_days)
        if model.candidate == ENSEMBLE and not model.elasticities:
            model = self._with_elasticities(model, whole, roles)
        if panel.day is not None and known.day is not None and float(panel.day.min()) > float(known.day.max()):
            predictions, _, _ = training.rolled(demand, whole, float(panel.day.min()), self.options)
            mean = predictions.sort_values("row")["mean"].to_numpy()
        else:
            mean = demand.mean(panel)
        groups = _groups(panel, holdout)
        given = metrics.given_totals(panel.quantity, mean, training.moments_of(panel))
        losses = pd.DataFrame(
            {"loss": metrics.deviance_rows(panel.quantity, given), "group": groups, "step": 0}, index=holdout.index
        )
        for name, values in (("product", panel.product), ("segment", panel.segment)):
            if 1 < len(set(values.tolist())) <= 50:
                losses[f"slice.{name}"] = values
        return Evaluation(
            candidate=model.candidate,
            losses=losses,
            metrics=metrics.estimates(
                panel.quantity,
                mean,
                losses["loss"].to_numpy(),
                groups,
                demand.noise,
                replicates=self.options.replicates,
                seed=self.options.seed,
            ),
            slices=slices_of(losses, SLICE_ROWS),
            latency_ms=_latency(demand, panel),
            plots=Plots(lambda: plots(demand, known, panel, mean, model.elasticities, model.candidate)),
            details=_details(model, demand),
        )

    def finalise(
        self,
        model: Model,
        frame: pd.DataFrame,
        roles: Mapping[str, str],
        champion: Model | None = None,  # noqa: ARG002 - nothing is taken over from the last one
    ) -> PricingModel:
        """The recipe on all rows, with the elasticities that they tell and the market at their end."""
        from models.pricing import training
        from models.pricing.outlook import market_of

        assert isinstance(model, PricingModel)
        with one_blas_thread():
            panel = panel_of(frame, roles, self.options.period_days)
            judged = panel_of(self.split(frame, roles).holdout, roles, self.options.period_days)
            first = None if judged.day is None else float(judged.day.min())
            demand = training.refit(model.demand, panel, self.options, first)
            final = self._with_elasticities(replace(model, demand=demand), panel, roles)
            return replace(final, market=market_of(panel, demand))

    def online(self, snapshot: SnapshotRef) -> pd.DataFrame | None:  # noqa: ARG002 - nothing is read
        """Nothing: the registered model holds the market itself."""
        return None

    def _with_elasticities(self, model: PricingModel, panel: Panel, roles: Mapping[str, str]) -> PricingModel:
        from models.pricing.causal import causal

        found = causal(panel, self.options)
        facts = {
            "rows": len(panel),
            "products": len(panel.products),
            "method": found.method,
            "response": found.response,
            "clusters": found.clusters,
            "controls": listed(roles, "control"),
            "instruments": listed(roles, "instrument"),
            "until": panel.start.isoformat() if panel.day is not None else None,
            "dated": panel.dated,
        }
        return replace(model, elasticities=found.elasticities, experiments=found.experiments, facts=facts)


def _groups(panel: Panel, holdout: pd.DataFrame) -> NDArray[Any]:
    """What is drawn together in the bootstrap: panel groups where there are many, else moments, else rows."""
    if len(set(panel.group.tolist())) >= MANY_GROUPS:
        return panel.group.astype(str)
    if panel.day is not None:
        return panel.day.astype(np.int64).astype(str)
    return np.arange(len(holdout)).astype(str)


def _latency(demand: Demand, panel: Panel) -> float:
    """Shortest time of predicting one row, in milliseconds: what else the machine did only ever adds to it."""
    took = []
    for at in range(min(TIMED_ROWS, len(panel))):
        row = panel.take(np.asarray([at]))
        start = time.perf_counter()
        demand.mean(row)
        took.append(time.perf_counter() - start)
    return 1000.0 * float(np.min(took))


def _details(model: PricingModel, demand: Demand) -> dict[str, Any]:
    identified = [one for one in model.elasticities if one.of == "own" and one.product and one.segment is None]
    return {
        "weights": {member.name: weight for member, weight in zip(demand.members, demand.weights, strict=True)},
        "noise": demand.noise.to_dict(),
        "elasticities": {
            str(one.product): {
                "value": _number(one.value),
                "low": _number(one.low),
                "high": _number(one.high),
                "identified": one.identified,
                "reason": one.reason,
                "method": one.method,
            }
            for one in identified[:50]
        },
        "facts": dict(model.facts),
    }


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
