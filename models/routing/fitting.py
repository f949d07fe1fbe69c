"""Fits of the members of a quality prediction, each shrunk hard, by strengths that rows held out choose.

What decides between models is how they differ on a prompt, not how hard it is for all of them. So every member is
fitted in two parts, what the models have in common and what each has beside, with strengths of their own; and strengths
are chosen by the error of differences between models where rows show several.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.gist import STRUCTURE
from models.lifecycle.threads import side_by_side
from models.routing.material import Fit, Material, out_of_fold
from models.routing.members import Constant, Curved, Linear, Member, Nearest, Refined, Tasks
from models.routing.normal import NONE, Normal, levels, padded

Floats = NDArray[np.float64]
Rows = NDArray[np.bool_]
Pair = tuple[float, float]  # penalty of what is common, penalty of a model's own

# Penalties of slopes in units of rows × mean variance of a column, weakest first.
STRENGTHS = (0.003, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
COMMON = (0.003, 0.03, 0.1, 0.3, 1.0, 3.0)
# Rows that the mean of everything weighs as much as, in the mean of a neighbourhood.
PRIOR_ROWS = (5.0, 15.0, 40.0, 120.0)
CENTRES = ((12, 60), (24, 160), (40, 400))
_LENGTH = (STRUCTURE.index("length"), STRUCTURE.index("words"))


@dataclass(frozen=True)
class Found:
    """A member and how it did on rows that it had not seen.

    Attributes
    ----------
    predicted : out of fold, by prompt; `apart` with whole groups held out, None where there are no such groups.
    settings : what was chosen.
    """

    member: Member
    predicted: Floats
    apart: Floats | None
    settings: dict[str, float | int | str]


def found(fit: Fit, given: Material, target: Floats, **settings: float | int | str) -> Found:
    """Fit on all rows, and out of fold under both rules."""
    everything = np.ones(len(given), bool)
    return Found(
        fit(given, target, everything),
        out_of_fold(fit, given, target, given.fold),
        None if given.group_fold is None else out_of_fold(fit, given, target, given.group_fold),
        settings,
    )


def difference_error(target: Floats, predicted: Floats) -> float:
    """Mean square of the error after what all models of a row have in common is taken out of it; of the plain error
    where rows show one model each."""
    error = target - predicted
    seen = ~np.isnan(error)
    count = seen.sum(axis=1)
    if (count > 1).mean() > 0.05:
        rows = count > 1
        error, count = error[rows], count[rows]
        error = error - (np.nansum(error, axis=1) / count)[:, None]
    return float(np.nanmean(error**2))


def fit_constant(given: Material, target: Floats, rows: Rows) -> Member:  # noqa: ARG001
    """The mean of each model."""
    return Constant(levels(target, rows))


def ridge_of(common: float, own: float, columns: Sequence[int] | None = None) -> Fit:
    """Ridge regression: slopes that all models share, then those of each, with penalties of their own."""

    def fit(given: Material, target: Floats, rows: Rows) -> Member:
        return Normal(given, target, rows, columns).solved(common, own)

    return fit


def find_ridge(given: Material, target: Floats) -> Found:
    """Ridge regression on everything that the vectors hold."""
    common, own = _penalties(target, STRENGTHS, lambda pairs: _held_out(given, target, pairs))
    return found(ridge_of(common, own), given, target, common=common, own=own)


def _penalties(
    target: Floats, strengths: Sequence[float], held_out: Callable[[Sequence[Pair]], dict[Pair, Floats]]
) -> Pair:
    """Penalties of what is common and of what is a model's own, by predictions of rows held out.

    What is common does not decide between models: its penalty comes first, by the plain error; the other then for that
    one alone.
    """
    shared = held_out([(common, NONE) for common in COMMON])
    common, _ = min(shared, key=lambda pair: _plain(target, shared[pair]))
    beside = held_out([(common, own) for own in strengths])
    return min(beside, key=lambda pair: difference_error(target, beside[pair]))


def _held_out(given: Material, target: Floats, pairs: Sequence[Pair], tasks: Fit | None = None) -> dict[Pair, Floats]:
    """What ridge regression says of each row without its fold, under each pair of penalties; with `tasks` it is fitted
    to what they leave, and added to what they say."""
    made = {pair: np.empty(target.shape) for pair in pairs}

    def one(number: int) -> None:
        held = given.fold == number
        vectors, rest, said = given.vectors[held], target, np.zeros(())
        if tasks is not None:
            base = tasks(given, target, ~held)
            rest, said = _left(base, given, target), base.predict(vectors)
        normal = Normal(given, rest, ~held)
        for pair in pairs:
            made[pair][held] = said + normal.solved(*pair).predict(vectors)

    side_by_side(one, np.unique(given.fold).tolist(), given.threads)
    return made


def find_length(given: Material, target: Floats) -> Found:
    """Ridge regression on the length of the prompt alone."""
    return found(length_of(), given, target)


def length_of() -> Fit:
    """Slopes over the length of the prompt."""
    return ridge_of(0.003, 0.01, _LENGTH)


def nearest_of(centres: tuple[int, int], common: float, own: float) -> Fit:
    """Means of neighbourhoods, shrunk to those of wider ones, and these to the mean of everything.

    Centres are those of all prompts of the material: no outcome takes part in them.
    """

    def fit(given: Material, target: Floats, rows: Rows) -> Member:
        level = levels(target, rows)
        rest = target[rows] - level
        coarse, fine = given.centres(centres[0]), given.centres(centres[1])
        place = given.nearest(centres[0])[rows]
        coarse_table = _shrunk(rest, place, len(coarse), common, own)
        rest = rest - coarse_table[place]
        fine_table = _shrunk(rest, given.nearest(centres[1])[rows], len(fine), common, own)
        return Nearest(level, coarse, coarse_table, fine, fine_table)

    return fit


def find_nearest(given: Material, target: Floats) -> Found:
    """Neighbourhoods: how many, and how much their means are shrunk."""
    sizes = [one for one in CENTRES if one[1] * 8 <= len(given)] or [(4, 8)]
    middle = sizes[len(sizes) // 2]
    own = min(
        PRIOR_ROWS,
        key=lambda rows: difference_error(
            target, out_of_fold(nearest_of(middle, 5.0, rows), given, target, given.fold)
        ),
    )
    size = min(
        sizes,
        key=lambda one: difference_error(target, out_of_fold(nearest_of(one, 5.0, own), given, target, given.fold)),
    )
    return found(nearest_of(size, 5.0, own), given, target, coarse=size[0], fine=size[1], prior_rows=own)


def tasks_of(prior: float, sharpness: float) -> Fit:
    """The task that a prompt is probably one of, and the means of its rows: groups where they are tasks, the gateway's
    own word for it where there is one, else neighbourhoods."""

    def fit(given: Material, target: Floats, rows: Rows) -> Member:
        level = levels(target, rows)
        vectors = given.vectors[rows].astype(np.float64)
        if given.task is not None:
            values, task = np.unique(given.task[rows], return_inverse=True)
            count = len(values)
        else:
            number = min(30, max(2, len(given) // 40))
            task, count = given.nearest(number)[rows], len(given.centres(number))
        table = level + _shrunk(target[rows] - level, task, count, prior, prior)
        mean = vectors.mean(axis=0)
        goal = np.zeros((len(vectors), count))
        goal[np.arange(len(vectors)), task] = 1.0
        share = goal.mean(axis=0)
        unit = float(np.mean(np.var(vectors, axis=0)))
        vectors -= mean
        left = padded(vectors.T @ vectors, 0.02 * unit * len(vectors))
        slope = np.linalg.solve(left, vectors.T @ (goal - share))
        return Tasks((sharpness * slope).astype(np.float32), sharpness * (share - mean @ slope), table)

    return fit


def find_tasks(given: Material, target: Floats) -> Found:
    """The mean of the predicted task."""
    choices = [(prior, sharp) for prior in (5.0, 20.0) for sharp in (6.0, 20.0)]
    prior, sharp = min(
        choices,
        key=lambda one: difference_error(target, out_of_fold(tasks_of(*one), given, target, given.fold)),
    )
    return found(tasks_of(prior, sharp), given, target, prior_rows=prior, sharpness=sharp)


def refined_of(prior: float, sharpness: float, common: float, own: float) -> Fit:
    """The mean of the task, and ridge regression on what is left."""

    def fit(given: Material, target: Floats, rows: Rows) -> Member:
        task = tasks_of(prior, sharpness)(given, target, rows)
        return _refined(task, Normal(given, _left(task, given, target), rows).solved(common, own))

    return fit


def find_refined(given: Material, target: Floats, task: Found) -> Found:
    """As `find_ridge`, on what the mean of the task leaves."""
    prior, sharpness = float(task.settings["prior_rows"]), float(task.settings["sharpness"])
    tasks = tasks_of(prior, sharpness)
    common, own = _penalties(target, (*STRENGTHS, NONE), lambda pairs: _held_out(given, target, pairs, tasks))
    settings = {"prior_rows": prior, "sharpness": sharpness, "common": common, "own": own}
    return found(refined_of(prior, sharpness, common, own), given, target, **settings)


def _left(task: Member, given: Material, target: Floats) -> Floats:
    return target - task.predict(given.vectors)


def _refined(task: Member, line: Linear) -> Refined:
    assert isinstance(task, Tasks)
    return Refined(task.slope, task.offset, task.table, line.level, line.slope)


def curved_of(strength: float) -> Fit:
    """Difficulty of a prompt by ridge regression, and a logistic curve over it for each model."""

    def fit(given: Material, target: Floats, rows: Rows) -> Member:
        line = ridge_of(strength, NONE)
        whole = line(given, target, rows)
        assert isinstance(whole, Linear)
        hardness = -whole.slope[:, 0].astype(np.float64)
        # The curve is fitted to difficulties of rows that were not looked at for them, or it would trust them too much.
        inner = np.flatnonzero(rows)
        halves = np.unique(given.fold[inner], return_inverse=True)[1] % 2
        if not halves.any():
            halves = np.arange(len(inner)) % 2
        difficulty = np.empty(len(inner))
        for half in (0, 1):
            held = halves == half
            without = np.zeros(len(given), bool)
            without[inner[~held]] = True
            part = line(given, target, without)
            assert isinstance(part, Linear)
            difficulty[held] = -(given.vectors[inner[held]] @ part.slope[:, 0])
        offset = -float(difficulty.mean())
        scale = max(float(difficulty.std()), 1e-6)
        ability, discrimination, floor = _logistic((difficulty + offset) / scale, target[rows])
        shift = -float((given.vectors[rows] @ hardness).mean())
        return Curved((hardness / scale).astype(np.float32), np.asarray(shift / scale), ability, discrimination, floor)

    return fit


def find_curved(given: Material, target: Floats) -> Found:
    """One difficulty for all models."""
    strength = min(
        COMMON[1:],
        key=lambda one: difference_error(target, out_of_fold(curved_of(one), given, target, given.fold)),
    )
    return found(curved_of(strength), given, target, common=strength)


def _logistic(difficulty: Floats, target: Floats) -> tuple[Floats, Floats, Floats]:
    """Ability and discrimination of each model by Newton's method, drawn towards the mean of its scores and a
    discrimination of all."""
    models = target.shape[1]
    ability, slope = np.zeros(models), np.zeros(models)
    floor = np.zeros(models)
    for one in range(models):
        seen = ~np.isnan(target[:, one])
        x, y = difficulty[seen], np.clip(target[seen, one], 0.0, 1.0)
        mean = float(np.clip(y.mean(), 0.01, 0.99)) if len(y) else 0.5
        a, b = float(np.log(mean / (1 - mean))), 0.0
        design = np.column_stack([np.ones(len(x)), -x])
        for _ in range(12):
            p = 1 / (1 + np.exp(-(a - b * x)))
            w = np.maximum(p * (1 - p), 1e-4)
            gradient = design.T @ (y - p) - np.array([0.0, 5.0 * b])
            curvature = (design * w[:, None]).T @ design + np.diag([1e-3, 5.0])
            step = np.linalg.solve(curvature, gradient)
            a, b = a + float(np.clip(step[0], -1, 1)), b + float(np.clip(step[1], -1, 1))
            if np.abs(step).max() < 1e-6:
                break
        ability[one], slope[one] = a, b
    return ability, slope, floor


def _shrunk(rest: Floats, place: NDArray[np.int64], count: int, common: float, own: float) -> Floats:
    """Mean of each place and model: what is common to the models, and what is a model's own, each shrunk to zero as if
    so many more rows had shown none."""
    seen = ~np.isnan(rest)
    per_row = seen.sum(axis=1)
    shared = np.where(per_row > 0, np.nansum(rest, axis=1) / np.maximum(per_row, 1), 0.0)
    rows = np.bincount(place, weights=per_row > 0, minlength=count)
    together = np.bincount(place, weights=shared, minlength=count) / (rows + common)
    beside = np.where(seen, rest - together[place][:, None], 0.0)
    made = np.empty((count, rest.shape[1]))
    for one in range(rest.shape[1]):
        number = np.bincount(place, weights=seen[:, one], minlength=count)
        made[:, one] = together + np.bincount(place, weights=beside[:, one], minlength=count) / (number + own)
    return made


def _plain(target: Floats, predicted: Floats) -> float:
    return float(np.nanmean((target - predicted) ** 2))
