"""A policy beside its rivals and references on the same rows: what each reaches, and by how much they differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.routing.judging import (
    READ,
    Drawn,
    Points,
    differences,
    estimate,
    points_of,
    readings,
    references,
)
from models.routing.model import RoutingModel
from models.routing.outcomes import Outcomes
from models.routing.plots import curves
from models.routing.regret import Worth

Floats = NDArray[np.float64]

# Rows that the mean of a model counts as, in the mean of a group.
_PRIOR = 5.0


def compared(
    model: RoutingModel,
    judged: Outcomes,
    learned: Outcomes,
    real: Worth,
    drawn: Drawn,
    points: Points,
    own: Mapping[str, Floats],
    roles: Mapping[str, str],
    train: pd.DataFrame,
    holdout: pd.DataFrame,
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """`references` and `differences` for the report, and the figure."""
    if set(model.models) != set(judged.models):
        return {}, {}
    take = [model.models.index(name) for name in judged.models]
    vectors = model.vectors(judged.gists, judged.task)
    cost = model.cost.predict(vectors)[:, take]
    others: dict[str, Points] = {}
    rows: list[dict[str, Any]] = []
    against: dict[str, Mapping[str, Floats]] = {}
    for name, rival in model.rivals.items():
        quality = np.clip(rival.predict(vectors), 0.0, 1.0)[:, take]
        others[name] = points_of(quality, cost, model.rival_tradeoffs[name], real)
        against[name] = readings(others[name], real, drawn)
    blind = np.nanmean(learned.score, axis=0), np.nanmean(learned.cost, axis=0)
    means = _group_means(learned, roles, train, holdout) if "group" in roles and "model" not in roles else None
    for name, found in references(real, blind, means, cost).items():
        others[name] = found
        told = readings(found, real, drawn)
        against[name] = told
        single = found.cost.shape[1] == 1
        rows.append(
            {
                "candidate": name,
                "baseline": True,
                "reference": True,
                "metrics": {one: estimate(told[one]).to_dict() for one in READ}
                | (
                    {
                        "quality": estimate(drawn.means(found.quality)[:, 0]).to_dict(),
                        "cost": estimate(drawn.means(found.cost)[:, 0]).to_dict(),
                    }
                    if single
                    else {}
                ),
            }
        )
    report: dict[str, Any] = {
        "references": rows,
        "differences": differences(own, against),
        "formulas": {
            "aiq": "1/(c1-c0) * integral of the upper concave, never falling hull of (cost, quality) from c0 to c1, "
            "the mean costs of the cheapest and the dearest model",
            "apgr": "mean over costs from the weakest to the strongest model of (hull - q weakest)/(q strongest - q "
            "weakest)",
            "quality_at_quarter": "hull at 25 % of the best single model's mean cost",
            "kept_at_quarter": "the same over the best single model's mean quality",
            "regret": "mean over weights of cost of what the choice is worth less than the best one of the row",
        },
    }
    shown: dict[str, Points] = {
        name: others[name] for name in (*model.rivals, "dataset mean", "oracle") if name in others
    }
    figure = curves(points, shown, judged.models, real.cost.mean(axis=0), real.quality.mean(axis=0), model.candidate)
    return report, figure


def _group_means(
    learned: Outcomes, roles: Mapping[str, str], train: pd.DataFrame, holdout: pd.DataFrame
) -> Floats | None:
    """Mean quality of each model in the group of each row; None where no group was learned from."""
    names = train[roles["group"]].astype(str)
    own = holdout[roles["group"]].astype(str)
    if not own.isin(set(names)).any() or names.nunique() > len(names) / 3:
        return None
    level = np.nanmean(learned.score, axis=0)
    frame = pd.DataFrame(learned.score - level)
    frame["group"] = names.to_numpy()
    sums, counts = frame.groupby("group").sum(), frame.groupby("group").count()
    table = sums / (counts + _PRIOR)
    return np.asarray(level + table.reindex(own).fillna(0.0).to_numpy())
