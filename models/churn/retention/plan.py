"""A campaign: who is offered what within a budget, what that is expected to save, and what would have come otherwise.

For customer i and offer j the expected value is Δ_ij · V_i − c_j: by how much the offer lowers the probability of
leaving (success · p_i, or a fixed effect, at most p_i), times what the customer is worth if kept, less the cost, which
is spent on everybody who is made the offer. At most one offer each; the total is maximised within the budget.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.churn.retention.doubt import Doubt
from models.churn.retention.knapsack import MICRO, Choice, choose, in_micros
from models.churn.retention.offers import RetentionOffer, checked
from models.lifecycle.evaluation import Estimate
from store.errors import EmptyData, InvalidValue

Floats = NDArray[np.float64]

BANDS = ("high", "medium", "low")
RANDOM_ORDERS = 20
ASSIGNMENT = (
    "rank",
    "customer",
    "band",
    "probability",
    "value_if_kept",
    "revenue_at_risk",
    "offer",
    "cost",
    "probability_with_offer",
    "revenue_saved",
    "net",
    "alternatives",
)


@dataclass(frozen=True)
class Customers:
    """Whom a campaign may address, row by row.

    Attributes
    ----------
    ids : all different, none missing.
    band : of every customer; "" where bands are not known.
    value : if kept, in currency.
    frame : their columns, for the rules of who is eligible.
    basis : how the value was found, in one sentence.
    uplift : from a campaign, where there was one: by how much the offer lowers the probability of leaving.
    """

    ids: NDArray[Any]
    probability: Floats
    band: NDArray[Any]
    value: Floats
    frame: pd.DataFrame
    basis: str
    uplift: Floats | None = None


@dataclass(frozen=True)
class RetentionPlan:
    """What to do and what to expect of it.

    Attributes
    ----------
    assignments : one row per offer made, the most valuable first; columns as in `ASSIGNMENT`.
    summary : JSON-ready.
    """

    assignments: pd.DataFrame
    summary: Mapping[str, Any]


def plan(
    customers: Customers,
    offers: Sequence[RetentionOffer],
    budget: float | None,
    doubt: Doubt | None = None,
) -> RetentionPlan:
    """Choose at most one offer per customer within the budget.

    The result does not depend on the order of the rows: ties go to the customer whose id comes first.

    Parameters
    ----------
    budget : in currency; None for every offer that pays.
    doubt : draws of the calibration, for intervals; without it there are none.

    Raises
    ------
    EmptyData, InvalidValue, MissingColumn, WrongType : naming the customer, the offer or the column.
    """
    offers = checked(offers)
    _check(customers, budget)
    order = np.argsort(np.asarray([str(one) for one in customers.ids]), kind="stable")
    own = _sorted(customers, order)
    saved = np.column_stack([offer.saved(own.probability, own.uplift) for offer in offers])
    eligible = np.column_stack([offer.may_have(own.frame) for offer in offers])
    costs = np.asarray([in_micros(offer.cost, up=True) for offer in offers], dtype=np.int64)
    net = saved * own.value[:, None] - costs / MICRO
    value = np.where(eligible, net, -np.inf)
    whole = None if budget is None else in_micros(budget, up=False)
    price = np.broadcast_to(costs, value.shape)
    choice = choose(value, price, whole)
    assignments = _assignments(own, offers, choice, saved, net, eligible, costs)
    summary = {
        "customers": len(own.ids),
        "budget": budget,
        "spend": int(costs[choice.option[choice.option >= 0]].sum()) / MICRO,
        "offers_made": len(assignments),
        **_expected(own, offers, choice, costs, doubt),
        "revenue_at_risk": _at_risk(own, doubt),
        "by_offer": _by_offer(offers, assignments, eligible),
        "not_offered": _not_offered(choice, value, eligible),
        "optimal": {
            "exact": choice.exact,
            "best_possible": choice.bound,
            "distance": 0.0 if choice.exact or choice.bound <= 0 else 1.0 - choice.value / choice.bound,
        },
        "instead": {} if whole is None else _instead(own, value, price, whole),
        "value_basis": own.basis,
        "interval": "95 %, bootstrap over the calibration; the effects of the offers count as given" if doubt else None,
    }
    return RetentionPlan(assignments, summary)


def at_risk(customers: Customers, doubt: Doubt | None) -> dict[str, Any]:
    """Revenue at risk, Σ p·V, in total and per band, with intervals."""
    return _at_risk(customers, doubt)


def _check(customers: Customers, budget: float | None) -> None:
    if not len(customers.ids):
        raise EmptyData("There are no customers to plan for.", remedy="Bring a table with rows, or score customers.")
    if budget is not None and not (0 <= budget <= 1e12):
        raise InvalidValue(
            f"budget = {budget:g}.", remedy="Give an amount of 0 or more.", field="budget", value=float(budget)
        )
    ids = pd.Series(customers.ids, dtype=object)
    if ids.isna().any():
        raise InvalidValue(
            f"{int(ids.isna().sum())} of {len(ids)} customers have no id.",
            remedy="Give every row the id of its customer.",
            field="customer",
        )
    twice = ids[ids.astype(str).duplicated()]
    if len(twice):
        raise InvalidValue(
            f"The customer {str(twice.iloc[0])[:80]!r} occurs twice: who may be offered what would be counted double.",
            remedy="Bring one row per customer, the latest.",
            field="customer",
            value=str(twice.iloc[0])[:80],
        )


def _sorted(customers: Customers, order: NDArray[np.intp]) -> Customers:
    return Customers(
        customers.ids[order],
        customers.probability[order],
        customers.band[order],
        customers.value[order],
        customers.frame.iloc[order],
        customers.basis,
        None if customers.uplift is None else customers.uplift[order],
    )


def _assignments(
    own: Customers,
    offers: Sequence[RetentionOffer],
    choice: Choice,
    saved: Floats,
    net: Floats,
    eligible: NDArray[np.bool_],
    costs: NDArray[np.int64],
) -> pd.DataFrame:
    rows = np.flatnonzero(choice.option >= 0)
    taken = choice.option[rows]
    names = np.asarray([offer.name for offer in offers], dtype=object)
    frame = pd.DataFrame(
        {
            "rank": np.zeros(len(rows), dtype=np.int64),
            "customer": own.ids[rows],
            "band": own.band[rows],
            "probability": own.probability[rows],
            "value_if_kept": np.round(own.value[rows], 4),
            "revenue_at_risk": np.round(own.probability[rows] * own.value[rows], 4),
            "offer": names[taken],
            "cost": costs[taken] / MICRO,
            "probability_with_offer": own.probability[rows] - saved[rows, taken],
            "revenue_saved": np.round(saved[rows, taken] * own.value[rows], 4),
            "net": np.round(net[rows, taken], 4),
            "alternatives": [
                _alternatives(offers, net[row], eligible[row], k) for row, k in zip(rows, taken, strict=True)
            ],
        },
        columns=list(ASSIGNMENT),
    )
    # Rows come by id, and the sort keeps that order among equals.
    frame = frame.iloc[np.argsort(-net[rows, taken], kind="stable")].reset_index(drop=True)
    frame["rank"] = np.arange(1, len(frame) + 1)
    return frame


def _alternatives(offers: Sequence[RetentionOffer], net: Floats, eligible: NDArray[np.bool_], taken: int) -> str:
    """The other offers the customer could have had, best first, with what each is expected to bring."""
    others = [k for k in np.argsort(-net, kind="stable") if k != taken and eligible[k]]
    return ", ".join(f"{offers[k].name} ({net[k]:+.2f})" for k in others)


def _expected(
    own: Customers, offers: Sequence[RetentionOffer], choice: Choice, costs: NDArray[np.int64], doubt: Doubt | None
) -> dict[str, Any]:
    """Revenue and customers saved by the plan and what is left after its cost."""
    rows = np.flatnonzero(choice.option >= 0)
    taken = choice.option[rows]
    uplift = None if own.uplift is None else own.uplift[rows]
    spend = float(costs[taken].sum()) / MICRO

    def sums(probability: Floats) -> Floats:
        lowered = np.zeros(len(rows))
        for k, offer in enumerate(offers):
            mine = taken == k
            if mine.any():
                lowered[mine] = offer.saved(probability[mine], None if uplift is None else uplift[mine])
        revenue = float((lowered * own.value[rows]).sum())
        return np.asarray([float(lowered.sum()), revenue, revenue - spend])

    point = sums(own.probability[rows])
    found = doubt.of(point, sums, own.probability[rows]) if doubt else [_alone(one) for one in point]
    names = ("customers_saved", "revenue_saved", "net")
    return {name: one.to_dict() for name, one in zip(names, found, strict=True)}


def _at_risk(own: Customers, doubt: Doubt | None) -> dict[str, Any]:
    known = [band for band in BANDS if (own.band == band).any()]
    members = np.asarray([own.band == band for band in known] + [np.ones(len(own.ids), dtype=bool)], dtype=np.float64)

    def sums(probability: Floats) -> Floats:
        return np.asarray(members @ (probability * own.value))

    point = sums(own.probability)
    found = doubt.of(point, sums, own.probability) if doubt else [_alone(one) for one in point]
    counts = members.sum(axis=1).astype(int).tolist()
    bands = {
        band: {"customers": count, **one.to_dict()}
        for band, count, one in zip(known, counts[:-1], found[:-1], strict=True)
    }
    return {"total": {"customers": counts[-1], **found[-1].to_dict()}, "bands": bands}


def _by_offer(
    offers: Sequence[RetentionOffer], assignments: pd.DataFrame, eligible: NDArray[np.bool_]
) -> list[dict[str, Any]]:
    out = []
    for offer, allowed in zip(offers, eligible.sum(axis=0).tolist(), strict=True):
        own = assignments[assignments["offer"] == offer.name]
        out.append(
            {
                **offer.to_dict(),
                "may_have": allowed,
                "customers": len(own),
                "spend": float(own["cost"].sum()),
                "revenue_saved": float(own["revenue_saved"].sum()),
                "net": float(own["net"].sum()),
            }
        )
    return out


def _not_offered(choice: Choice, value: Floats, eligible: NDArray[np.bool_]) -> dict[str, int]:
    """Why customers are offered nothing."""
    none = choice.option < 0
    allowed, pays = eligible.any(axis=1), (value > 0).any(axis=1)
    return {
        "not_eligible": int((none & ~allowed).sum()),
        "costs_more_than_it_saves": int((none & allowed & ~pays).sum()),
        "budget": int((none & pays).sum()),
    }


def _instead(own: Customers, value: Floats, price: NDArray[np.int64], budget: int) -> dict[str, Any]:
    """What the same budget would bring if it were spent by risk alone, or at random: the usual ways."""
    allowed = np.asarray(np.isfinite(value).any(axis=1))
    best = np.argmax(np.where(np.isfinite(value), value, -np.inf), axis=1)
    index = np.arange(len(value))
    gain, cost = value[index, best], price[index, best]
    by_risk = np.argsort(-own.probability, kind="stable")
    rng = np.random.default_rng(0)
    orders = [rng.permutation(len(value)) for _ in range(RANDOM_ORDERS)]
    return {
        "by_risk": {"net": _spent(by_risk, allowed, gain, cost, budget), "how": "the riskiest first, each the best of "
                    "the offers, until the budget is spent"},
        "at_random": {"net": float(np.mean([_spent(one, allowed, gain, cost, budget) for one in orders])),
                      "how": f"in random order, mean of {RANDOM_ORDERS}"},
    }  # fmt: skip


def _spent(
    order: NDArray[np.intp], allowed: NDArray[np.bool_], gain: Floats, cost: NDArray[np.int64], budget: int
) -> float:
    chosen = order[allowed[order]]
    fits = np.cumsum(cost[chosen]) <= budget
    return float(gain[chosen[fits]].sum())


def _alone(value: float) -> Estimate:
    return Estimate(float(value), float("nan"), float("nan"))
