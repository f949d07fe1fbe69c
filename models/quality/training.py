"""Fits of the candidates: out of fold for their choice and calibration, then on all training rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.lifecycle.threads import one_blas_thread
from models.quality.design import COLUMNS, COMPLEXITIES, DOMAINS, WIDTH, design
from models.quality.metrics import ece, log_loss_rows
from models.quality.model import QualityModel
from models.quality.options import QualityOptions
from models.quality.parts import Part, fit_line, fit_table, fit_trees
from models.quality.splitting import folds_of
from store.errors import TrainingError

Floats = NDArray[np.float64]
Fit = Callable[[Floats, Floats], tuple[Part, ...]]

# The first is what a scorer has to beat; the others are told beside it.
BASELINES = ("heuristic", "prevalence", "length", "task_mean")
CONTENDERS = ("line", "trees", "blend")
PENALTIES = (1.0, 10.0, 100.0)
# The length of an answer in its ways of being long; words that are repeated or filler aside.
_LENGTH = ("content", "content_asked", "sentences", "items")
# A calibration that helps by less than so many standard errors is left out.
_STANDARD_ERRORS = 1.0


@dataclass(frozen=True)
class TrainingRows:
    """Rows to learn from.

    Attributes
    ----------
    rows : of the design; `y` : judgements, 0 to 1; `fold` : of each row, whole persons together.
    """

    rows: Floats
    y: Floats
    fold: NDArray[np.intp]


def read_rows(train: pd.DataFrame, roles: Mapping[str, str], options: QualityOptions) -> TrainingRows:
    """The rows of a frame.

    Raises
    ------
    MissingColumn, WrongType : it holds no judged answers.
    """
    y = train[roles["target"]].to_numpy(dtype=np.float64)
    persons = train[roles["entity"]].astype(str).to_numpy()
    return TrainingRows(design(train, roles), y, folds_of(persons, options.folds, options.seed))


def fit(name: str, given: TrainingRows, options: QualityOptions) -> QualityModel:
    """Fit a candidate.

    Raises
    ------
    TrainingError : an unknown candidate.
    """
    # Sums in the same order on every machine, and matrices are too small for several threads to pay.
    with one_blas_thread():
        return _fitted(name, given, options)


def _fitted(name: str, given: TrainingRows, options: QualityOptions) -> QualityModel:
    settings: dict[str, float] = {}
    recipe = _recipe(name, given, options, settings)
    crossed = out_of_fold(recipe, given)
    calibration, calibrated = _calibrated(crossed, given)
    whole = QualityModel(
        name, float(log_loss_rows(given.y, calibrated).mean()), recipe(given.rows, given.y), calibration
    )
    facts = {
        "rows": len(given.y),
        "mean_judgement": float(given.y.mean()),
        "settings": settings,
        "out_of_fold": {"log_loss": whole.selection, "ece": ece(given.y, calibrated)},
    }
    return QualityModel(name, whole.selection, whole.parts, calibration, facts)


def out_of_fold(recipe: Fit, given: TrainingRows) -> Floats:
    """Log-odds of each row by parts that were fitted without its fold."""
    made = np.empty(len(given.y))
    for one in np.unique(given.fold):
        held = given.fold == one
        parts = recipe(given.rows[~held], given.y[~held])
        made[held] = QualityModel("", 0.0, parts).log_odds(given.rows[held])
    return made


def _recipe(name: str, given: TrainingRows, options: QualityOptions, settings: dict[str, float]) -> Fit:
    if name == "heuristic":
        return _line([COLUMNS.index("words")], 1.0)
    if name == "prevalence":
        return _line([], 1.0)
    if name == "length":
        return _line([COLUMNS.index(one) for one in _LENGTH], 1.0)
    if name == "task_mean":
        first = [COLUMNS.index(f"domain {one}") for one in DOMAINS]
        second = [COLUMNS.index(f"complexity {one}") for one in COMPLEXITIES]
        return lambda rows, y: (fit_table(rows, y, first, second),)
    if name == "trees":
        return _trees(options)
    if name not in ("line", "blend"):
        raise TrainingError(f"There is no quality candidate {name!r}.", remedy="See `candidates()`.")
    line = _line(range(WIDTH), _penalty(given, settings))
    if name == "line":
        return line
    trees = _trees(options)
    return lambda rows, y: (*line(rows, y), *trees(rows, y))


def _line(columns: list[int] | range, penalty: float) -> Fit:
    return lambda rows, y: (fit_line(rows, y, columns, penalty),)


def _trees(options: QualityOptions) -> Fit:
    return lambda rows, y: (fit_trees(rows, y, trees=options.trees, threads=options.threads, seed=options.seed),)


def _penalty(given: TrainingRows, settings: dict[str, float]) -> float:
    """The strongest penalty that loses nothing out of fold beyond a tenth of a standard error."""
    losses = {}
    for penalty in PENALTIES:
        crossed = out_of_fold(_line(range(WIDTH), penalty), given)
        losses[penalty] = log_loss_rows(given.y, 1.0 / (1.0 + np.exp(-crossed)))
    best = min(PENALTIES, key=lambda one: float(losses[one].mean()))
    room = 0.1 * float(losses[best].std()) / np.sqrt(len(given.y))
    chosen = max(one for one in PENALTIES if losses[one].mean() <= losses[best].mean() + room)
    settings["penalty"] = chosen
    return chosen


def _calibrated(log_odds: Floats, given: TrainingRows) -> tuple[tuple[float, float], Floats]:
    """Platt's map (1999) where it helps out of fold beyond chance, and the probabilities out of fold."""
    plain = 1.0 / (1.0 + np.exp(-log_odds))
    crossed = np.empty(len(log_odds))
    for one in np.unique(given.fold):
        held = given.fold == one
        a, b = _platt(log_odds[~held], given.y[~held])
        crossed[held] = 1.0 / (1.0 + np.exp(-(a * log_odds[held] + b)))
    gain = log_loss_rows(given.y, plain) - log_loss_rows(given.y, crossed)
    if float(gain.mean()) <= _STANDARD_ERRORS * float(gain.std()) / np.sqrt(len(gain)):
        return (1.0, 0.0), plain
    return _platt(log_odds, given.y), crossed


def _platt(log_odds: Floats, y: Floats) -> tuple[float, float]:
    from scipy.optimize import minimize

    def loss(beta: Floats) -> tuple[float, Floats]:
        z = beta[0] * log_odds + beta[1]
        gap = 1.0 / (1.0 + np.exp(-z)) - y
        return float(np.mean(np.logaddexp(0.0, z) - y * z)), np.array([np.mean(gap * log_odds), np.mean(gap)])

    # A negative slope would turn the ranking round.
    found = minimize(loss, np.array([1.0, 0.0]), jac=True, bounds=[(0.01, 10.0), (None, None)], method="L-BFGS-B").x
    return float(found[0]), float(found[1])
