"""Which side of a split a row is on when nothing but the row itself may decide it.

A number between 0 and 1 is drawn from a hash of the row, and rows below the share are the holdout. A row so keeps its
side when the file grows, in whatever order it comes: what an earlier model was trained on never turns up in the holdout
on which that model and its challenger are compared.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from features.digest import row_hashes

# Copies of a row share a side, so that none is judged by its twin; but where few columns make many rows look the same,
# they are dealt out in parcels, or the holdout would lack whole kinds of customers.
PARCEL = 10

Words = NDArray[np.uint64]


def draw_by(frame: pd.DataFrame, columns: Sequence[str], seed: int) -> NDArray[np.float64]:
    """A number in [0, 1) for every row, the same for equal values of `columns`, whatever else is in the frame."""
    return _uniform([*_words_of(frame, columns), np.full(len(frame), seed, dtype=np.uint64)])


def draw_by_content(frame: pd.DataFrame, target: str, y: NDArray[np.int64], seed: int) -> NDArray[np.float64]:
    """As `draw_by`, from all columns but the target, so that an outcome corrected later moves no row.

    Of rows that are the same in every column, target included, each ten share a number.
    """
    words = _words_of(frame, [name for name in frame.columns if name != target])
    content = _uniform(words) if words else np.zeros(len(frame))
    parcel = pd.DataFrame({"content": content, "y": y}).groupby(["content", "y"]).cumcount().to_numpy() // PARCEL
    return _uniform([*words, parcel.astype(np.uint64), np.full(len(frame), seed, dtype=np.uint64)])


def holdout_of(
    drawn: NDArray[np.float64], y: NDArray[np.int64], share: float, fewest: int
) -> tuple[NDArray[np.bool_], int]:
    """Rows whose number lies below the share; and how many were moved to have both outcomes on both sides.

    Only a small file needs that: rows nearest to the share move, those with one number together, and move back once
    the file has others. Then a model of the small file may be judged on a few rows that it was trained on.

    Parameters
    ----------
    fewest : rows of each outcome that the training rows should have, as far as there are so many.
    """
    drawn_below = drawn < share
    holdout = drawn_below.copy()
    for outcome in (0, 1):
        own = y == outcome
        if own.any() and not (own & holdout).any():
            holdout |= drawn == drawn[own].min()
    for outcome in (0, 1):
        own = y == outcome
        for value in np.unique(drawn[own & holdout])[::-1]:
            if (own & ~holdout).sum() >= fewest:
                break
            fewer = holdout & (drawn != value)
            if all((fewer & (y == one)).any() for one in (0, 1)):
                holdout = fewer
    return holdout, int((holdout != drawn_below).sum())


def _uniform(words: Sequence[Words]) -> NDArray[np.float64]:
    lane, _ = row_hashes(pa.table({str(i): pa.array(one) for i, one in enumerate(words)}))
    return (lane >> np.uint64(11)).astype(np.float64) / 2.0**53


def _words_of(frame: pd.DataFrame, columns: Sequence[str]) -> list[Words]:
    """One word per cell, column by column in the order of their names."""
    return [_words(frame[name]) for name in sorted(columns)]


def _words(series: pd.Series) -> Words:
    """A number has one word, however it is kept (1, 1.0, "1"): a column's type may change as a file grows."""
    codes, levels = pd.factorize(series)
    if pd.api.types.is_datetime64_any_dtype(levels.dtype):
        numbers = pd.Series(pd.DatetimeIndex(levels).as_unit("us").asi8, dtype=np.float64)
        texts = None
    elif pd.api.types.is_numeric_dtype(levels.dtype) and not pd.api.types.is_bool_dtype(levels.dtype):
        numbers = pd.Series(levels).astype(np.float64)
        texts = None
    else:
        texts = pd.Series([str(level).strip().casefold() for level in levels], dtype=object)
        numbers = pd.to_numeric(texts, errors="coerce").astype(np.float64)
    words = (numbers.to_numpy(np.float64) + 0.0).view(np.uint64).copy()
    if texts is not None:
        for i in np.flatnonzero(numbers.isna()):
            words[i] = int.from_bytes(hashlib.blake2b(texts[i].encode(), digest_size=8).digest(), "little")
    missing = np.uint64(0x7FF8_0000_0000_0001)
    return np.concatenate([words, np.asarray([missing])])[codes]
