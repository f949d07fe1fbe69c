"""What became of predictions: by day and risk band, what was said, what happened, and what was at risk."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.churn.fairness import Z, wilson
from models.churn.model import ChurnModel
from models.churn.retention.doubt import Doubt
from models.churn.retention.value import worth_of
from models.lifecycle.evaluation import Estimate

Floats = NDArray[np.float64]

BANDS = ("high", "medium", "low")


def analytics(table: pd.DataFrame, model: ChurnModel, doubt: Doubt) -> dict[str, Any]:
    """Per day and band, per band, and in all.

    Predictions, mean probability and observed churn count every prediction. Revenue at risk counts a customer once a
    day: the latest prediction of that day, at the value if kept of `models.churn.retention.value`; predictions without
    a customer's id count each. Observed churn and calibration rest on predictions whose outcome has been reported;
    predictions of one customer are no new evidence, so that intervals are as wide as with so many customers.

    Parameters
    ----------
    table : day (date), band, customer (None where there was no id), probability, actual (1, 0 or NaN where nothing was
        reported), revenue (a month; NaN where not known); in the order in which they were made.
    model, doubt : of the champion, for the length of the period, the value of a customer without revenue, and the
        intervals of revenue at risk.

    Returns
    -------
    `rows` (day, band and measures), `bands` and `total`; every measure with its 95 % interval, None where nothing is
    known.
    """
    if not len(table):
        return {"rows": [], "bands": [], "total": None}
    value = _value(table, model)
    last = _latest(table)
    known = [band for band in BANDS if (table["band"] == band).any()]
    days = sorted(table["day"].unique())
    cells = [(day, band) for day in days for band in known]
    masks = [((table["day"] == day) & (table["band"] == band)).to_numpy() for day, band in cells]
    used = [k for k, mask in enumerate(masks) if mask.any()]
    sets = (
        [masks[k] for k in used] + [(table["band"] == band).to_numpy() for band in known] + [np.ones(len(table), bool)]
    )
    at_risk = _at_risk(table["probability"].to_numpy(), value, last, sets, doubt)
    measured = [
        {**_measures(table[mask]), "revenue_at_risk": one.to_dict()} for mask, one in zip(sets, at_risk, strict=True)
    ]
    rows = [{"day": cells[k][0], "band": cells[k][1], **one} for k, one in zip(used, measured, strict=False)]
    bands = [{"band": band, **one} for band, one in zip(known, measured[len(used) :], strict=False)]
    return {"rows": rows, "bands": bands, "total": measured[-1]}


def _value(table: pd.DataFrame, model: ChurnModel) -> Floats:
    """Value if kept: from the revenue where it is known, else the one of every customer."""
    probability = table["probability"].to_numpy(dtype=np.float64)
    revenue = table["revenue"].to_numpy(dtype=np.float64)
    told = np.isfinite(revenue) & (revenue >= 0)
    value = np.full(len(table), float(model.offer.value))
    if told.any():
        found = worth_of(
            pd.DataFrame({"revenue": revenue[told]}),
            probability[told],
            period_days=float(model.facts.get("horizon_days") or 0),
            otherwise=None,
            revenue="revenue",
        )
        value[told] = found.values
    return value


def _latest(table: pd.DataFrame) -> NDArray[np.bool_]:
    """The last prediction of every customer on every day."""
    named = table["customer"].notna().to_numpy()
    repeated = table.duplicated(["day", "customer"], keep="last").to_numpy()
    return np.asarray(~(named & repeated))


def _at_risk(
    probability: Floats, value: Floats, last: NDArray[np.bool_], sets: list[NDArray[np.bool_]], doubt: Doubt
) -> list[Estimate]:
    members = np.asarray([mask & last for mask in sets], dtype=np.float64)

    def sums(p: Floats) -> Floats:
        return np.asarray(members @ (p * value))

    return doubt.of(sums(probability), sums, probability)


def _measures(part: pd.DataFrame) -> dict[str, Any]:
    p = part["probability"].to_numpy(dtype=np.float64)
    actual = part["actual"].to_numpy(dtype=np.float64)
    told = np.isfinite(actual)
    count = int(told.sum())
    body: dict[str, Any] = {
        "predictions": len(part),
        "customers": int(part["customer"].nunique()),
        "mean_probability": _mean(p).to_dict(),
        "actuals": count,
        "observed": None,
        "expected": None,
        "calibration_gap": None,
    }
    if count:
        share = float(actual[told].mean())
        low, high = wilson(share, _independent(part.loc[told, "customer"]))
        expected = float(p[told].mean())
        body["observed"] = Estimate(share, low, high).to_dict()
        body["expected"] = expected
        # Probabilities that differ spread less than equal ones of the same mean: the interval is wide enough for both.
        body["calibration_gap"] = Estimate(expected - share, expected - high, expected - low).to_dict()
    return body


def _independent(customers: pd.Series) -> float:
    """How many independent rows the rows are worth where a customer's all have one outcome: (Σ n)² / Σ n² over the
    customers (Kish 1965); rows without a customer count each."""
    rows = [*customers.value_counts().tolist(), *([1] * int(customers.isna().sum()))]
    return len(customers) ** 2 / sum(one**2 for one in rows)


def _mean(values: Floats) -> Estimate:
    """Mean and 95 % interval; a single value tells nothing of how far others lie."""
    mean = float(values.mean())
    if len(values) < 2:
        return Estimate(mean, float("nan"), float("nan"))
    half = Z * float(values.std(ddof=1)) / float(np.sqrt(len(values)))
    return Estimate(mean, max(0.0, mean - half), min(1.0, mean + half))
