"""Segmentation as the lifecycle sees it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from models.lifecycle.evaluation import Evaluation, Plots, slices_of
from models.lifecycle.family import Candidate, Metric, Model, Split
from models.segmentation.behaviour import behaviour_of
from models.segmentation.model import SegmentationModel
from models.segmentation.options import SegmentationOptions
from models.segmentation.outlook import loss_rows, next_behaviour
from models.segmentation.splitting import split
from store.dataset import DatasetRef, SnapshotRef
from store.errors import InvalidValue, MissingColumn, TrainingError

__all__ = ["SegmentationFamily", "SegmentationModel", "SegmentationOptions"]

SLICE_ROWS = 50
TIMED_ROWS = 100


class SegmentationFamily:
    """K-Means and Gaussian mixtures over behaviour, against one segment for all and the quintiles of the textbooks.

    A division is judged by what it says about the next period of customers that it has never seen.
    """

    name = "segmentation"
    tables: tuple[str, ...] = (
        "customers",
        "subscriptions",
        "usage_daily",
        "invoices",
        "tickets",
        "product_events",
        "prices",
    )
    primary = Metric("next_period_loss", "lower", "variances")
    comparison: Literal["paired_bootstrap", "diebold_mariano"] = "paired_bootstrap"
    purpose = (
        "Puts each customer into a segment of customers who behave alike, with a name for what sets it apart, and says "
        "what a customer is worth from now on."
    )
    limits = (
        "Segments are a way of looking, not a law: other numbers of them describe the same customers. That members of "
        "a segment have something in common does not say why.",
    )

    def __init__(self, options: SegmentationOptions | None = None) -> None:
        self.options = options or SegmentationOptions()

    def dataset(self, snapshot: SnapshotRef, folder: Path) -> DatasetRef:
        """Behaviour of every customer at moments one horizon apart, what came after each, and how long they stayed."""
        from features.snapshot import write_dataset
        from features.views.behaviour import behaviour_frame

        frame = behaviour_frame(snapshot, horizon_days=self.options.horizon_days, moments=self.options.moments)
        return write_dataset(
            frame,
            folder,
            as_of=snapshot.as_of,
            roles={"entity": "customer_id", "time": "as_of"},
            source=f"snapshot {snapshot.digest[:12]}",
        )

    def split(self, frame: pd.DataFrame, roles: Mapping[str, str]) -> Split:  # noqa: ARG002 - columns have fixed names
        """Customers by a hash of their id; the held-out ones are judged at the latest moment, the others are learned
        from at moments whose next period was over by then.

        Raises
        ------
        DataError : the frame does not fit, or one side is left with too little.
        """
        return split(frame, self.options)

    def candidates(self) -> Sequence[Candidate]:
        """One segment, quintiles, K-Means and a Gaussian mixture."""
        return (
            Candidate("one_segment", baseline=True),
            Candidate("rfm_quintiles", baseline=True),
            Candidate("kmeans"),
            Candidate("gaussian_mixture"),
        )

    def fit(
        self,
        candidate: Candidate,
        train: pd.DataFrame,
        roles: Mapping[str, str],  # noqa: ARG002
        fitted: Mapping[str, Model],  # noqa: ARG002 - no candidate needs another
    ) -> SegmentationModel:
        """Scale, number of segments, partition, outlook and value from the training rows alone.

        Raises
        ------
        DataError : the training rows cannot be divided.
        TrainingError : an unknown candidate.
        """
        from models.segmentation import training

        rows = training.read_rows(train, behaviour_of(train))
        if candidate.name == "one_segment":
            return training.fit_whole_model(rows, self.options)
        if candidate.name == "rfm_quintiles":
            return training.fit_scores_model(rows, self.options)
        if candidate.name == "kmeans":
            return training.fit_clusters("kmeans", rows, self.options)
        if candidate.name == "gaussian_mixture":
            return training.fit_clusters("gaussian_mixture", rows, self.options)
        raise TrainingError(f"There is no segmentation candidate {candidate.name!r}.", remedy="See `candidates()`.")

    def load(self, folder: Path) -> SegmentationModel:
        """Read back a model.

        Raises
        ------
        IntegrityFailed : the folder holds no segmentation model of this format.
        """
        return SegmentationModel.load(folder)

    def evaluate(
        self,
        model: Model,
        holdout: pd.DataFrame,
        train: pd.DataFrame,
        roles: Mapping[str, str],  # noqa: ARG002
    ) -> Evaluation:
        """Loss on the next period per customer, metrics with intervals, slices, latency of one assignment, plots.

        Raises
        ------
        MissingColumn, InvalidValue : the model is of other customers, or of periods of another length.
        """
        from models.segmentation.metrics import estimates
        from models.segmentation.plots import plots

        assert isinstance(model, SegmentationModel)
        behaviour = behaviour_of(holdout)
        if behaviour is not model.behaviour:
            raise MissingColumn(
                f"The model is about {model.behaviour.name}, the rows are about {behaviour.name}.",
                remedy="Train it under another name.",
                field=model.behaviour.columns[0],
            )
        if model.horizon_days != self.options.horizon_days:
            raise InvalidValue(
                f"The model foresees periods of {model.horizon_days} days, the rows hold {self.options.horizon_days}.",
                remedy="Train it under another name, or with the same --horizon-days.",
                field="horizon_days",
                value=self.options.horizon_days,
            )
        codes = model.codes(holdout)
        y = next_behaviour(holdout, behaviour.targets)
        loss = loss_rows(model.outlook.predict(codes), y, next_behaviour(train, behaviour.targets))
        keys = holdout[behaviour.entity].astype(str)
        losses = pd.DataFrame({"loss": loss, "group": keys.to_numpy(), "step": 0}, index=pd.Index(keys, name=None))
        for column in behaviour.slices:
            if column in holdout:
                levels = holdout[column].astype(object).where(holdout[column].notna(), "(missing)")
                losses[f"slice.{column}"] = levels.to_numpy()
        return Evaluation(
            candidate=model.candidate,
            losses=losses,
            metrics=estimates(model, loss, holdout, self.options.replicates, self.options.seed),
            slices=slices_of(losses, SLICE_ROWS),
            latency_ms=_latency(model, holdout),
            plots=Plots(lambda: plots(model)),
            details=_details(model),
        )

    def finalise(
        self,
        model: Model,
        frame: pd.DataFrame,
        roles: Mapping[str, str],  # noqa: ARG002
        champion: Model | None = None,
    ) -> Model:
        """The division as it was judged, its segments under the ids of the champion's segments that they succeed, with
        the customers of the end of the data in them, and the value model fitted anew to everybody."""
        from models.segmentation.succession import succeed
        from models.segmentation.training import refit_value, segments_of, with_example

        assert isinstance(model, SegmentationModel)
        known = champion if isinstance(champion, SegmentationModel) else None
        ids, highest, predecessors = succeed(model, known)
        value, value_as_of = refit_value(model, frame, self.options)
        present = frame[frame["as_of"] == frame["as_of"].max()].reset_index(drop=True)
        words = tuple(one.wording for one in model.segments)
        segments = segments_of(model.behaviour, model.scaler, model.partition, present, value, ids, words)
        made = replace(
            model,
            segments=tuple(
                replace(new, centre=old.centre, spread=old.spread)
                for new, old in zip(segments, model.segments, strict=True)
            ),
            highest=highest,
            value=value,
            value_as_of=value_as_of,
            facts={**model.facts, "predecessors": predecessors, "present": len(present)},
        )
        return with_example(made, present)

    def online(self, snapshot: SnapshotRef) -> pd.DataFrame:
        """Behaviour of everybody who is a customer at the moment of the snapshot, customer_id as the index."""
        from features.views.behaviour import current_behaviour

        return current_behaviour(snapshot).set_index("customer_id").drop(columns="as_of")

    def score(self, model: Model, rows: pd.DataFrame) -> pd.DataFrame:
        """Segment and lifetime value of every row: see `SegmentationModel.score`."""
        assert isinstance(model, SegmentationModel)
        return model.score(rows)


def _latency(model: SegmentationModel, holdout: pd.DataFrame) -> float:
    """Median of assigning one record, in milliseconds."""
    few = holdout.iloc[:TIMED_ROWS][list(model.scaler.columns)]
    records = few.astype(object).where(few.notna(), None).to_dict("records")
    took = []
    for record in records:
        start = time.perf_counter()
        model.assign({str(name): value for name, value in record.items()})
        took.append(time.perf_counter() - start)
    return 1000.0 * float(np.median(took))


def _details(model: SegmentationModel) -> dict[str, Any]:
    from models.segmentation.model import json_ready

    keys = ("id", "name", "description", "share", "mean_value")
    details: dict[str, Any] = json_ready(
        {
            "segments": [{key: one.to_dict()[key] for key in keys} for one in model.segments],
            "choice": _choice(model.facts["choice"]),
            "settings": model.facts["settings"],
            "customers": model.facts["customers"],
            "flat": model.facts["flat"],
            "value": model.value.to_dict() if model.value and model.value.kind == "transactions" else None,
            "value_notes": list(model.value.notes) if model.value else [],
        }
    )
    return details


def _choice(choice: Mapping[str, Any]) -> dict[str, Any]:
    """How the number of segments was chosen, without the index of each single bootstrap sample."""
    tried = [{key: value for key, value in one.items() if key != "agreements"} for one in choice.get("tried", [])]
    return {**choice, "tried": tried} if tried else dict(choice)
