"""Sums over days that are drawn anew, by kind of call: arrays, so that hundreds of draws take a moment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from models.spend.recommending.advice import drawn_days

Floats = np.ndarray[Any, np.dtype[np.float64]]


def weighted_sums(
    cells: pd.DataFrame,
    by: Sequence[str],
    kinds: Sequence[tuple[Any, ...]],
    names: Sequence[str],
    draws: int,
    seed: int,
) -> tuple[Floats, ...]:
    """Of each name the sums by kind in each draw of days, shape (draws, kinds); the first draw is every day once.

    Parameters
    ----------
    by : columns that make a kind.
    kinds : those that count, in order.
    """
    place = {kind: number for number, kind in enumerate(kinds)}
    columns = np.array([place[kind] for kind in map(tuple, cells[list(by)].to_numpy())], dtype=np.intp)
    codes, days = pd.factorize(cells["day"])
    weights = drawn_days(max(len(days), 1), draws, seed)
    found = []
    for name in names:
        table = np.zeros((max(len(days), 1), len(kinds)))
        np.add.at(table, (codes, columns), cells[name].to_numpy(np.float64))
        found.append(np.asarray(weights @ table))
    return tuple(found)


def standardised(mix: Floats, calls: Floats, amount: Floats) -> Floats:
    """Amount a call if kinds were mixed as `mix` has them, shape (draws,); a kind that is missing counts as all do."""
    overall = amount.sum(axis=1) / np.maximum(calls.sum(axis=1), 1e-9)
    unit = np.divide(amount, calls, out=np.repeat(overall[:, None], calls.shape[1], axis=1), where=calls > 1e-9)
    share = np.maximum(mix, 0.0)
    return np.asarray((unit * share).sum(axis=1) / np.maximum(share.sum(axis=1), 1e-9))
