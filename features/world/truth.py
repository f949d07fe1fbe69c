"""What is true of the world and stands in no table: hazards, latent states, elasticities, and the best possible AUC."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from scipy.stats import rankdata

from features.world import business, calendar, hazard, usage
from features.world.business import Array
from features.world.engagement import Engagement
from features.world.hazard import HORIZON, Hazard
from features.world.rows import Frame

MIN_TENURE_DAYS = 30
EVERY_DAYS = 30


def hazard_rows(at: Frame, chance: Hazard) -> pa.Table:
    """(customer_id, day, hazard, expected_30): one row per customer and day before the decision to leave.

    `hazard` is the true probability to leave on that day; `expected_30` the probability to leave within the 30 days
    that begin with it, given what the tables held that morning.
    """
    columns = np.arange(at.columns)
    there = (columns >= (at.who.signup - at.first)[:, None]) & (columns <= at.leaves[:, None])
    row, column = np.nonzero(there)
    return pa.table(
        {
            "customer_id": pa.DictionaryArray.from_arrays(pa.array(row.astype(np.int32)), at.ids),
            "day": pa.array(at.span.stamps(column + at.first)).view(pa.timestamp("us")),
            "hazard": chance.daily[there],
            "expected_30": chance.expected[there],
        }
    )


def customer_rows(at: Frame, state: Engagement, frailty: Array) -> pa.Table:
    """(customer_id, frailty, left_on, first_onset): what nobody could see of each customer.

    `left_on` is the day of the decision, null where the customer stayed; `first_onset` the day on which the first
    episode of disengagement began, null where there was none.
    """
    stayed = at.leaves >= at.columns
    onset = np.floor(state.onsets[:, 0]).astype(np.int64)

    def days(column: Array, missing: Array) -> pa.Array:
        stamps = at.span.stamps(np.where(missing, 0, column) + at.first)
        return pa.array(stamps, mask=missing, type=pa.int64()).view(pa.timestamp("us"))

    return pa.table(
        {
            "customer_id": at.ids,
            "frailty": frailty,
            "left_on": days(at.leaves, stayed),
            "first_onset": days(onset, onset >= at.columns),
        }
    )


def judged(at: Frame, chance: Hazard) -> Array:
    """(rows, 3): churned within 30 days, probability along the true hazard path, `expected_30`.

    One row per customer and month, at the moments that a training frame taken on the last morning uses.
    """
    parts = []
    for column in range(at.columns - HORIZON, MIN_TENURE_DAYS - 1, -EVERY_DAYS):
        there = np.flatnonzero((at.who.signup - at.first <= column - MIN_TENURE_DAYS) & (at.leaves >= column))
        path = 1 - np.prod(1 - chance.daily[there, column : column + HORIZON].astype(np.float64), axis=1)
        left = at.leaves[there] < column + HORIZON
        parts.append(np.stack([left, path, chance.expected[there, column]], axis=1).astype(np.float32))
    return np.concatenate(parts) if parts else np.empty((0, 3), dtype=np.float32)


def auc(labels: Array, scores: Array) -> float:
    """Area under the ROC curve by ranks (Mann and Whitney, 1947); NaN without both classes."""
    positive = labels > 0.5
    many, few = int((~positive).sum()), int(positive.sum())
    if not many or not few:
        return float("nan")
    ranks = rankdata(scores)
    return float((ranks[positive].sum() - few * (few + 1) / 2) / (few * many))


def statement(judgements: Array) -> Mapping[str, Any]:
    """Constants of nature, and what the true hazard scores on the 30-day label."""
    labels, path, expected = judgements.T
    return {
        "elasticities": {
            "signups_price": business.SIGNUP_PRICE_ELASTICITY,
            "signups_competitor_price": business.SIGNUP_COMPETITOR_ELASTICITY,
            "api_calls_price": business.USAGE_PRICE_ELASTICITY,
        },
        "seasonality": {
            "week": calendar.WEEK,
            "holiday": calendar.HOLIDAY,
            "august": calendar.SUMMER_DIP,
            "winter_log_energy": dict(zip(business.COUNTRIES, calendar.WINTER_HEATING, strict=True)),
        },
        "engagement": {"api_calls_effect": -usage.DISENGAGEMENT_EFFECT},
        "hazard": {
            "base": hazard.BASE,
            "coefficients": hazard.COEFFICIENTS,
            "plan": dict(zip(business.PLANS, hazard.PLAN_EFFECT, strict=True)),
            "log_tenure": hazard.TENURE_EFFECT,
            "contract_running": hazard.CONTRACT_RUNNING,
            "contract_ending": hazard.CONTRACT_ENDING,
            "weekday": hazard.WEEKDAY_EFFECT,
            "frailty_spread": hazard.FRAILTY_SPREAD,
        },
        "churn_30_days": {
            "rows": len(labels),
            "rate": round(float(labels.mean()), 5) if len(labels) else None,
            "auc_of_true_path": round(auc(labels, path), 5),
            "auc_of_expected": round(auc(labels, expected), 5),
            "meaning": "auc_of_true_path knows the hazard of each of the 30 days and the unobserved part: no model can "
            "beat it by more than luck. auc_of_expected knows the formula and this morning's tables, but expects "
            "behaviour to stay as it is; a model that foresees where it goes can lie between the two.",
        },
    }
