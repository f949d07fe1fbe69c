"""Predictions for training rows by models that have not seen them: what calibration, blend and selection learn from.

Encoders are fitted inside each fold, so that nothing of a held-out row reaches the model that predicts it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.tabular import Column
from models.churn.boosters import MOST_TREES, SETTINGS, Trained, settings_for, train_booster
from models.churn.encoding import Encoder, Matrix
from models.churn.linear import STRENGTHS, LinearBasis, ridge_path
from models.churn.metrics import log_loss_rows, sigmoid
from models.lifecycle.threads import side_by_side

MANY_ROWS = 15_000
MANY_CELLS = 2_000_000
FOLDS_OF_MANY_ROWS = 3


@dataclass(frozen=True)
class Fold:
    """Encoded rows of one fold."""

    encoder: Encoder
    learn: tuple[Matrix, NDArray[np.int64]]
    held: tuple[Matrix, NDArray[np.int64]]
    rows: NDArray[np.intp]


@dataclass(frozen=True)
class OutOfFold:
    """What cross-validation found.

    Attributes
    ----------
    log_odds : one per training row, predicted by a model that has not seen the row.
    settings : the chosen settings, JSON-ready.
    trees : trees that the folds agree on; 0 for models without.
    """

    log_odds: NDArray[np.float64]
    settings: Mapping[str, Any]
    trees: int = 0


def assign_folds(y: NDArray[np.int64], groups: NDArray[Any] | None, folds: int, seed: int) -> NDArray[np.int64]:
    """Fold of every row, stratified; rows of one group share a fold.

    Groups are dealt out in order of their positives, in random order among equals.

    Returns
    -------
    int64, shape (rows,), values 0 … folds − 1.
    """
    rng = np.random.default_rng(seed)
    codes = np.arange(len(y)) if groups is None else pd.factorize(groups)[0]
    count = int(codes.max()) + 1 if len(codes) else 0
    positives = np.bincount(codes, weights=y, minlength=count)
    size = np.bincount(codes, minlength=count)
    order = np.lexsort((rng.random(count), size, positives))
    fold_of_group = np.empty(count, dtype=np.int64)
    # The start is shuffled within each round, so that no fold always gets the largest of a round.
    rounds = -(-count // folds)
    deal = np.concatenate([rng.permutation(folds) for _ in range(rounds)]) if rounds else np.empty(0, dtype=np.int64)
    fold_of_group[order] = deal[:count]
    return fold_of_group[codes]


def encode_folds(
    frame: pd.DataFrame, columns: Sequence[Column], y: NDArray[np.int64], fold: NDArray[np.int64], threads: int
) -> list[Fold]:
    """Fit an encoder per fold and encode both sides."""

    def one(k: int) -> Fold:
        inside = fold != k
        learn = frame[inside]
        held = frame[~inside]
        encoder = Encoder.fit(learn, columns)
        return Fold(
            encoder,
            (encoder.matrix(learn), y[inside]),
            (encoder.matrix(held), y[~inside]),
            np.flatnonzero(~inside),
        )

    return side_by_side(one, range(int(fold.max()) + 1), threads)


def boosted(name: str, folds: Sequence[Fold], rows: int, seed: int, threads: int) -> OutOfFold:
    """Out-of-fold predictions of a booster.

    Each of its settings runs on the first two folds (of a large table on the first); the better one runs on the rest.
    The number of trees is one for all folds: the mean of their best.
    """
    width = max(len(fold.encoder.names) for fold in folds)
    settings = [settings_for(name, which, width) for which in range(len(SETTINGS[name]))]

    def one(job: tuple[int, int]) -> Trained:
        which, k = job
        fold = folds[k]
        trained = train_booster(name, fold.encoder, fold.learn, MOST_TREES, settings[which], seed, fold.held)
        assert isinstance(trained, Trained)
        return trained

    trial = 1 if rows * width > MANY_CELLS else 2
    jobs = [(which, k) for k in range(trial) for which in range(len(settings))]
    tried = dict(zip(jobs, side_by_side(one, jobs, threads), strict=True))
    score = [float(np.mean([tried[which, k].curve.min() for k in range(trial)])) for which in range(len(settings))]
    best = int(np.argmin(score))
    rest = [(best, k) for k in range(trial, len(folds))]
    trained = [tried[best, k] for k in range(trial)] + side_by_side(one, rest, threads)
    trees = max(1, round(float(np.mean([np.argmin(one.curve) + 1 for one in trained]))))
    log_odds = np.empty(rows)
    for fold, result in zip(folds, trained, strict=True):
        log_odds[fold.rows] = result.held_out(trees)
    return OutOfFold(log_odds, dict(settings[best]), trees)


def linear(folds: Sequence[Fold], rows: int, threads: int) -> OutOfFold:
    """Out-of-fold predictions of the logistic regression, its penalty chosen by their log loss."""

    def one(fold: Fold) -> list[NDArray[np.float64]]:
        basis = LinearBasis.fit(fold.learn[0], fold.encoder)
        held = basis.design(fold.held[0])
        return ridge_path(basis.design(fold.learn[0]), fold.learn[1], held, fold.held[1], STRENGTHS)

    paths = side_by_side(one, folds, threads)
    table = np.empty((len(STRENGTHS), rows))
    y = np.empty(rows, dtype=np.int64)
    for fold, path in zip(folds, paths, strict=True):
        table[:, fold.rows] = np.stack(path)
        y[fold.rows] = fold.held[1]
    losses = [float(log_loss_rows(y, sigmoid(row)).mean()) for row in table]
    best = int(np.argmin(losses))
    return OutOfFold(table[best], {"C": STRENGTHS[best]})
