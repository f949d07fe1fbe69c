"""Quality from several members: how much each counts, and how much less where a prompt is like none before.

quality = level + Σ w · (member − level). The weights are those with which the members' predictions out of fold come
closest to the differences between models that were seen (non-negative least squares), drawn a little to equal ones, and
may add up to less than one: what nothing can tell is left to the mean.

**Unlike what was learned from.** Where rows come in groups, the weights are found twice: with prompts held out, and
with whole groups held out. Which of the two counts for a prompt follows from how far it lies from what was learned
from, in the radii of the nearest neighbourhood, by a logistic curve between the two kinds of held-out rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.lifecycle.threads import side_by_side
from models.routing.fitting import Found, difference_error
from models.routing.material import Material, centres_of
from models.routing.members import Member

Floats = NDArray[np.float64]
Vectors = NDArray[np.float32]

# How much the weights are drawn to equal ones.
_DRAWN = 0.05
_NEIGHBOURHOODS = 64
# How many prompts are like none before, where nobody knows.
_STRANGE = 0.2


@dataclass(frozen=True)
class Strangeness:
    """Probability that a prompt is of a kind that was not learned from: σ(offset + slope · distance / radius).

    Attributes
    ----------
    centres : (neighbourhoods, width).
    radius : (neighbourhoods): root of the mean square distance of what was learned from.
    """

    centres: Vectors
    radius: Floats
    offset: float
    slope: float

    def __call__(self, vectors: Vectors) -> Floats:
        made: Floats = 1.0 / (1.0 + np.exp(-(self.offset + self.slope * distance(vectors, self.centres, self.radius))))
        return made


@dataclass(frozen=True)
class Blend:
    """A prediction of quality.

    Attributes
    ----------
    level : (models), mean of each.
    members : name → member.
    weights : one per member.
    apart : the same for prompts of other kinds; None where that is not known.
    strangeness : tells them apart; None along with `apart`.
    """

    level: Floats
    members: Mapping[str, Member]
    weights: Floats
    apart: Floats | None = None
    strangeness: Strangeness | None = None

    def predict(self, vectors: Vectors) -> Floats:
        """(rows, models), not bounded."""
        made: Floats = np.broadcast_to(self.level, (len(vectors), len(self.level))).copy()
        strange = self.strangeness(vectors)[:, None] if self.strangeness is not None else None
        for place, member in enumerate(self.members.values()):
            weight = self.weights[place]
            if strange is not None and self.apart is not None:
                if weight or self.apart[place]:
                    counts = (1.0 - strange) * weight + strange * self.apart[place]
                    made += counts * (member.predict(vectors) - self.level)
            elif weight:
                made += weight * (member.predict(vectors) - self.level)
        return made


def weights_of(target: Floats, level: Floats, predicted: Mapping[str, Floats]) -> Floats:
    """How much each member counts."""
    from scipy.optimize import nnls

    error = target - level
    seen = ~np.isnan(error)
    count = seen.sum(axis=1)
    several = (count > 1).mean() > 0.05

    def flat(values: Floats) -> Floats:
        if not several:
            return values[seen]
        rows = count > 1
        part = np.where(seen[rows], values[rows], 0.0)
        middle = part.sum(axis=1) / count[rows]
        apart: Floats = (part - middle[:, None])[seen[rows]]
        return apart

    table = np.column_stack([flat(one - level) for one in predicted.values()])
    goal = flat(error)
    gram, right = table.T @ table / len(goal), table.T @ goal / len(goal)
    names = len(predicted)
    pad = _DRAWN * np.trace(gram) / names
    gram = gram + (pad + 1e-12) * np.eye(names)
    right = right + pad / names
    root = np.linalg.cholesky(gram)
    found, _ = nnls(root.T, np.linalg.solve(root, right))
    # What adds next to nothing takes time all the same.
    found[found < 0.02] = 0.0
    total = found.sum()
    return np.asarray(found / total if total > 1.0 else found, np.float64)


def fit_blend(
    given: Material, target: Floats, level: Floats, members: Mapping[str, Found]
) -> tuple[Blend, Floats, Floats | None]:
    """Weigh members by what they said of rows held out.

    Returns
    -------
    The blend; its predictions out of fold, by prompt and, where there are groups, by group.
    """
    weights = weights_of(target, level, {name: one.predicted for name, one in members.items()})
    inside = _mixed(level, weights, [one.predicted for one in members.values()])
    parts = {name: one.member for name, one in members.items()}
    held_out = {name: one.apart for name, one in members.items() if one.apart is not None}
    if given.group_fold is None or len(held_out) < len(members):
        return Blend(level, parts, weights), inside, None
    apart = weights_of(target, level, held_out)
    outside = _mixed(level, apart, list(held_out.values()))
    known = _mixed(level, weights, list(held_out.values()))
    if difference_error(target, known) <= difference_error(target, outside):
        return Blend(level, parts, weights), inside, known
    return Blend(level, parts, weights, apart, fit_strangeness(given)), inside, outside


def fit_strangeness(given: Material) -> Strangeness:
    """Tell rows of groups that were held out from rows of groups that were not, by their distance."""
    assert given.group_fold is not None
    near = np.empty(len(given))
    far = np.empty(len(given))

    def one(job: tuple[Floats, NDArray[np.bool_]]) -> None:
        made, held = job
        made[held] = distance(given.vectors[held], *neighbourhoods(given.vectors[~held], given.seed))

    jobs = [(far, given.group_fold == number) for number in np.unique(given.group_fold)]
    jobs += [(near, given.fold == number) for number in np.unique(given.fold)]
    side_by_side(one, jobs, given.threads)
    offset, slope = _logistic(near, far)
    centres, radius = neighbourhoods(given.vectors, given.seed)
    return Strangeness(centres, radius, offset, slope)


def neighbourhoods(vectors: Vectors, seed: int) -> tuple[Vectors, Floats]:
    """Centres and radii."""
    centres = centres_of(vectors, _NEIGHBOURHOODS, seed)
    square = _squares(vectors, centres)
    place = np.argmin(square, axis=1)
    number = np.maximum(np.bincount(place, minlength=len(centres)), 1)
    mean = np.bincount(place, weights=square[np.arange(len(place)), place], minlength=len(centres)) / number
    overall = float(square.min(axis=1).mean())
    # Of a neighbourhood of few the radius is hardly known.
    radius: Floats = np.sqrt((mean * number + 10.0 * overall) / (number + 10.0)) + 1e-9
    return centres, radius


def distance(vectors: Vectors, centres: Vectors, radius: Floats) -> Floats:
    """To the nearest centre, in its radii, at most 10."""
    made: Floats = np.minimum(np.sqrt(np.maximum(_squares(vectors, centres), 0.0) / radius**2).min(axis=1), 10.0)
    return made


def _squares(vectors: Vectors, centres: Vectors) -> Floats:
    own = np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)
    made: Floats = own[:, None] - 2.0 * (vectors @ centres.T) + np.einsum("ij,ij->i", centres, centres)
    return made


def _logistic(near: Floats, far: Floats) -> tuple[float, float]:
    x = np.concatenate([near, far])
    y = np.concatenate([np.zeros(len(near)), np.ones(len(far))])
    weight = np.where(y > 0, _STRANGE / len(far), (1 - _STRANGE) / len(near)) * len(x)
    design = np.column_stack([np.ones(len(x)), x])
    at = np.array([np.log(_STRANGE / (1 - _STRANGE)), 0.0])
    for _ in range(25):
        p = 1 / (1 + np.exp(-np.clip(design @ at, -30, 30)))
        gradient = design.T @ (weight * (y - p)) - np.array([0.0, at[1]])
        curvature = (design * (weight * np.maximum(p * (1 - p), 1e-6))[:, None]).T @ design + np.eye(2)
        at = at + np.clip(np.linalg.solve(curvature, gradient), -2.0, 2.0)
    if at[1] <= 0.0:
        return float(np.log(_STRANGE / (1 - _STRANGE))), 0.0
    return float(at[0]), float(at[1])


def _mixed(level: Floats, weights: Floats, predicted: list[Floats]) -> Floats:
    made: Floats = np.broadcast_to(level, predicted[0].shape).copy()
    for weight, one in zip(weights, predicted, strict=True):
        if weight:
            made += weight * (one - level)
    return made
