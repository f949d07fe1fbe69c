"""From training rows to a fitted model: columns, folds, out-of-fold predictions, calibration, final fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.tabular import TableProfile, check_roles, profile, read_target, values_of
from models.churn.blend import cross_fit, fit_weights, mix
from models.churn.boosters import MOST_TREES, train_booster
from models.churn.calibration import Calibration, choose_calibration
from models.churn.encoding import Encoder
from models.churn.members import BOOSTERS, Member, Prevalence, fit_logistic, member
from models.churn.metrics import Offer, ece, log_loss_rows
from models.churn.model import ChurnModel, Trace
from models.churn.options import ChurnOptions
from models.churn.out_of_fold import (
    FOLDS_OF_MANY_ROWS,
    MANY_ROWS,
    OutOfFold,
    assign_folds,
    boosted,
    encode_folds,
    linear,
)
from models.lifecycle.threads import one_blas_thread
from store.errors import InvalidValue, TrainingError

EXAMPLES = 5


@dataclass(frozen=True)
class TrainingRows:
    """Training rows, read.

    Attributes
    ----------
    fold : of every row; the same for every candidate, so that a blend can use what its members left.
    """

    frame: pd.DataFrame
    y: NDArray[np.int64]
    roles: Mapping[str, str]
    positive: str
    profile: TableProfile
    fold: NDArray[np.int64]


def read_rows(train: pd.DataFrame, roles: Mapping[str, str], options: ChurnOptions) -> TrainingRows:
    """Outcome, columns and folds of the training rows.

    Raises
    ------
    DataError : roles that do not fit, an outcome that cannot be learned, or no column left to learn from.
    """
    check_roles(train, roles)
    target = read_target(
        train[roles["target"]], options.positive, rows="training rows", written=options.positive_written
    )
    found = profile(train, roles, target.y, keep_suspects=options.keep_suspects)
    if not found.columns:
        why = "; ".join(f"{one.name}: {one.reason}" for one in found.dropped[:10])
        raise InvalidValue(
            f"No column is left to learn from ({why or 'the table has none besides its roles'}).",
            remedy="Bring columns that were known before the outcome, or allow suspected leaks if they are none.",
        )
    entity = roles.get("entity")
    groups = train[entity].to_numpy() if entity and train[entity].duplicated().any() else None
    rarer = int(min(target.y.sum(), len(target.y) - target.y.sum()))
    folds = min(options.folds, FOLDS_OF_MANY_ROWS) if len(train) > MANY_ROWS else options.folds
    fold = assign_folds(target.y, groups, max(2, min(folds, rarer // 2)), options.seed)
    return TrainingRows(train, target.y, dict(roles), target.positive, found, fold)


def fit_prevalence(rows: TrainingRows, options: ChurnOptions) -> ChurnModel:
    """The share of positives for everybody."""
    base = float(rows.y.mean())
    value = float(np.log(base / (1.0 - base)))
    log_odds = np.empty(len(rows.y))
    for k in np.unique(rows.fold):
        inside = float(rows.y[rows.fold != k].mean())
        log_odds[rows.fold == k] = np.log(inside / (1.0 - inside))
    loss = float(log_loss_rows(rows.y, 1.0 / (1.0 + np.exp(-log_odds))).mean())
    encoder = Encoder.fit(rows.frame, rows.profile.columns)
    return _assembled(
        "prevalence", rows, options, encoder, (Prevalence(value),), (1.0,), log_odds, Calibration(), loss, {}
    )


def fit_member(name: str, rows: TrainingRows, options: ChurnOptions) -> ChurnModel:
    """One of the single models."""
    encoder = Encoder.fit(rows.frame, rows.profile.columns)
    folds = encode_folds(rows.frame, rows.profile.columns, rows.y, rows.fold, options.threads)
    matrix = encoder.matrix(rows.frame)
    fitted: Member
    found: OutOfFold
    if name in BOOSTERS:
        found = boosted(name, folds, len(rows.y), options.seed, options.threads)
        # More rows than in a fold carry a little more detail.
        grown = round(found.trees * (1.0 + 0.5 / len(folds)))
        trees = min(MOST_TREES, max(1, grown))
        native = train_booster(name, encoder, (matrix, rows.y), trees, found.settings, options.seed)
        fitted = member(name, encoder, native)
        settings = {**found.settings, "trees": trees}
    else:
        found = linear(folds, len(rows.y), options.threads)
        with one_blas_thread():
            fitted = fit_logistic(encoder, matrix, rows.y, found.settings["C"])
        settings = dict(found.settings)
    calibration, crossed = choose_calibration(found.log_odds, rows.y, rows.fold)
    loss = float(log_loss_rows(rows.y, crossed).mean())
    facts = {"settings": settings, "out_of_fold": {"log_loss": loss, "ece": ece(rows.y, crossed)}}
    return _assembled(name, rows, options, encoder, (fitted,), (1.0,), found.log_odds, calibration, loss, facts)


def fit_blend(rows: TrainingRows, options: ChurnOptions, fitted: Mapping[str, ChurnModel]) -> ChurnModel:
    """A weighted mean of the members' log-odds, from what they left out of fold.

    Raises
    ------
    TrainingError : the members were fitted on other rows or other folds.
    """
    models = list(fitted.values())
    for model in models:
        same = len(model.trace.y) == len(rows.y) and np.array_equal(model.trace.fold, rows.fold)
        if not same or not np.array_equal(model.trace.y, rows.y):
            raise TrainingError(
                f"{model.candidate} was fitted on other rows than the blend.",
                remedy="Fit all candidates again in one run.",
            )
    table = np.column_stack([model.trace.log_odds for model in models])
    weights = fit_weights(table, rows.y)
    crossed_log_odds = cross_fit(table, rows.y, rows.fold)
    calibration, _ = choose_calibration(mix(table, weights), rows.y, rows.fold)
    _, crossed = choose_calibration(crossed_log_odds, rows.y, rows.fold)
    loss = float(log_loss_rows(rows.y, crossed).mean())
    kept = [i for i, weight in enumerate(weights) if weight > 0]
    facts = {
        "settings": {models[i].candidate: models[i].facts.get("settings", {}) for i in kept},
        "out_of_fold": {
            "log_loss": loss,
            "ece": ece(rows.y, crossed),
            "members": {model.candidate: model.selection for model in models},
        },
    }
    return _assembled(
        "blend",
        rows,
        options,
        models[0].encoder,
        tuple(models[i].members[0] for i in kept),
        tuple(float(weights[i]) for i in kept),
        mix(table, weights),
        calibration,
        loss,
        facts,
    )


def _assembled(
    name: str,
    rows: TrainingRows,
    options: ChurnOptions,
    encoder: Encoder,
    members: tuple[Member, ...],
    weights: tuple[float, ...],
    log_odds: NDArray[np.float64],
    calibration: Calibration,
    loss: float,
    facts: Mapping[str, Any],
) -> ChurnModel:
    stated = {
        "rows": len(rows.y),
        "positives": int(rows.y.sum()),
        "entity": rows.roles.get("entity"),
        "target": rows.roles["target"],
        "positive": rows.positive,
        "seed": options.seed,
        "folds": int(rows.fold.max()) + 1,
        "horizon_days": options.horizon_days,
        "dropped": [one.to_dict() for one in rows.profile.dropped],
        "suspected_leaks": [one.to_dict() for one in rows.profile.leaks],
        "strong_columns": [one.to_dict() for one in rows.profile.strong],
        "seen": _seen(rows, encoder),
        **facts,
    }
    return ChurnModel(
        candidate=name,
        selection=loss,
        encoder=encoder,
        members=members,
        weights=weights,
        calibration=calibration,
        offer=Offer(options.offer_cost, options.offer_value, options.offer_success),
        base_rate=float(rows.y.mean()),
        trace=Trace(rows.y, rows.fold, log_odds),
        facts=stated,
        example=_examples(rows, encoder),
    )


def _seen(rows: TrainingRows, encoder: Encoder) -> dict[str, dict[str, Any]]:
    """What training rows held: ranges of numbers, shares of missing values."""
    seen: dict[str, dict[str, Any]] = {}
    for column in encoder.columns:
        values = values_of(rows.frame[column.name], column)
        entry: dict[str, Any] = {"kind": column.kind, "missing": round(float(values.isna().mean()), 6)}
        if column.kind == "number" and values.notna().any():
            entry |= {"min": float(values.min()), "median": float(values.median()), "max": float(values.max())}
        elif column.kind == "flag" and values.notna().any():
            entry["share"] = round(float(values.mean()), 6)
        elif column.kind == "category":
            entry["levels"] = list(encoder.categories[column.name].levels)
        seen[column.name] = entry
    return seen


def _examples(rows: TrainingRows, encoder: Encoder) -> tuple[Mapping[str, Any], ...]:
    few = rows.frame.iloc[np.linspace(0, len(rows.frame) - 1, EXAMPLES).astype(int)]
    values = {column.name: values_of(few[column.name], column).tolist() for column in encoder.columns}
    return tuple(
        {name: None if value[i] is None or value[i] != value[i] else value[i] for name, value in values.items()}
        for i in range(len(few))
    )
