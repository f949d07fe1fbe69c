"""Judgements to learn from and judgements to be judged on: the latest ones, and all of some persons."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.parsing import as_times
from models.lifecycle.family import Split
from models.quality.options import QualityOptions
from store.errors import InvalidValue

FEWEST = 30
# With fewer persons none is held out whole.
FEWEST_PERSONS = 10

Rows = NDArray[np.bool_]


def split(frame: pd.DataFrame, roles: Mapping[str, str], options: QualityOptions) -> Split:
    """Divide the rows.

    Raises
    ------
    InvalidValue : unreadable times, or one side is left with too little.
    """
    moments = as_times(frame[roles["time"]])
    if moments.isna().any():
        raise InvalidValue(
            f"{roles['time']} is no moment in {int(moments.isna().sum())} of {len(frame)} rows.",
            remedy="Build the data set again from the ledger.",
            field=roles["time"],
        )
    ordered = np.sort(moments.to_numpy())
    cut = ordered[min(len(ordered) - 1, int((1.0 - options.holdout_share) * len(ordered)))]
    later = (moments >= cut).to_numpy()
    whole = unseen(frame, roles, options)
    holdout = later | whole
    rule = f"judgements of answers from {pd.Timestamp(cut):%Y-%m-%d %H:%M} on"
    if whole.any():
        count = frame.loc[whole, roles["entity"]].nunique()
        rule += f", and all of {count} persons drawn by a hash (seed {options.seed}),"
    rule += f" are the holdout, {holdout.mean():.0%} of the rows"
    for name, rows in (("training rows", ~holdout), ("holdout", holdout)):
        good = int((frame.loc[rows, roles["target"]] >= 0.5).sum())
        if rows.sum() < FEWEST or not 5 <= good <= rows.sum() - 5:
            raise InvalidValue(
                f"The {name} hold {int(rows.sum())} judged answers, {good} of them good ({rule}).",
                remedy="Collect more feedback, of good and of bad answers.",
                field=roles["target"],
            )
    return Split(frame[~holdout], frame[holdout], rule)


def unseen(frame: pd.DataFrame, roles: Mapping[str, str], options: QualityOptions) -> Rows:
    """Rows of the persons of whom nothing is learned from."""
    persons = frame[roles["entity"]].astype(str)
    if options.unseen_share <= 0.0 or persons.nunique() < FEWEST_PERSONS:
        return np.zeros(len(frame), dtype=bool)
    drawn = {one: _drawn(one, options.seed) < options.unseen_share for one in persons.unique()}
    return persons.map(drawn).to_numpy(dtype=bool)


def folds_of(persons: NDArray[Any], folds: int, seed: int) -> NDArray[np.intp]:
    """A fold for each row, whole persons together, folds about as large as each other."""
    names, codes = np.unique(persons, return_inverse=True)
    size = np.bincount(codes)
    rng = np.random.default_rng(seed)
    fold = np.zeros(len(names), dtype=np.intp)
    filled = np.zeros(min(folds, len(names)))
    for one in np.lexsort((rng.random(len(names)), -size)):
        fold[one] = int(np.argmin(filled))
        filled[fold[one]] += size[one]
    return fold[codes]


def _drawn(name: str, seed: int) -> float:
    digest = blake2b(f"{seed}\x1f{name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") / 2.0**64
