"""Churn as the lifecycle sees it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.tabular import check_roles, read_target, values_of
from models.churn.members import MEMBERS
from models.churn.metrics import estimates, log_loss_rows
from models.churn.model import ChurnModel
from models.churn.options import ChurnOptions
from models.lifecycle.evaluation import Evaluation, Plots, slices_of
from models.lifecycle.family import Candidate, Metric, Model, Split
from store.dataset import DatasetRef, SnapshotRef
from store.errors import TrainingError

__all__ = ["ChurnFamily", "ChurnModel", "ChurnOptions"]

SLICE_ROWS = 50
TIMED_ROWS = 60


class ChurnFamily:
    """Logistic regression, CatBoost, LightGBM, XGBoost and their blend, against the prevalence.

    Rows are never resampled and classes never weighted: probabilities stay probabilities, and the threshold carries
    the economics.
    """

    name = "churn"
    tables: tuple[str, ...] = (
        "customers",
        "subscriptions",
        "usage_daily",
        "invoices",
        "tickets",
        "product_events",
        "prices",
    )
    primary = Metric("log_loss", "lower", "nats")
    comparison: Literal["paired_bootstrap", "diebold_mariano"] = "paired_bootstrap"
    purpose = (
        "Says of each customer how likely they are to leave within the horizon, why, and whether an offer to stay is "
        "worth its cost."
    )
    limits = (
        "A likely leaver is not the same as one whom an offer would keep: only a past campaign with a random control "
        "group can tell who is persuaded.",
    )

    def __init__(self, options: ChurnOptions | None = None) -> None:
        self.options = options or ChurnOptions()

    def dataset(self, snapshot: SnapshotRef, folder: Path) -> DatasetRef:
        """Features of every customer alive at each training date, and whether they left within the horizon."""
        from features.snapshot import write_dataset
        from features.views.churn import training_frame

        frame = training_frame(snapshot, horizon_days=self.options.horizon_days, every_days=self.options.every_days)
        return write_dataset(
            frame,
            folder,
            as_of=snapshot.as_of,
            roles={"entity": "customer_id", "time": "as_of", "target": "churned"},
            source=f"snapshot {snapshot.digest[:12]}",
        )

    def split(self, frame: pd.DataFrame, roles: Mapping[str, str]) -> Split:
        """By time with a gap of the horizon, else by a hash of the customer or, without one, of the row.

        Raises
        ------
        DataError : the roles or the outcome do not fit, or one side is left with too little.
        """
        from models.churn.splitting import split

        return split(frame, roles, self._outcome(frame, roles), self.options)

    def candidates(self) -> Sequence[Candidate]:
        """Prevalence, the four single models, and their blend."""
        return (
            Candidate("prevalence", baseline=True),
            *(Candidate(name) for name in MEMBERS),
            Candidate("blend", needs=MEMBERS, partial=True),
        )

    def fit(
        self, candidate: Candidate, train: pd.DataFrame, roles: Mapping[str, str], fitted: Mapping[str, Model]
    ) -> ChurnModel:
        """Out-of-fold predictions, calibration and weights from them, then the fit on all training rows.

        Raises
        ------
        DataError : the training rows cannot be learned from.
        TrainingError : an unknown candidate, or a blend whose members are not there.
        """
        from models.churn import training

        rows = training.read_rows(train, roles, self.options)
        if candidate.name == "prevalence":
            return training.fit_prevalence(rows, self.options)
        if candidate.name in MEMBERS:
            return training.fit_member(candidate.name, rows, self.options)
        if candidate.name != "blend":
            raise TrainingError(f"There is no churn candidate {candidate.name!r}.", remedy="See `candidates()`.")
        members = {name: fitted[name] for name in MEMBERS if name in fitted}
        known = {name: one for name, one in members.items() if isinstance(one, ChurnModel)}
        if len(known) < 2:
            raise TrainingError(
                f"A blend needs two members, {len(known)} could be fitted.", remedy="Fit its members first."
            )
        return training.fit_blend(rows, self.options, known)

    def load(self, folder: Path) -> ChurnModel:
        """Read back a model.

        Raises
        ------
        IntegrityFailed : the folder holds no churn model of this format.
        """
        return ChurnModel.load(folder)

    def evaluate(
        self,
        model: Model,
        holdout: pd.DataFrame,
        train: pd.DataFrame,  # noqa: ARG002 - the holdout says it all
        roles: Mapping[str, str],
    ) -> Evaluation:
        """Log loss per row, metrics with intervals, slices by category, latency, plots.

        Raises
        ------
        MissingColumn, WrongType : the model reads other columns than the holdout has.
        """
        from models.churn.fairness import fairness
        from models.churn.plots import fairness_plot, importance_plot, plots
        from models.churn.reasons.importance import importance

        assert isinstance(model, ChurnModel)
        y = self._outcome(holdout, roles)
        p = model.predict(holdout)
        entity = roles.get("entity")
        groups = holdout[entity].astype(str).to_numpy() if entity else np.arange(len(y)).astype(str)
        losses = pd.DataFrame({"loss": log_loss_rows(y, p), "group": groups, "step": 0}, index=holdout.index)
        levels = _levels(model, holdout)
        losses = losses.join(levels)
        own = groups if entity else None
        threshold = model.threshold
        metrics = estimates(
            y,
            p,
            threshold,
            model.offer,
            groups=own,
            replicates=self.options.replicates,
            seed=self.options.seed,
        )
        weights = importance(model, holdout, own, seed=self.options.seed)
        kinds = fairness(y, p, threshold, levels.rename(columns=lambda name: name.removeprefix("slice.")), own)
        return Evaluation(
            candidate=model.candidate,
            losses=losses,
            metrics=metrics,
            slices=slices_of(losses, SLICE_ROWS),
            latency_ms=_latency(model, holdout),
            plots=Plots(
                lambda: {
                    **plots(y, p, threshold, model.candidate),
                    **importance_plot(weights, model.candidate),
                    **fairness_plot(kinds.slices, model.candidate),
                }
            ),
            details={
                **_details(model, y, p),
                "importance": [one.to_dict() for one in weights],
                "fairness": kinds.to_dict(),
            },
        )

    def finalise(
        self,
        model: Model,
        frame: pd.DataFrame,  # noqa: ARG002 - a classifier is registered as it was judged
        roles: Mapping[str, str],  # noqa: ARG002
        champion: Model | None = None,  # noqa: ARG002
    ) -> Model:
        """The model as it was judged."""
        return model

    def online(self, snapshot: SnapshotRef) -> pd.DataFrame:
        """Features of everybody who is a customer at the moment of the snapshot, customer_id as the index."""
        from features.views.churn import current_features

        return current_features(snapshot).set_index("customer_id").drop(columns="as_of")

    def score(self, model: Model, rows: pd.DataFrame) -> pd.DataFrame:
        """Risk band and probability of every customer, with decision, reasons in words and revenue at risk.

        Raises
        ------
        MissingColumn, WrongType : as `ChurnModel.predict`.
        """
        from models.churn.scores import score_rows

        assert isinstance(model, ChurnModel)
        return score_rows(model, rows)

    def _outcome(self, frame: pd.DataFrame, roles: Mapping[str, str]) -> NDArray[np.int64]:
        check_roles(frame, roles)
        return read_target(frame[roles["target"]], self.options.positive, fewest=1).y


def _levels(model: ChurnModel, holdout: pd.DataFrame) -> pd.DataFrame:
    """`slice.<column>` for every column that divides the customers into kinds."""
    levels: dict[str, NDArray[Any]] = {}
    for column in model.encoder.columns:
        if column.kind == "number":
            continue
        values = values_of(holdout[column.name], column)
        if column.kind == "flag":
            values = values.map({1.0: "yes", 0.0: "no"})
        levels[f"slice.{column.name}"] = values.astype(object).where(values.notna(), "(missing)").to_numpy()
    return pd.DataFrame(levels, index=holdout.index)


def _latency(model: ChurnModel, holdout: pd.DataFrame) -> float:
    """Median of predicting one record, in milliseconds."""
    few = holdout.iloc[:TIMED_ROWS][list(model.columns)]
    rows = few.astype(object).where(few.notna(), None).to_dict("records")
    records = [{str(name): value for name, value in row.items()} for row in rows]
    took = []
    for record in records:
        start = time.perf_counter()
        model.predict_records([record])
        took.append(time.perf_counter() - start)
    return 1000.0 * float(np.median(took))


def _details(model: ChurnModel, y: NDArray[np.int64], p: NDArray[np.float64]) -> dict[str, Any]:
    contract = model.contract()
    flagged = p >= model.threshold
    bands = pd.Series([model.band(float(value)) for value in p])
    table = pd.DataFrame({"band": bands, "p": p, "y": y}).groupby("band").agg(rows=("y", "size"), left=("y", "mean"))
    return {
        "threshold": model.threshold,
        "threshold_rule": contract["threshold"]["rule"],
        "offer": contract["offer"],
        "offers": {"rows": int(flagged.sum()), "share": float(flagged.mean())},
        "bands": contract["bands"],
        "bands_found": {
            str(band): {"rows": int(row["rows"]), "share_left": float(row["left"])} for band, row in table.iterrows()
        },
        "weights": contract["weights"],
        "calibration": contract["calibration"]["method"],
        "settings": model.facts.get("settings", {}),
        "out_of_fold": model.facts.get("out_of_fold", {}),
        "columns": list(model.columns),
        "dropped": model.facts.get("dropped", []),
        "suspected_leaks": model.facts.get("suspected_leaks", []),
        "strong_columns": model.facts.get("strong_columns", []),
        "base_rate": {"training": model.base_rate, "holdout": float(y.mean())},
        "positive": model.facts.get("positive"),
    }
