"""Rows to learn from and rows to be judged on: by time, by customer, or by row."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.parsing import as_times
from features.tabular import MIN_POSITIVES
from models.churn.options import ChurnOptions
from models.churn.sides import draw_by, draw_by_content, holdout_of
from models.lifecycle.family import Split
from store.errors import InvalidValue

FEWEST_CUSTOMERS = 20


def split(frame: pd.DataFrame, roles: Mapping[str, str], y: NDArray[np.int64], options: ChurnOptions) -> Split:
    """Divide the frame. By time where a time column has at least two moments; else by a hash of the customer; else,
    where customers have no name, by a hash of the row's values: then no row changes its side when the file grows.

    Raises
    ------
    InvalidValue : unreadable times, too few customers, or too little is left on one side.
    """
    _check_customers(frame, roles.get("entity"))
    time = roles.get("time")
    note = ""
    if time:
        moments = _moments(frame[time], time)
        if moments.nunique() > 1:
            return _by_time(frame, moments, time, y, options)
        note = f"; {time} has a single moment, {moments.iloc[0]:%Y-%m-%d}, so the split is not by time"
    entity, target = roles.get("entity"), roles["target"]
    if entity:
        drawn, by = draw_by(frame, [entity], options.seed), entity
    else:
        drawn, by = draw_by_content(frame, target, y, options.seed), f"each row's values without {target}"
    holdout, moved = holdout_of(drawn, y, options.holdout_share, MIN_POSITIVES)
    share = f"{holdout.mean():.0%} of the rows"
    if entity and frame[entity].duplicated().any():
        what = f"all rows of {frame.loc[holdout, entity].nunique()} {entity}, {share}, are the holdout"
    else:
        what = f"{share} are the holdout"
    rule = f"{what}, drawn by a hash of {by} (seed {options.seed}): a row keeps its side when the file grows"
    if moved:
        rule += f"; {moved} rows were moved so that both outcomes are on both sides"
    return _checked(frame, ~holdout, holdout, y, rule + note)


def _check_customers(frame: pd.DataFrame, entity: str | None) -> None:
    """Rows of one customer stay together: a handful of them cannot be learned from in folds and judged on others."""
    count = frame[entity].nunique() if entity else len(frame)
    if entity and count < min(FEWEST_CUSTOMERS, len(frame)):
        raise InvalidValue(
            f"{len(frame)} rows belong to only {count} different {entity}; at least {FEWEST_CUSTOMERS} are needed to "
            "learn from some and be judged on others.",
            remedy="Name the column that tells customers apart (--entity), or leave it out where each row is a "
            "customer of its own.",
            field=entity,
            value=int(count),
        )


def _by_time(frame: pd.DataFrame, moments: pd.Series, time: str, y: NDArray[np.int64], options: ChurnOptions) -> Split:
    # The latest moments that together hold the share; the first of them is the cut.
    counts = moments.value_counts().sort_index(ascending=False).cumsum()
    reached = counts[counts >= options.holdout_share * len(frame)]
    cut = reached.index[0]
    if cut == moments.min():
        cut = np.sort(moments.unique())[1]
    cut = pd.Timestamp(cut)
    holdout = (moments >= cut).to_numpy()
    horizon = pd.Timedelta(days=options.horizon_days)
    train = (moments + horizon <= cut).to_numpy() & ~holdout
    lost = int((~train & ~holdout).sum())
    rule = f"rows with {time} from {cut:%Y-%m-%d} on are the holdout, {holdout.mean():.0%} of the rows"
    if lost:
        rule += (
            f"; {lost} rows less than {options.horizon_days} days earlier are left out, since their outcome was not "
            "known by then"
        )
    return _checked(frame, train, holdout, y, rule)


def _checked(
    frame: pd.DataFrame,
    train: NDArray[np.bool_],
    holdout: NDArray[np.bool_],
    y: NDArray[np.int64],
    rule: str,
) -> Split:
    for name, rows in (("training rows", train), ("holdout", holdout)):
        rarer = int(min(y[rows].sum(), rows.sum() - y[rows].sum())) if rows.any() else 0
        if rarer < (5 if name == "training rows" else 1):
            raise InvalidValue(
                f"The {name} hold {int(rows.sum())} rows with {rarer} of the rarer outcome ({rule}).",
                remedy="Bring more rows or a longer period, or shorten the horizon (--horizon-days).",
            )
    return Split(frame[train], frame[holdout], rule)


def _moments(series: pd.Series, name: str) -> pd.Series:
    moments = as_times(series)
    unread = moments.isna()
    if unread.any():
        where = int(np.flatnonzero(unread.to_numpy())[0])
        raise InvalidValue(
            f"{name} is no date in {int(unread.sum())} of {len(series)} rows, first {series.iloc[where]!r} in row "
            f"{where + 1}.",
            remedy="Write dates as 2026-03-01, or leave --time out.",
            field=name,
            value=str(series.iloc[where]),
        )
    return moments
