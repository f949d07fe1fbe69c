"""Customers for a plan: from a table of scores, from customers that a model scores, or from published features."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.churn.encoding import missing_columns
from models.churn.model import ChurnModel
from models.churn.retention.plan import BANDS, Customers
from models.churn.retention.value import HORIZON_MONTHS, Worth, money, worth_of
from store.errors import EmptyData, InvalidValue

PROBABILITY, BAND = "probability", "band"


def is_scored(frame: pd.DataFrame) -> bool:
    """Whether a table brings its probabilities along, as `merit predict churn --out` and `merit score` write them."""
    return PROBABILITY in frame.columns


def scored_customers(
    frame: pd.DataFrame,
    *,
    entity: str | None = None,
    revenue: str | None = None,
    value: str | None = None,
    months: float = HORIZON_MONTHS,
    otherwise: float | None = None,
) -> Customers:
    """Customers of a table with a column `probability`, and perhaps `band`.

    Parameters
    ----------
    entity : column with the customer's id; by default `customer_id`, else the first column.
    revenue, value, months : as `models.churn.retention.value.worth`.
    otherwise : value of a kept customer where no column tells.

    Raises
    ------
    DataError : naming the column, the row and the value.
    """
    _check_rows(frame)
    probability = money(frame, PROBABILITY)
    if (probability > 1).any():
        row = int(np.flatnonzero(probability > 1)[0])
        raise InvalidValue(
            f"{PROBABILITY} is {probability[row]:g} in row {row + 1}.",
            remedy="Give probabilities between 0 and 1.",
            field=PROBABILITY,
            value=float(probability[row]),
        )
    name = entity or ("customer_id" if "customer_id" in frame.columns else str(frame.columns[0]))
    if value is None and revenue is None and "value_if_kept" in frame.columns:
        value = "value_if_kept"
    told = worth_of(
        frame, probability, period_days=0.0, otherwise=otherwise, revenue=revenue, value=value, months=months
    )
    return _customers(frame, name, probability, _bands(frame), told)


def customers_of(
    model: ChurnModel,
    frame: pd.DataFrame,
    *,
    entity: str | None = None,
    revenue: str | None = None,
    value: str | None = None,
    months: float = HORIZON_MONTHS,
) -> Customers:
    """Customers of a table that the model scores.

    Parameters
    ----------
    entity : column with the customer's id; by default the one that the model was trained with, else row numbers.

    Raises
    ------
    DataError : columns are missing, all of them named; a value does not fit its column.
    """
    _check_rows(frame)
    name = entity or model.entity
    absent = [one for one in ([name] if name else []) + list(model.columns) if one not in frame.columns]
    if absent:
        raise missing_columns(absent)
    probability = model.predict(frame)
    band = np.asarray([model.band(float(p)) for p in probability], dtype=object)
    told = worth_of(
        frame,
        probability,
        period_days=float(model.facts.get("horizon_days") or 0),
        otherwise=model.offer.value,
        revenue=revenue,
        value=value,
        months=months,
    )
    return _customers(frame, name, probability, band, told)


def _customers(
    frame: pd.DataFrame, name: str | None, probability: NDArray[np.float64], band: NDArray[np.object_], told: Worth
) -> Customers:
    if name is not None and name not in frame.columns:
        raise missing_columns([name])
    ids = frame[name].to_numpy(dtype=object) if name else np.arange(1, len(frame) + 1).astype(object)
    return Customers(
        np.asarray([None if pd.isna(one) else one for one in ids], dtype=object),
        probability,
        band,
        told.values,
        frame.assign(**{BAND: band, PROBABILITY: probability}),
        told.basis,
    )


def _bands(frame: pd.DataFrame) -> NDArray[np.object_]:
    if BAND not in frame.columns:
        return np.full(len(frame), "", dtype=object)
    found = np.asarray(["" if pd.isna(one) else str(one).strip().lower() for one in frame[BAND]], dtype=object)
    strange = sorted(set(found) - {*BANDS, ""})
    if strange:
        raise InvalidValue(
            f"{BAND} holds {strange[0]!r}.",
            remedy=f"Its values are {', '.join(BANDS)}; or leave the column out.",
            field=BAND,
            value=strange[0],
        )
    return found


def _check_rows(frame: pd.DataFrame) -> None:
    if not len(frame):
        raise EmptyData("The table has no rows.", remedy="Check that the file holds data below its header.")
    doubled = frame.columns[frame.columns.duplicated()]
    if len(doubled):
        raise InvalidValue(
            f"Column {doubled[0]!r} occurs twice.", remedy="Rename or remove one of them.", field=str(doubled[0])
        )
