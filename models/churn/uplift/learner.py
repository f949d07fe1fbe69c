"""DR-learner with cross-fitting (Kennedy 2023, "Towards optimal doubly robust estimation of heterogeneous effects").

For a customer with columns x, offer t ∈ {0, 1} made with probability e, and outcome y (1: left), the score

    ψ = m₀(x) − m₁(x) + (1 − t)/(1 − e) · (y − m₀(x)) − t/e · (y − m₁(x))

has the effect (how much less leaving) as its mean, whatever the outcome models m₀ and m₁ are, as long as chance handed
out the offer. ψ is regressed on x. Nothing is ever predicted for a row by a model that has seen it: outcome models by
halves of the training rows, the effect out of fold.

What the regression claims is then held against ψ of rows it has not seen: the slope of ψ on the claimed effects (the
best linear predictor of Chernozhukov, Demirer, Duflo & Fernández-Val 2018) is the share of the claimed differences that
is true, and effects are shrunk towards their average by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.churn.encoding import Encoder
from models.churn.out_of_fold import assign_folds
from models.churn.uplift.campaign import Campaign
from models.churn.uplift.model import UpliftModel
from models.churn.uplift.qini import Ranking, rankings
from models.churn.uplift.randomisation import Balance, balance
from models.churn.uplift.stages import EffectRegression, outcome_probability
from models.lifecycle.evaluation import Estimate
from models.lifecycle.threads import one_blas_thread

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]

FOLDS = 5
LEARNED, BY_RISK = "by effect", "by risk"


@dataclass(frozen=True)
class Learned:
    """An uplift model and what it was judged by.

    Attributes
    ----------
    rankings : "by effect" (the model, out of fold) and "by risk" (probability of leaving without the offer).
    effects : out-of-fold effect of every row of the campaign.
    """

    model: UpliftModel
    balance: Balance
    rankings: Mapping[str, Ranking]
    effects: Floats


def learn(campaign: Campaign, seed: int = 7) -> Learned:
    """Check that the campaign was random, learn the effect, and judge it out of fold.

    Raises
    ------
    InvalidValue : the offer was not handed out at random.
    """
    checked = balance(campaign, seed)
    checked.refuse()
    with one_blas_thread():
        effects, risk, psi = _out_of_fold(campaign, seed)
        slope = _slope(psi, effects)
        trust = float(np.clip(slope.value, 0.0, 1.0))
        found, against, average = rankings(psi, {LEARNED: effects, BY_RISK: risk}, seed)
        encoder, regression, centre = _fit(campaign, campaign.frame, campaign.treated, campaign.left, seed)
    facts = _facts(campaign, checked, found, against, average, slope, trust)
    model = UpliftModel(encoder, regression, centre, round(average.value, 10), round(trust, 10), facts)
    return Learned(model, checked, found, effects)


def _out_of_fold(campaign: Campaign, seed: int) -> tuple[Floats, Floats, Floats]:
    """Effect, risk without the offer, and ψ of every row, by models that have not seen it."""
    cell = 2 * campaign.treated + campaign.left
    fold = np.zeros(len(cell), dtype=np.int64)
    for value in np.unique(cell):
        own = np.flatnonzero(cell == value)
        fold[own] = assign_folds(np.zeros(len(own), dtype=np.int64), None, FOLDS, seed + int(value))
    effects, risk, psi = np.empty(len(cell)), np.empty(len(cell)), np.empty(len(cell))
    for k in range(FOLDS):
        held = fold == k
        learn_rows = campaign.frame[~held]
        t, y = campaign.treated[~held], campaign.left[~held]
        encoder, regression, _ = _fit(campaign, learn_rows, t, y, seed + k)
        matrix, asked = encoder.matrix(learn_rows), encoder.matrix(campaign.frame[held])
        m0 = outcome_probability(matrix[t == 0], y[t == 0], encoder, asked, seed)
        m1 = outcome_probability(matrix[t == 1], y[t == 1], encoder, asked, seed)
        effects[held] = regression(asked)
        risk[held] = m0
        psi[held] = _psi(m0, m1, campaign.treated[held], campaign.left[held], float(campaign.treated.mean()))
    return effects, risk, psi


def _fit(
    campaign: Campaign, frame: pd.DataFrame, t: Whole, y: Whole, seed: int
) -> tuple[Encoder, EffectRegression, float]:
    """The regression on ψ, whose outcome models are fitted on the other half of the rows; and its mean."""
    encoder = Encoder.fit(frame, campaign.columns)
    matrix = encoder.matrix(frame)
    half = assign_folds(2 * t + y, None, 2, seed)
    psi = np.empty(len(y))
    for k in (0, 1):
        held, other = half == k, half != k
        m0 = outcome_probability(matrix[other & (t == 0)], y[other & (t == 0)], encoder, matrix[held], seed)
        m1 = outcome_probability(matrix[other & (t == 1)], y[other & (t == 1)], encoder, matrix[held], seed)
        psi[held] = _psi(m0, m1, t[held], y[held], float(t.mean()))
    regression = EffectRegression.fit(matrix, psi, encoder, seed)
    return encoder, regression, float(regression(matrix).mean())


def _psi(m0: Floats, m1: Floats, t: Whole, y: Whole, e: float) -> Floats:
    return np.asarray(m0 - m1 + (1 - t) / (1 - e) * (y - m0) - t / e * (y - m1))


def _slope(psi: Floats, effects: Floats) -> Estimate:
    """Slope of ψ on the claimed effects, with a heteroscedasticity-robust 95 % interval."""
    centred = effects - effects.mean()
    size = float((centred**2).sum())
    if size <= 1e-12 * len(psi):
        return Estimate(0.0, 0.0, 0.0)
    slope = float((centred * psi).sum()) / size
    residual = psi - psi.mean() - slope * centred
    error = float(np.sqrt(((centred * residual) ** 2).sum())) / size
    return Estimate(slope, slope - 1.96 * error, slope + 1.96 * error)


def _facts(
    campaign: Campaign,
    checked: Balance,
    found: Mapping[str, Ranking],
    against: Mapping[str, Estimate],
    average: Estimate,
    slope: Estimate,
    trust: float,
) -> dict[str, Any]:
    qini = found[LEARNED].qini
    # Both looks, since each alone is believed too often where there is nothing: rankings of five models that saw
    # mostly the same rows are not independent, and the bootstrap does not know it.
    supported = qini.low > 0 and slope.low > 0
    return {
        "rows": len(campaign.treated),
        "treated": int(campaign.treated.sum()),
        "supported": supported,
        "verdict": _verdict(qini, slope, against[BY_RISK], average, len(campaign.treated)),
        "average_effect": average.to_dict(),
        "slope": slope.to_dict(),
        "trust": trust,
        "qini": {name: one.qini.to_dict() for name, one in found.items()},
        "better_than_by_risk": against[BY_RISK].to_dict(),
        "tops": {
            name: {f"{round(100 * top)} %": value.to_dict() for top, value in one.tops.items()}
            for name, one in found.items()
        },
        "balance": checked.to_dict(),
        "notes": list(campaign.notes),
    }


def _verdict(qini: Estimate, slope: Estimate, better: Estimate, average: Estimate, rows: int) -> str:
    points = f"{100 * average.value:+.1f} points [{100 * average.low:+.1f}, {100 * average.high:+.1f}]"
    if average.low > 0:
        mean = f"On average the offer helps ({points})."
    elif average.high < 0:
        mean = f"On average the offer does harm ({points})."
    else:
        mean = f"On average no effect can be told from chance ({points})."
    area = f"{1000 * qini.value:.2f} [{1000 * qini.low:.2f}, {1000 * qini.high:.2f}] customers per thousand"
    if qini.low <= 0 or slope.low <= 0:
        why = f"the Qini coefficient of {area} is not above zero beyond chance in {rows} rows"
        if qini.low > 0:
            why = (
                f"the effects claimed for customers explain those found by a slope of {slope.value:.2f} "
                f"[{slope.low:.2f}, {slope.high:.2f}], which is not above zero beyond chance in {rows} rows"
            )
        return f"The data do not support choosing customers by effect, because {why}. {mean}"
    risk = "and better than by risk" if better.low > 0 else "though not shown to be better than by risk"
    return f"Choosing customers by effect pays, {risk}: Qini coefficient {area}. {mean}"
