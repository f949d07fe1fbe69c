"""The columns of the regression: numbers read off the answer, whether they apply, and what kind of task it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.quality.features import NAMES, NUMBERS
from store.errors import MissingColumn, WrongType

Floats = NDArray[np.float64]

DOMAINS = (
    "code", "math", "reasoning", "analysis", "writing", "translation", "summary", "extraction", "conversation",
    "knowledge",
)  # fmt: skip
COMPLEXITIES = ("simple", "moderate", "complex", "expert")
# What does not apply to a prompt is as if it were met; that it does not apply is told apart.
_SOMETIMES = tuple(NAMES.index(name) for name in ("form", "parts", "content_asked"))

COLUMNS: tuple[str, ...] = (
    *NAMES,
    *(f"no {NAMES[place]}" for place in _SOMETIMES),
    *(f"domain {name}" for name in DOMAINS),
    *(f"complexity {name}" for name in COMPLEXITIES),
)
# The direction in which each may count: 1 up, −1 down, 0 as the data say.
DIRECTIONS: tuple[int, ...] = (*NUMBERS.values(), *(0,) * (len(COLUMNS) - len(NAMES)))
WIDTH = len(COLUMNS)
_DOMAIN = {name: place for place, name in enumerate(DOMAINS, len(NAMES) + len(_SOMETIMES))}
_COMPLEXITY = {name: place for place, name in enumerate(COMPLEXITIES, len(NAMES) + len(_SOMETIMES) + len(DOMAINS))}


def design(frame: pd.DataFrame, roles: Mapping[str, str]) -> Floats:
    """Rows of the regression, (rows, `WIDTH`).

    Raises
    ------
    MissingColumn, WrongType : the frame holds no judged answers.
    """
    lacking = [name for name in (*NAMES, roles["domain"], roles["complexity"]) if name not in frame]
    if lacking:
        raise MissingColumn(
            f"The data set has no column {', '.join(lacking[:5])}.",
            remedy="Train on judged answers of the ledger: `train-quality`.",
            field=lacking[0],
        )
    try:
        numbers = frame[list(NAMES)].to_numpy(dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise WrongType(f"A number read off an answer is none: {error}", remedy="Build the data set again.") from None
    made = np.zeros((len(frame), WIDTH))
    _fill(made, numbers)
    for column, places in ((roles["domain"], _DOMAIN), (roles["complexity"], _COMPLEXITY)):
        at = frame[column].map(places).to_numpy(dtype=np.float64, na_value=np.nan)
        known = np.flatnonzero(~np.isnan(at))
        made[known, at[known].astype(np.intp)] = 1.0
    return made


def design_row(numbers: Sequence[float | None], domain: str | None, complexity: str | None) -> Floats:
    """One row of the regression, (1, `WIDTH`): the same as `design`, without a frame."""
    made = np.zeros((1, WIDTH))
    _fill(made, np.array([numbers], dtype=np.float64))
    for name, places in ((domain, _DOMAIN), (complexity, _COMPLEXITY)):
        if name in places:
            made[0, places[name]] = 1.0
    return made


def _fill(made: Floats, numbers: Floats) -> None:
    absent = np.isnan(numbers)
    made[:, : len(NAMES)] = np.where(absent, 1.0, numbers)
    made[:, len(NAMES) : len(NAMES) + len(_SOMETIMES)] = absent[:, _SOMETIMES]
