"""From training rows to demand models: rolling origins, penalties and weights out of time, the fit on all rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.pricing.cells import CellMean
from models.pricing.encoding import Encoder
from models.pricing.loglog import fit_loglog
from models.pricing.members import MEMBERS, Demand, Member, Noise, trace
from models.pricing.metrics import deviance_rows, given_totals
from models.pricing.options import PricingOptions
from models.pricing.panel import Codes, Floats, Panel
from models.pricing.trees import fit_boosting, fit_forest
from store.errors import TrainingError

FEWEST = 15
LEAST_WEIGHT = 0.05
MANY_PRODUCTS = 5000

PENALTIES = {"loglog": (3.0, 30.0, 100.0), "forest": (0.005, 0.03), "boosting": (1.0, 0.3)}
"""What is tried out of time: the ridge penalty, the smallest share of rows in a leaf, the share of the trees grown."""


@dataclass(frozen=True)
class Origin:
    """One split of the training rows: what is learned from, and what is predicted."""

    learn: NDArray[np.bool_]
    predict: NDArray[np.bool_]


def origins_of(panel: Panel, options: PricingOptions) -> list[Origin]:
    """Rolling origins: each part of the later half is predicted from what was before it. Without time, folds of groups,
    or of rows where there are none.

    Raises
    ------
    TrainingError : too few rows for any.
    """
    found = []
    if panel.day is not None and len(np.unique(panel.day)) >= 2 * (options.origins + 1):
        shares = np.linspace(0.5, 1.0, options.origins + 1)
        moments = np.unique(panel.day)
        cuts = moments[np.minimum(len(moments) - 1, (shares * len(moments)).astype(int))]
        for low, high in pairwise(cuts):
            last = high == cuts[-1]
            inside = (panel.day >= low) & ((panel.day <= high) if last else (panel.day < high))
            found.append(Origin(panel.day < low, inside))
    else:
        fold = _folds(panel, options)
        found = [Origin(fold != k, fold == k) for k in range(int(fold.max()) + 1)]
    usable = [one for one in found if one.learn.sum() >= FEWEST and one.predict.any() and _sells(panel, one.learn)]
    if not usable:
        raise TrainingError(
            f"{len(panel)} rows are too few to learn from some and predict others.",
            remedy=f"Bring at least {4 * FEWEST} rows, and sales in the earlier ones.",
        )
    return usable


def _folds(panel: Panel, options: PricingOptions) -> Codes:
    groups = np.unique(panel.group.astype(str), return_inverse=True)[1]
    rng = np.random.default_rng(options.seed)
    if int(groups.max()) + 1 >= options.folds:
        return np.asarray(rng.permutation(int(groups.max()) + 1)[groups] % options.folds, dtype=np.int64)
    return np.asarray(rng.permutation(len(panel)) % min(options.folds, max(2, len(panel) // FEWEST)), dtype=np.int64)


def _sells(panel: Panel, rows: NDArray[np.bool_]) -> bool:
    return bool(panel.quantity[rows].sum() > 0)


def fit_baseline(panel: Panel, options: PricingOptions) -> tuple[Demand, float]:
    """The mean of each place."""
    predictions = _predictions(panel, options, lambda part: CellMean.fit(Encoder.fit(part), part))
    return _demand(panel, (CellMean.fit(Encoder.fit(panel), panel),), (1.0,), predictions)


def fit_member(name: str, panel: Panel, options: PricingOptions) -> tuple[Demand, float]:
    """One of the single models; returns it with its deviance out of time.

    Raises
    ------
    TrainingError : too few rows, or no such member.
    """
    if name not in MEMBERS:
        raise TrainingError(f"There is no demand model {name!r}.", remedy=f"Choose one of {', '.join(MEMBERS)}.")
    penalties = PENALTIES[name]
    if len(panel.products) > MANY_PRODUCTS:
        penalties = penalties[1:2]  # trying costs more than it brings
    tried = {penalty: _predictions(panel, options, partial(_fit, name, options, penalty)) for penalty in penalties}
    penalty = min(tried, key=lambda one: float(loss_rows(panel, tried[one]).mean()))
    fitted = _fit(name, options, penalty, panel)
    return _demand(panel, (fitted,), (1.0,), tried[penalty])


def fit_recipe(model: Demand, panel: Panel, options: PricingOptions) -> Demand:
    """What the recipe of a model makes of other rows: its members with their penalties, weights and noise learned from
    these rows alone.

    Raises
    ------
    TrainingError : too few rows.
    """
    known: dict[str, Demand] = {}
    for member in model.members:
        if member.name == CellMean.name:
            known[member.name], _ = fit_baseline(panel, options)
            continue
        fit = partial(_fit, member.name, options, member.penalty)
        known[member.name], _ = _demand(panel, (fit(panel),), (1.0,), _predictions(panel, options, fit))
    return fit_ensemble(panel, known)[0] if len(known) > 1 else known[model.members[0].name]


def fit_ensemble(panel: Panel, fitted: Mapping[str, Demand]) -> tuple[Demand, float]:
    """The weighted mean of the members whose weights make the deviance out of time least.

    Raises
    ------
    TrainingError : fewer than two members, or members of other rows.
    """
    if len(fitted) < 2:
        raise TrainingError(
            f"An ensemble needs two members, {len(fitted)} could be fitted.", remedy="Fit its members first."
        )
    traces = [one.out_of_time for one in fitted.values()]
    first = traces[0]
    for name, one in zip(fitted, traces, strict=True):
        if not np.array_equal(one[["row", "origin"]].to_numpy(), first[["row", "origin"]].to_numpy()):
            raise TrainingError(
                f"{name} was fitted on other rows than {next(iter(fitted))}.",
                remedy="Fit all candidates again in one run.",
            )
    means = np.column_stack([one["mean"].to_numpy() for one in traces])
    y = first["quantity"].to_numpy()
    moment = moments_of(panel, first["row"])
    weights = best_weights(means, y, moment)
    # What the weights would have said of an origin, learned from the others: they are not judged on what they know.
    crossed = np.empty(len(y))
    origin = first["origin"].to_numpy()
    for k in np.unique(origin):
        inside = origin == k
        others = None if moment is None else moment[~inside]
        learned = best_weights(means[~inside], y[~inside], others) if (~inside).any() else weights
        crossed[inside] = means[inside] @ learned
    predictions = trace(first["row"], origin, y, crossed)
    members = tuple(one.members[0] for one in fitted.values())
    return _demand(panel, members, tuple(weights.tolist()), predictions)


def rolled(
    model: Demand, panel: Panel, first: float, options: PricingOptions
) -> tuple[pd.DataFrame, Floats, tuple[Floats, ...]]:
    """Play a recipe forward: the rows from `first` on in blocks, each foreseen by members fitted to all rows before it.

    The weights of a block are those of the model and those that the blocks before would have wanted, the latter
    counting once for each of these blocks: as if the recipe had been trained again at each.

    Parameters
    ----------
    first : day of the first row that is foreseen.

    Returns
    -------
    Predictions (see `trace`), the weights after the last block, and the members' own means of the same rows.
    """
    assert panel.day is not None
    moments = np.unique(panel.day[panel.day >= first])
    cuts = [float(part[0]) for part in np.array_split(moments, min(options.blocks, len(moments)))] + [np.inf]
    start = np.asarray(model.weights, dtype=np.float64)
    weights = start
    parts: list[pd.DataFrame] = []
    seen: list[Floats] = []
    for at, (low, high) in enumerate(pairwise(cuts)):
        rows = np.flatnonzero((panel.day >= low) & (panel.day < high))
        fitted = fitted_members(model, panel.take(panel.day < low), options)
        asked = panel.take(rows)
        means = np.column_stack([one.mean(asked) for one in fitted])
        parts.append(trace(rows, np.full(len(rows), at), panel.quantity[rows], means @ weights))
        seen.append(means)
        if len(start) > 1:
            known = pd.concat(parts, ignore_index=True)
            wanted = best_weights(np.concatenate(seen), known["quantity"].to_numpy(), moments_of(panel, known["row"]))
            weights = (start + (at + 1) * wanted) / (at + 2)
    return pd.concat(parts, ignore_index=True), weights, tuple(np.concatenate(seen).T)


def fitted_members(model: Demand, panel: Panel, options: PricingOptions) -> tuple[Member, ...]:
    """The members of a recipe, with their penalty, on other rows."""
    return tuple(
        CellMean.fit(Encoder.fit(panel), panel)
        if member.name == CellMean.name
        else _fit(member.name, options, member.penalty, panel)
        for member in model.members
    )


def refit(model: Demand, panel: Panel, options: PricingOptions, first: float | None) -> Demand:
    """The recipe on all rows: weights and noise as they come out of playing it forward from `first`.

    Without time the weights and the noise stay as they are.
    """
    members = fitted_members(model, panel, options)
    weights, noise = np.asarray(model.weights), model.noise
    if panel.day is not None and first is not None and (panel.day >= first).any() and (panel.day < first).any():
        predictions, weights, _ = rolled(model, panel, first, options)
        noise = _noise(panel, predictions)
        weights = without_small(weights)
    return Demand(members[0].encoder, members, tuple(np.round(weights, 6).tolist()), noise)


def moments_of(panel: Panel, rows: object = None) -> Codes | None:
    """Codes of the periods where sales at several places can be compared; None where there is one place or no time."""
    if panel.day is None or len(np.unique(panel.place)) < 2:
        return None
    day = panel.day if rows is None else panel.day[np.asarray(rows, dtype=np.int64)]
    codes = np.unique(day, return_inverse=True)[1].astype(np.int64)
    # Most rows must have company, or there is nothing to compare.
    return codes if len(codes) >= 2 * (int(codes.max()) + 1) else None


def best_weights(means: Floats, y: Floats, moment: Codes | None) -> Floats:
    """Weights of at least 0 that sum to 1 and make the deviance of the weighted mean least, given the totals of each
    moment where there are moments."""
    from scipy.optimize import minimize

    count = means.shape[1]
    scale = max(float(y.mean()), 1e-12)
    means, y = means / scale, y / scale

    codes = np.zeros(len(y), dtype=np.int64) if moment is None else moment
    sold = np.bincount(codes, y)
    sums = np.column_stack([np.bincount(codes, column) for column in means.T])

    def loss(w: Floats) -> tuple[float, Floats]:
        mixed = np.maximum(means @ w, 1e-12)
        value, slope = -(y @ np.log(mixed)), -(means.T @ (y / mixed))
        if moment is None:
            return float((mixed.sum() + value) / len(y)), (sums.sum(axis=0) + slope) / len(y)
        totals = np.maximum(sums @ w, 1e-12)
        return float((sold @ np.log(totals) + value) / len(y)), (sums.T @ (sold / totals) + slope) / len(y)

    start = np.full(count, 1 / count)
    found = minimize(
        loss,
        start,
        jac=True,
        method="SLSQP",
        bounds=[(0.0, 1.0)] * count,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1, "jac": lambda _: np.ones(count)},
        options={"maxiter": 200, "ftol": 1e-10},
    ).x
    return without_small(found)


def without_small(weights: Floats) -> Floats:
    """Weights with those below `LEAST_WEIGHT` given to the others: a member that hardly counts still has to be kept,
    loaded and asked."""
    kept = np.where(weights < LEAST_WEIGHT * weights.sum(), 0.0, weights)
    return np.asarray(np.round(kept / kept.sum(), 6), dtype=np.float64)


def noise_of(y: Floats, mean: Floats, stretch: Codes) -> Noise:
    """Dispersion within stretches and spread between them, by moments.

    With A sold and P expected in a stretch, E[(A − P)²] = φ P + σ² P²; φ comes from the rows, once each stretch is on
    its own level.
    """
    counts = bool(np.all(y == np.round(y)))
    if len(y) < 2:
        return Noise(counts=counts)
    size = int(stretch.max()) + 1
    sold, expected = np.bincount(stretch, y, size), np.bincount(stretch, mean, size)
    there = expected > 0
    # A stretch of little is put on its own level only as far as its numbers carry.
    level = (sold + 1.0 * counts) / np.maximum(expected + 1.0 * counts, 1e-300)
    own = mean * level[stretch]
    dispersion = float(np.sum((y - own) ** 2 / np.maximum(own, 1e-300)) / max(1, len(y) - 0.5 * there.sum()))
    excess = np.sum((sold - expected)[there] ** 2 - dispersion * expected[there])
    spread = float(np.sqrt(max(0.0, excess / np.sum(expected[there] ** 2))))
    return Noise(max(dispersion, 1e-12), min(spread, 1.0), counts)


def _fit(name: str, options: PricingOptions, penalty: float, panel: Panel) -> Member:
    encoder = Encoder.fit(panel)
    if name == "loglog":
        return fit_loglog(encoder, panel, penalty)
    if name == "forest":
        return fit_forest(encoder, panel, options.trees, penalty, options.seed, options.threads)
    return fit_boosting(encoder, panel, options.trees, penalty, options.seed, options.threads)


def _predictions(panel: Panel, options: PricingOptions, make: Callable[[Panel], Member]) -> pd.DataFrame:
    """Predictions of each origin by what is learned before it."""
    parts = []
    for at, origin in enumerate(origins_of(panel, options)):
        rows = np.flatnonzero(origin.predict)
        mean = make(panel.take(origin.learn)).mean(panel.take(rows))
        parts.append(trace(rows, np.full(len(rows), at), panel.quantity[rows], mean))
    return pd.concat(parts, ignore_index=True)


def loss_rows(panel: Panel, predictions: pd.DataFrame) -> Floats:
    """Deviance of each prediction, given the totals of its moment where there are any."""
    y, mean = predictions["quantity"].to_numpy(), predictions["mean"].to_numpy()
    return deviance_rows(y, given_totals(y, mean, moments_of(panel, predictions["row"])))


def _noise(panel: Panel, predictions: pd.DataFrame) -> Noise:
    place = panel.place[predictions["row"].to_numpy()]
    origin = predictions["origin"].to_numpy()
    stretch = np.unique(place * (int(origin.max()) + 1) + origin, return_inverse=True)[1].astype(np.int64)
    return noise_of(predictions["quantity"].to_numpy(), predictions["mean"].to_numpy(), stretch)


def _demand(
    panel: Panel, members: Sequence[Member], weights: Sequence[float], predictions: pd.DataFrame
) -> tuple[Demand, float]:
    noise, loss = _noise(panel, predictions), float(loss_rows(panel, predictions).mean())
    return Demand(members[0].encoder, tuple(members), tuple(weights), noise, predictions), loss
