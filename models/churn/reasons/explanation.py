"""The few things that speak for and against a customer's leaving, in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.tabular import values_of
from models.churn.model import ChurnModel
from models.churn.reasons.contributions import Contributions, contributions
from models.churn.reasons.vocabulary import terms
from models.churn.reasons.words import phrase

TOP = 3
# Log-odds below which a column is not worth a word: about half a percentage point of probability at most.
LEAST = 0.02

NOTE = (
    "Effects are exact shares of the log-odds before calibration, which keeps their order; they describe what the "
    "model looks at, not what causes a customer to leave."
)


@dataclass(frozen=True)
class Reason:
    """One thing that moved the estimate.

    Attributes
    ----------
    text : in the data's own units.
    column : the one told; others of the same topic may have added to `effect`.
    effect : share of the log-odds before calibration; above zero the customer is thought more likely to leave.
    """

    text: str
    column: str
    value: float | str | None
    usual: float | str | None
    effect: float

    def to_dict(self) -> dict[str, Any]:
        return {
            "text": self.text,
            "column": self.column,
            "value": self.value,
            "usual": self.usual,
            "effect": round(self.effect, 6),
        }


@dataclass(frozen=True)
class Explanation:
    """Why one customer is estimated as he is.

    Attributes
    ----------
    usual_probability : where the estimate starts, before anything about the customer is known.
    raises, lowers : strongest first.
    """

    usual_probability: float
    raises: tuple[Reason, ...]
    lowers: tuple[Reason, ...]

    def to_dict(self) -> dict[str, Any]:
        return {
            "usual_probability": self.usual_probability,
            "raises": [one.to_dict() for one in self.raises],
            "lowers": [one.to_dict() for one in self.lowers],
        }


def explain(model: ChurnModel, frame: pd.DataFrame, top: int = TOP) -> list[Explanation]:
    """One explanation per row, in the frame's order; a row's does not depend on the others.

    Parameters
    ----------
    top : most reasons each way.

    Raises
    ------
    MissingColumn, WrongType : as `ChurnModel.predict`.
    """
    if not len(frame):
        return []
    found = contributions(model, frame)
    table = _Table(model, frame)
    topics, members = _topics(table.topics)
    totals = found.values @ members
    usual = float(model.calibration(np.asarray([found.base]))[0])
    return [
        Explanation(
            usual,
            _picked(table, found, totals, topics, row, top, 1.0),
            _picked(table, found, totals, topics, row, top, -1.0),
        )
        for row in range(len(frame))
    ]


def usual_values(model: ChurnModel) -> dict[str, float | str | None]:
    """Column → what is usual in training: the median, the commonest level, the commonest answer (1 or 0)."""
    usual: dict[str, float | str | None] = {}
    for column in model.encoder.columns:
        seen = model.facts.get("seen", {}).get(column.name, {})
        if column.kind == "number":
            usual[column.name] = seen.get("median")
        elif column.kind == "flag":
            usual[column.name] = None if seen.get("share") is None else float(seen["share"] >= 0.5)
        else:
            usual[column.name] = next(iter(seen.get("levels", ())), None)
    return usual


class _Table:
    """Values, terms and usual values of a model's columns for some rows."""

    def __init__(self, model: ChurnModel, frame: pd.DataFrame) -> None:
        self.columns = model.encoder.columns
        self.terms = terms(model.columns)
        self.topics = [self.terms[column.name].topic for column in self.columns]
        self.usual = usual_values(model)
        self.values = {column.name: values_of(frame[column.name], column).tolist() for column in self.columns}

    def record(self, row: int) -> Mapping[str, Any]:
        return _Row(self.values, row)

    def reason(self, at: int, row: int, effect: float) -> Reason:
        column = self.columns[at]
        value, usual = self.values[column.name][row], self.usual[column.name]
        text = phrase(column, self.terms[column.name], value, usual, self.record(row))
        return Reason(text, column.name, None if value != value else value, usual, effect)


class _Row(Mapping[str, Any]):
    """One row of columns, without copying it."""

    def __init__(self, values: Mapping[str, list[Any]], row: int) -> None:
        self._values, self._row = values, row

    def __getitem__(self, name: str) -> Any:
        return self._values[name][self._row]

    def __iter__(self) -> Any:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def _topics(topics: list[str]) -> tuple[list[NDArray[np.intp]], NDArray[np.float64]]:
    """Columns of every topic, and the matrix that sums contributions over them."""
    names = list(dict.fromkeys(topics))
    groups = [np.flatnonzero([one == name for one in topics]) for name in names]
    members = np.zeros((len(topics), len(names)))
    for at, group in enumerate(groups):
        members[group, at] = 1.0
    return groups, members


def _picked(
    table: _Table,
    found: Contributions,
    totals: NDArray[np.float64],
    topics: list[NDArray[np.intp]],
    row: int,
    top: int,
    sign: float,
) -> tuple[Reason, ...]:
    """The strongest topics of one sign, each told by its strongest column."""
    own = sign * totals[row]
    order = np.argsort(-own, kind="stable")[:top]
    reasons = []
    for topic in order:
        if own[topic] < LEAST:
            break
        columns = topics[topic]
        told = columns[int(np.argmax(sign * found.values[row, columns]))]
        reasons.append(table.reason(int(told), row, float(totals[row, topic])))
    return tuple(reasons)
