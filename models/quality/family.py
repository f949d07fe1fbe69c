"""Scorers of answers as the lifecycle sees them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from models.lifecycle.evaluation import Estimate, Evaluation, Plots, slices_of
from models.lifecycle.family import Candidate, Metric, Model, Split
from models.quality.features import NAMES
from models.quality.model import QualityModel
from models.quality.options import QualityOptions
from store.dataset import DatasetRef, SnapshotRef
from store.errors import TrainingError

__all__ = ["QualityFamily", "QualityModel", "QualityOptions"]

SLICE_ROWS = 50
TIMED_ROWS = 60


class QualityFamily:
    """A line, trees and both together over what is read off an answer, against the score from words alone.

    Beside that score, which a scorer has to beat, stand the mean judgement, the length of the answer, and the mean of
    its kind of task.
    """

    name = "quality"
    tables: tuple[str, ...] = ()
    primary = Metric("log_loss", "lower", "nats")
    comparison: Literal["paired_bootstrap", "diebold_mariano"] = "paired_bootstrap"
    purpose = (
        "Says of a language model's answer, from how it is built and what was asked, what people would think of it: 0 "
        "is a thumb down, 1 a thumb up."
    )
    limits = (
        "It reads no meaning: a wrong answer that is built like a right one scores as well; how many of those are "
        "wrong is all it knows.",
        "It agrees with those who gave feedback; who never does may think otherwise.",
    )

    def __init__(self, options: QualityOptions | None = None) -> None:
        self.options = options or QualityOptions()

    def dataset(self, snapshot: SnapshotRef, folder: Path) -> DatasetRef:  # noqa: ARG002
        """
        Raises
        ------
        TrainingError : always; judged answers come from the ledger, see `models.quality.judged`.
        """
        raise TrainingError(
            "Scorers of answers are not learned from snapshots of business tables.",
            remedy="Run the flow `train-quality`, which reads judged answers from the ledger.",
        )

    def split(self, frame: pd.DataFrame, roles: Mapping[str, str]) -> Split:
        """The latest judgements, and all of some persons, are the holdout.

        Raises
        ------
        InvalidValue : too little is left on one side.
        """
        from models.quality.splitting import split

        return split(frame, roles, self.options)

    def candidates(self) -> Sequence[Candidate]:
        """Baselines, the one to beat first, and the contenders."""
        from models.quality.training import BASELINES, CONTENDERS

        return (
            *(Candidate(name, baseline=True, contender=False) for name in BASELINES),
            *(Candidate(name) for name in CONTENDERS),
        )

    def fit(
        self,
        candidate: Candidate,
        train: pd.DataFrame,
        roles: Mapping[str, str],
        fitted: Mapping[str, Model],  # noqa: ARG002 - each is fitted by itself
    ) -> QualityModel:
        """Fit one candidate; what is chosen and calibrated is so out of fold, whole persons together.

        Raises
        ------
        MissingColumn, WrongType : the rows are no judged answers.
        TrainingError : an unknown candidate.
        """
        from models.quality.training import fit, read_rows

        return fit(candidate.name, read_rows(train, roles, self.options), self.options)

    def load(self, folder: Path) -> QualityModel:
        """Read back a scorer.

        Raises
        ------
        IntegrityFailed : the folder holds none of this format.
        """
        return QualityModel.load(folder)

    def evaluate(
        self, model: Model, holdout: pd.DataFrame, train: pd.DataFrame, roles: Mapping[str, str]
    ) -> Evaluation:
        """Log loss per judgement, agreement with feedback with intervals, later and unseen persons apart, plots."""
        from models.quality.metrics import estimates, log_loss_rows
        from models.quality.plots import plots

        assert isinstance(model, QualityModel)
        y = holdout[roles["target"]].to_numpy(dtype=np.float64)
        p = model.predict(holdout, roles)
        persons = holdout[roles["entity"]].astype(str).to_numpy()
        new = ~np.isin(persons, train[roles["entity"]].astype(str).unique())
        losses = pd.DataFrame(
            {"loss": log_loss_rows(y, p), "group": persons, "step": 0},
            index=pd.Index(holdout[roles["row"]].astype(str), name=None),
        )
        for name, levels in (
            ("person", np.where(new, "unseen", "known")),
            ("domain", holdout[roles["domain"]].astype(object).to_numpy()),
            ("complexity", holdout[roles["complexity"]].astype(object).to_numpy()),
            ("source", holdout["source"].astype(object).to_numpy() if "source" in holdout else None),
        ):
            if levels is not None:
                losses[f"slice.{name}"] = pd.Series(levels, index=losses.index).fillna("(none)")
        seed, replicates = self.options.seed, self.options.replicates
        metrics: dict[str, Estimate] = estimates(y, p, persons, replicates=replicates, seed=seed)
        for name, rows in (("later", ~new), ("unseen", new)):
            if rows.sum() >= SLICE_ROWS and 0 < (y[rows] >= 0.5).sum() < rows.sum():
                apart = estimates(y[rows], p[rows], persons[rows], replicates=replicates, seed=seed)
                metrics[f"auc_{name}"] = apart["auc"]
        return Evaluation(
            candidate=model.candidate,
            losses=losses,
            metrics=metrics,
            slices=slices_of(losses, SLICE_ROWS),
            latency_ms=_latency(model, holdout, roles),
            plots=Plots(lambda: plots(y, p, holdout["words"].to_numpy(dtype=np.float64), model.candidate)),
            details=_details(model, y, p, new),
        )

    def finalise(
        self,
        model: Model,
        frame: pd.DataFrame,  # noqa: ARG002 - a classifier is registered as it was judged
        roles: Mapping[str, str],  # noqa: ARG002
        champion: Model | None = None,  # noqa: ARG002
    ) -> Model:
        """The scorer as it was judged."""
        return model

    def online(self, snapshot: SnapshotRef) -> pd.DataFrame | None:  # noqa: ARG002
        """Nothing is looked up."""
        return None


def _latency(model: QualityModel, holdout: pd.DataFrame, roles: Mapping[str, str]) -> float:
    """Median of scoring one answer, in milliseconds, once its numbers are read."""
    few = holdout.iloc[:TIMED_ROWS]
    rows = few[[*NAMES, roles["domain"], roles["complexity"]]].itertuples(index=False, name=None)
    took = []
    for row in rows:
        numbers = [None if one != one else one for one in row[: len(NAMES)]]
        start = time.perf_counter()
        model.score(numbers, row[-2], row[-1])
        took.append(time.perf_counter() - start)
    return 1000.0 * float(np.median(took))


def _details(model: QualityModel, y: Any, p: Any, new: Any) -> dict[str, Any]:
    return {
        "calibration": {"slope": model.calibration[0], "intercept": model.calibration[1]},
        "settings": dict(model.facts.get("settings", {})),
        "out_of_fold": dict(model.facts.get("out_of_fold", {})),
        "numbers": list(NAMES),
        "judgements": {"holdout": len(y), "of_unseen_persons": int(new.sum()), "mean": float(y.mean())},
        "mean_score": float(p.mean()),
    }
