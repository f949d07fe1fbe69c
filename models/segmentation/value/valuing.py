"""Choosing, fitting and reading back the value model that fits the customers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import pandas as pd

from models.segmentation.behaviour import Behaviour
from models.segmentation.value import subscriptions, transactions
from models.segmentation.value.likelihood import Floats
from models.segmentation.value.subscriptions import Followed, SubscriptionValue, fit_subscriptions
from models.segmentation.value.terms import Terms, Worth
from models.segmentation.value.transactions import TransactionValue, fit_transactions


class ValueModel(Protocol):
    """What customers are worth, from a few of their columns.

    Attributes
    ----------
    columns : what is read; missing values (NaN) are allowed.
    notes : what the reader must know about it, one sentence each.
    """

    @property
    def kind(self) -> str: ...

    @property
    def columns(self) -> tuple[str, ...]: ...

    @property
    def terms(self) -> Terms: ...

    @property
    def notes(self) -> tuple[str, ...]: ...

    def worth(self, columns: Mapping[str, Floats]) -> Worth:
        """Value, expected purchases and probability of being a customer."""

    def outlook(self, columns: Mapping[str, Floats], days: float) -> tuple[Floats, Floats]:
        """Purchases and amount expected within `days`, to be held against what came."""

    def to_dict(self) -> dict[str, Any]: ...


_COLUMNS = {"subscribers": subscriptions.COLUMNS, "buyers": transactions.COLUMNS}


def value_columns(behaviour: Behaviour) -> tuple[str, ...]:
    """What the value model of this kind of customers reads."""
    return _COLUMNS[behaviour.name]


def fit_value(behaviour: Behaviour, frame: pd.DataFrame, terms: Terms, seed: int) -> ValueModel:
    """Fit to rows of customers at moments; buyers count once, at their latest moment.

    Raises
    ------
    TrainingError : the rows cannot be learned from.
    """
    if behaviour.name == "subscribers":
        seen = Followed(*(frame[name].to_numpy(np.float64) for name in ("observed_days", "left", "followed_days")))
        who = pd.factorize(frame[behaviour.entity])[0]
        return fit_subscriptions(arrays(frame, subscriptions.COLUMNS), seen, who, terms, seed=seed)
    latest = frame[frame["as_of"] == frame["as_of"].max()]
    return fit_transactions(arrays(latest, transactions.COLUMNS), terms)


def value_from(data: Mapping[str, Any]) -> ValueModel:
    """What `to_dict` wrote."""
    if data["kind"] == "subscriptions":
        return SubscriptionValue.from_dict(data)
    return TransactionValue.from_dict(data)


def arrays(frame: pd.DataFrame, names: tuple[str, ...]) -> dict[str, Floats]:
    """Columns as float64."""
    return {name: frame[name].to_numpy(dtype=np.float64, na_value=np.nan) for name in names}
