"""Candidates fitted from material: costs for all of them alike, members of quality, and the blend."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.lifecycle.threads import one_blas_thread
from models.routing import boosting, fitting
from models.routing.amounts import FoundAmounts, find_amounts
from models.routing.blend import Blend, fit_blend, weights_of
from models.routing.curve import Singles, read
from models.routing.fitting import Found
from models.routing.material import Material, row_numbers
from models.routing.model import RoutingModel, Scale
from models.routing.normal import levels
from models.routing.options import RoutingOptions
from models.routing.outcomes import Outcomes
from models.routing.regret import Reward, Worth, regret_rows, worth
from models.routing.regret import weights_of as regret_weights
from models.routing.tradeoff import KNOTS, Tradeoff, choose, spread
from models.routing.unseen import on_unseen_groups
from store.errors import TrainingError

Floats = NDArray[np.float64]

# In the order of the leaderboard. The first is what the others must beat: a choice that does not look at the prompt.
BASELINES = ("blind", "length", "task_mean")
MEMBERS = ("ridge", "refined", "neighbours", "difficulty", "boosting")


def fit(name: str, given: Material, options: RoutingOptions, scale: Scale) -> RoutingModel:
    """One candidate.

    Raises
    ------
    TrainingError : an unknown candidate.
    """
    with one_blas_thread(), given.lock:
        if name != "blend":
            part = member(name, given, options)
            level = levels(given.outcomes.score, np.ones(len(given), bool))
            return _assembled(name, given, options, scale, *_alone(name, given, part, level), {name: part.settings})
        names = members_of(options)
        parts = {one: member(one, given, options) for one in names}
        level = levels(given.outcomes.score, np.ones(len(given), bool))
        blend, inside, apart = fit_blend(given, given.outcomes.score, level, parts)
        made = _assembled(
            name, given, options, scale, blend, inside, apart, {one: part.settings for one, part in parts.items()}
        )
        rivals, knots, elsewhere = {}, {}, {}
        for one in BASELINES:
            rivals[one], said, there = _alone(one, given, member(one, given, options), level)
            knots[one] = _spread(given, said)
            if there is not None:
                elsewhere[one] = there, knots[one]
        told = {**made.facts, "rival_settings": {one: member(one, given, options).settings for one in BASELINES}}
        cost = _amount("cost", given).apart
        if apart is not None and cost is not None:
            mine = apart, made.tradeoff
            told["unseen_groups"] = on_unseen_groups(given, _real(given), cost, mine, elsewhere, options)
        return replace(made, rivals=rivals, rival_tradeoffs=knots, facts=told)


def members_of(options: RoutingOptions) -> tuple[str, ...]:
    """What the blend is made of."""
    names = ("length", "task_mean", *MEMBERS)
    return names if options.trees else tuple(one for one in names if one != "boosting")


def member(name: str, given: Material, options: RoutingOptions) -> Found:
    """A member with its predictions out of fold; found once for each material."""
    score = given.outcomes.score
    makers: Mapping[str, Callable[[], Found]] = {
        "blind": lambda: fitting.found(fitting.fit_constant, given, score),
        "length": lambda: fitting.find_length(given, score),
        "task_mean": lambda: fitting.find_tasks(given, score),
        "ridge": lambda: fitting.find_ridge(given, score),
        "refined": lambda: fitting.find_refined(given, score, member("task_mean", given, options)),
        "neighbours": lambda: fitting.find_nearest(given, score),
        "difficulty": lambda: fitting.find_curved(given, score),
        "boosting": lambda: boosting.find_trees(given, score, options.trees, options.threads, options.seed),
    }
    if name not in makers:
        raise TrainingError(f"There is no routing candidate {name!r}.", remedy="See `candidates()`.")
    return given.once(f"member {name}", makers[name])


def refit(model: RoutingModel, given: Material, options: RoutingOptions) -> RoutingModel:
    """The same recipe on other rows, which hold those that it was judged on: what is registered. Strengths, weights and
    the spread of trade-offs are found anew, since a holdout of whole groups leaves kinds of prompts out of them."""
    made = fit(model.candidate, given, options, model.scale)
    told = {**made.facts, "judged_rows": len(given) - int(model.facts["rows"])}
    return replace(made, rivals={}, rival_tradeoffs={}, facts=told, judged=model)


def read_off(quality: Floats, cost: Floats, real: Worth, knots: Tradeoff) -> dict[str, float]:
    """What is read off the curve of predictions on rows with known worth."""
    rows = np.arange(len(quality))
    points = []
    for one in np.linspace(0, 1, 2 * KNOTS - 1):
        chosen = choose(quality, cost, knots.weight(float(one)))
        points.append((float(real.cost[rows, chosen].mean()), float(real.quality[rows, chosen].mean())))
    found = read(
        np.array([one[0] for one in points]),
        np.array([one[1] for one in points]),
        Singles(real.cost.mean(axis=0), real.quality.mean(axis=0)),
    )
    return {name: round(value, 5) if value == value else 0.0 for name, value in vars(found).items()}


def _alone(name: str, given: Material, part: Found, level: Floats) -> tuple[Blend, Floats, Floats | None]:
    """A member by itself, drawn to the means as far as its predictions out of fold overshoot."""
    weights = weights_of(given.outcomes.score, level, {name: part.predicted}) if name != "blind" else np.ones(1)
    blend = Blend(level, {name: part.member}, weights)
    inside = level + weights[0] * (part.predicted - level)
    return blend, inside, None if part.apart is None else level + weights[0] * (part.apart - level)


def _assembled(
    name: str,
    given: Material,
    options: RoutingOptions,
    scale: Scale,
    blend: Blend,
    inside: Floats,
    apart: Floats | None,
    settings: Mapping[str, Any],
) -> RoutingModel:
    seen = given.outcomes
    costs = _amount("cost", given)
    real = _real(given)
    bounded = np.clip(inside, 0.0, 1.0)
    knots = _spread(given, inside)
    weights = regret_weights(seen)
    told: dict[str, Any] = {"by prompt": read_off(bounded, costs.predicted, real, knots)}
    if apart is not None:
        told["by group"] = read_off(np.clip(apart, 0.0, 1.0), costs.predicted, real, knots)
    extra: dict[str, FoundAmounts] = {
        kind: _amount(kind, given) for kind in ("tokens", "latency") if np.isfinite(getattr(seen, kind)).any()
    }
    return RoutingModel(
        candidate=name,
        selection=float(regret_rows(bounded, costs.predicted, real, weights).mean()),
        models=seen.models,
        basis=given.basis,
        quality=blend,
        cost=costs.amounts,
        tradeoff=knots,
        cells=seen.seen.sum(axis=0),
        tokens=extra["tokens"].amounts if "tokens" in extra else None,
        latency=extra["latency"].amounts if "latency" in extra else None,
        scale=scale,
        facts={
            "rows": len(given),
            "seed": options.seed,
            "folds": options.folds,
            "settings": {one: dict(found) for one, found in settings.items()},
            "amounts": {"cost": costs.settings, **{kind: one.settings for kind, one in extra.items()}},
            "out_of_fold": told,
        },
        seen=np.unique(row_numbers(seen)),
    )


def reward(judged: Outcomes, given: Material) -> Reward:
    """What a model of difficulty, fitted to training rows alone, says of other rows, whatever policy is judged."""
    vectors = given.basis.vectors(judged.gists, judged.task)
    found, costs = _reward_model(given), _amount("cost", given)
    place = {name: i for i, name in enumerate(given.outcomes.models)}
    take = [place.get(name, -1) for name in judged.models]
    strange = np.array([one < 0 for one in take])
    with one_blas_thread():
        quality = np.clip(found.member.predict(vectors), 0.0, 1.0)[:, take].copy()
        cost = costs.amounts.predict(vectors)[:, take].copy()
    # Of a model that was never seen: what is usual.
    quality[:, strange] = float(np.nanmean(given.outcomes.score))
    cost[:, strange] = float(np.nanmean(given.outcomes.cost))
    return Reward(quality, cost)


def _real(given: Material) -> Worth:
    """Worth of the training rows themselves; what was not seen is told out of fold."""
    if given.outcomes.whole:
        return worth(given.outcomes)
    said = Reward(np.clip(_reward_model(given).predicted, 0.0, 1.0), _amount("cost", given).predicted)
    return worth(given.outcomes, said)


def _reward_model(given: Material) -> Found:
    return given.once("member difficulty", lambda: fitting.find_curved(given, given.outcomes.score))


def _spread(given: Material, inside: Floats) -> Tradeoff:
    real = _real(given)
    return spread(np.clip(inside, 0.0, 1.0), _amount("cost", given).predicted, real.quality, real.cost)


def _amount(kind: str, given: Material) -> FoundAmounts:
    return given.once(f"amount {kind}", lambda: find_amounts(given, getattr(given.outcomes, kind)))
