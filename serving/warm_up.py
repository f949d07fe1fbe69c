"""A freshly loaded model answers its own example before anybody else may ask it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from models.lifecycle.family import Answers
from store.errors import IntegrityFailed

REPEATS = 20
# Of a probability: far below what anybody could notice, far above what the order of a sum changes.
TOLERANCE = 1e-9
# Of quantiles, in units of the series.
CROSSING = 1e-6


@dataclass(frozen=True)
class Scorer:
    """What is asked of a churn model with every request, looked up once.

    Attributes
    ----------
    predict_records : records → probabilities.
    columns : what is read of a record, in order.
    names : the same as a set.
    band : probability → risk band.
    seconds_per_row : median time of predicting one record alone.
    """

    predict_records: Callable[[Sequence[Mapping[str, Any]]], Any]
    columns: tuple[str, ...]
    names: frozenset[str]
    threshold: float
    band: Callable[[float], str]
    seconds_per_row: float


def warm_up(family: str, model: Any) -> Scorer | None:
    """Let a model answer its example; what is loaded lazily is loaded then.

    Returns
    -------
    The scorer of a churn model; None for every other family.

    Raises
    ------
    IntegrityFailed : the answer is not one, the fast way and the slow way to it disagree, or it is another than the
        one recorded when the version was made.
    """
    if family == "churn":
        return _churn(model)
    if family == "forecasting":
        _forecasting(model)
    else:
        _any(family, model)
    return None


def _churn(model: Any) -> Scorer:
    given, answered = model.signature()
    expected = answered["probability"].to_numpy(dtype=float)
    records = [
        {str(name): None if value is None or value != value else value for name, value in record.items()}
        for record in given.to_dict("records")
    ]
    found = np.asarray(model.predict_records(records), dtype=float)
    if not records or not np.all((found >= 0) & (found <= 1)):
        raise IntegrityFailed(
            f"The model answers its own example with {found[:3].tolist()}, which are no probabilities."
        )
    if not np.allclose(found, expected, atol=TOLERANCE, rtol=0):
        raise IntegrityFailed(
            f"The model answers its own example with {found[:3].tolist()}, it was expected to say "
            f"{expected[:3].tolist()}."
        )
    recorded = np.asarray(model.answers, dtype=float)
    if len(recorded) and not (
        len(recorded) == len(expected) and np.allclose(expected, recorded, atol=TOLERANCE, rtol=0)
    ):
        raise IntegrityFailed(
            f"The model answers its own example with {expected[:3].tolist()}; when it was trained it said "
            f"{recorded[:3].tolist()}.",
            remedy="Serve it with the releases of the libraries that it was trained with, or train again.",
        )
    took = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        model.predict_records(records[:1])
        took.append(time.perf_counter() - begin)
    columns = tuple(model.columns)
    return Scorer(
        predict_records=model.predict_records,
        columns=columns,
        names=frozenset(columns),
        threshold=float(model.threshold),
        band=model.bands,
        seconds_per_row=float(np.median(took)),
    )


def _any(family: str, model: Any) -> None:
    """A model of any other family answers the input of its example as it did when it was made."""
    if not isinstance(model, Answers):
        raise IntegrityFailed(f"A model of the family {family} cannot be asked its example: it has no `answer`.")
    given, expected = model.signature()
    found = model.answer(given)
    try:
        pd.testing.assert_frame_equal(found, expected, check_dtype=False, rtol=TOLERANCE, atol=TOLERANCE)
    except AssertionError as error:
        difference = " ".join(str(error).split())[:300]
        raise IntegrityFailed(
            f"The model answers its own example otherwise than when it was made: {difference}.",
            remedy="Serve it with the releases of the libraries that it was trained with, or train again.",
        ) from None


def _forecasting(model: Any) -> None:
    given, expected = model.signature()
    identities = list(dict.fromkeys(given["unique_id"].tolist()))[:3] if "unique_id" in given else None
    found = model.forecast(ids=identities, levels=(80,))
    numbers = found[["lo-80", "forecast", "hi-80"]].to_numpy(dtype=float)
    if found.empty or expected.empty or not np.isfinite(numbers).all():
        raise IntegrityFailed("The model answers its own example with a forecast that is empty or not finite.")
    if (np.diff(numbers, axis=1) < -CROSSING).any():
        raise IntegrityFailed("The model answers its own example with quantiles that cross.")
