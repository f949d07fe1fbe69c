"""What a family of models promises the lifecycle. A new family implements `ModelFamily` and needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import pandas as pd

from models.lifecycle.evaluation import Evaluation
from store.dataset import DatasetRef, SnapshotRef


@dataclass(frozen=True)
class Metric:
    """A number that models are judged by.

    Attributes
    ----------
    direction : whether lower or higher is better.
    unit : for people: "nats", "MASE", "€".
    """

    name: str
    direction: Literal["lower", "higher"]
    unit: str = ""


@dataclass(frozen=True)
class Candidate:
    """A recipe that can be fitted.

    Attributes
    ----------
    baseline : a reference that any useful model must beat; never promoted over a better one.
    contender : whether it may be chosen. A member that another candidate already weighs against the rest is judged for
        comparison only: picking the winner of one backtest loses to combining.
    needs : names of candidates that must be fitted first (a blend needs its members).
    partial : whether it makes do with those of `needs` that could be fitted, as long as there is one.
    """

    name: str
    params: Mapping[str, Any] = field(default_factory=dict)
    baseline: bool = False
    contender: bool = True
    needs: tuple[str, ...] = ()
    partial: bool = False


@dataclass(frozen=True)
class Split:
    """Rows to learn from and the latest rows to be judged on.

    Attributes
    ----------
    rule : the split in one sentence, for the report: "rows after 2026-03-01 are the holdout".
    """

    train: pd.DataFrame
    holdout: pd.DataFrame
    rule: str


@runtime_checkable
class Model(Protocol):
    """Something fitted. Everything it knows fits in a folder: native flavours, Parquet and one `contract.json`.

    Attributes
    ----------
    candidate : name of the recipe.
    selection : cross-validated value of the family's primary metric *within the training rows*; candidates are chosen
        by it, so that the holdout stays untouched until the gate.
    """

    # Properties, so that a frozen dataclass is a Model.
    @property
    def candidate(self) -> str: ...

    @property
    def selection(self) -> float: ...

    def save(self, folder: Path) -> None:
        """Write the model into an empty folder. Deterministic: the same model gives the same bytes."""

    def signature(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """A small example of input and output, for the registry's signature."""


class ModelFamily(Protocol):
    """The contract of a family.

    Attributes
    ----------
    name : "churn", "forecasting", …; the default name of its registered model.
    tables : tables of the snapshot that `dataset` reads.
    primary : the metric that candidates are chosen by; the per-row loss is in its unit.
    comparison : the gate's paired test.
    """

    name: str
    tables: tuple[str, ...]
    primary: Metric
    comparison: Literal["paired_bootstrap", "diebold_mariano"]

    def dataset(self, snapshot: SnapshotRef, folder: Path) -> DatasetRef:
        """Build the point-in-time training frame and write it below `folder`."""

    def split(self, frame: pd.DataFrame, roles: Mapping[str, str]) -> Split:
        """Divide the frame by time or by group; never let one inform the other."""

    def candidates(self) -> Sequence[Candidate]:
        """The recipes worth trying, baselines first."""

    def fit(
        self, candidate: Candidate, train: pd.DataFrame, roles: Mapping[str, str], fitted: Mapping[str, Model]
    ) -> Model:
        """Fit one candidate. `fitted` holds the models named in `candidate.needs`."""

    def load(self, folder: Path) -> Model:
        """Read back what `Model.save` wrote."""

    def evaluate(
        self, model: Model, holdout: pd.DataFrame, train: pd.DataFrame, roles: Mapping[str, str]
    ) -> Evaluation:
        """Judge a model on the holdout. `train` is for scale and context only (e.g. the MASE denominator).

        Also called with the current champion, so that both are judged on the same rows.
        """

    def finalise(
        self, model: Model, frame: pd.DataFrame, roles: Mapping[str, str], champion: Model | None = None
    ) -> Model:
        """What is registered once the judging is done: a forecaster moves its origin to the end of the data; a
        classifier is returned as it was judged.

        Parameters
        ----------
        champion : the present champion, where there is one that could be judged: segments keep their ids by it.
        """

    def online(self, snapshot: SnapshotRef) -> pd.DataFrame | None:
        """What serving looks up by id: the current features, one row per entity with the entity id as the index; None
        when the registered model holds all that serving needs."""


@runtime_checkable
class Answers(Model, Protocol):
    """A model that can be asked its recorded example again before anybody else may ask it."""

    def answer(self, given: pd.DataFrame) -> pd.DataFrame:
        """What it says of the input of its `signature()`, the way serving asks it."""


@runtime_checkable
class ScoresEntities(Protocol):
    """A family whose models say something about every entity: what the flow `score` writes down."""

    def score(self, model: Model, rows: pd.DataFrame) -> pd.DataFrame:
        """Score entities.

        Parameters
        ----------
        rows : as `ModelFamily.online` gives them, or a part of them: a row's score does not depend on the others.

        Returns
        -------
        The index of `rows`, with `label` (str: risk band, id of the segment), `value` (float: probability, lifetime
        value) and any further JSON-ready columns.
        """


@runtime_checkable
class Explains(Protocol):
    """A family that says on the card of a version, in plain words, what its models are for and cannot tell.

    Attributes
    ----------
    purpose : one or two sentences for somebody who knows no statistics.
    limits : sentences beside those that hold for every model.
    """

    purpose: str
    limits: tuple[str, ...]


@runtime_checkable
class FitsInPieces(Protocol):
    """A family that can do most of a fit a group of entities at a time, wherever a task is run."""

    def pieces(self, candidate: Candidate, train: pd.DataFrame, roles: Mapping[str, str]) -> int:
        """Into how many pieces the work on a candidate falls; 1 where it must be done as a whole."""

    def prepare(self, candidate: Candidate, train: pd.DataFrame, roles: Mapping[str, str], piece: int) -> None:
        """Do one piece and keep it where `fit` finds it; without it, `fit` does it itself and gets the same."""
