"""What a churn model says of every customer: band, probability, decision, reasons in words, revenue at risk."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.churn.model import ChurnModel
from models.churn.reasons.explanation import explain
from models.churn.retention.value import worth_where_known

REASONS = 3


def score_rows(model: ChurnModel, rows: pd.DataFrame) -> pd.DataFrame:
    """Score customers.

    Parameters
    ----------
    rows : the model's columns, and `monthly_price` where revenue is known; one customer a row.

    Returns
    -------
    The index of `rows`, with label (risk band), value (probability), decision ("offer" or "no_offer"), threshold,
    reasons (up to 3 phrases that speak for leaving), reasons_against (up to 3 that speak for staying),
    value_if_kept and revenue_at_risk (in currency, None where the
    revenue is not known; see `models.churn.retention.value`).

    Raises
    ------
    MissingColumn, WrongType : as `ChurnModel.predict`.
    """
    probability = model.predict(rows)
    value = worth_where_known(model, rows, probability).values
    told = explain(model, rows, REASONS)
    return pd.DataFrame(
        {
            "label": [model.band(float(p)) for p in probability],
            "value": probability,
            "decision": np.where(probability >= model.threshold, "offer", "no_offer"),
            "threshold": np.full(len(rows), model.threshold),
            "reasons": [[one.text for one in each.raises] for each in told],
            "reasons_against": [[one.text for one in each.lowers] for each in told],
            "value_if_kept": _or_none(value),
            "revenue_at_risk": _or_none(probability * value),
        },
        index=rows.index,
    )


def _or_none(values: NDArray[np.float64]) -> NDArray[Any]:
    """Rounded to a hundredth of a cent; None where nothing is known, as JSON has it."""
    out = np.empty(len(values), dtype=object)
    out[:] = [round(float(one), 4) if one == one else None for one in values]
    return out
