"""Columns that measure one quantity in parts: `total_day_charge`, `total_eve_charge`, … → their sum.

What a customer pays in all is often spread over columns that differ in one word of their name. Trees need many splits
to see a sum, so it is given to them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

MIN_PARTS = 3
MAX_SUMS = 50

_PERIOD = re.compile(
    r"(m|q|w|d|y|month|week|quarter|year|day|p|t)?\d+|jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|"
    r"january|february|march|april|june|july|august|september|october|november|december|"
    r"mon|tue|wed|thu|fri|sat|sun",
    re.IGNORECASE,
)


def like_named(names: Sequence[str], values: NDArray[np.float64]) -> dict[str, tuple[int, ...]]:
    """Groups of at least three columns whose names differ in one word, none of them ever negative.

    The word that differs must not be the last one, where names keep their unit (`charge`, `minutes`), unless it names a
    period (`sep`, `m3`, `2`).

    Parameters
    ----------
    values : float64, shape (rows, len(names)).

    Returns
    -------
    `{"total_*_charge": positions of the parts}`, at most 50 groups, in the order of their first part.
    """
    countable = [i for i in range(len(names)) if not np.any(values[:, i] < 0) and len(np.unique(values[:500, i])) > 2]
    groups: dict[tuple[str, ...], list[int]] = {}
    for i in countable:
        words = [word for word in re.split(r"[_\W]+|(?<=[a-z])(?=[A-Z])|(?<=[A-Za-z])(?=\d)", names[i]) if word]
        for at, word in enumerate(words):
            if len(words) > 1 and (at < len(words) - 1 or _PERIOD.fullmatch(word)):
                groups.setdefault((*words[:at], "*", *words[at + 1 :]), []).append(i)
    found = {"_".join(words): tuple(parts) for words, parts in groups.items() if len(parts) >= MIN_PARTS}
    return dict(list(found.items())[:MAX_SUMS])
