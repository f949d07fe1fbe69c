"""When a series crosses a threshold, and how probable that is.

Paths are drawn whose every step is distributed as the intervals say, and whose steps hang together as the errors at the
rolling origins did (`models.forecasting.dependence`). The tails of the intervals are wide mostly because nobody knows
how large the errors of this series will be, which is one unknown for the whole path and not one for each step; so the
steps are tied by Student's copula, whose factor they share. Its five degrees of freedom are those of the fixed sample
of scaled errors that intervals of short series come from. The share of paths that have reached the threshold by a step
is the probability that it is crossed by then: the distribution of the first passage.

References: Pinson et al. 2009 (a copula over calibrated marginals); Demarta and McNeil 2005 (Student's copula).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from models.forecasting.dependence import Dependence
from models.forecasting.series import Floats
from store.errors import InvalidValue

Direction = Literal["above", "below"]
Quantiles = Callable[[Floats], Floats]  # shares in (0, 1) → quantiles of the scaled absolute errors, of the same shape
SURE = (50, 80, 95)  # percent at which a date is named
DRAWS = 5_000  # a probability is known to 0.7 points
_FREEDOM = 5.0
_AT_A_TIME = 2_000_000  # numbers drawn at once


@dataclass(frozen=True)
class Crossing:
    """First passage through a threshold.

    Attributes
    ----------
    beyond : probability of lying at or past the threshold at each step, shape (h,).
    crossed : probability of having reached it by each step, never falling, shape (h,).
    """

    beyond: Floats
    crossed: Floats

    def by(self, percent: float) -> int | None:
        """The first step (from 1) by which it is crossed with that probability; None when not within the horizon."""
        there = np.flatnonzero(self.crossed >= percent / 100.0)
        return int(there[0]) + 1 if len(there) else None


def crossing(
    path: Floats,
    scale: Floats,
    quantiles: Quantiles,
    dependence: Dependence,
    threshold: float,
    direction: Direction = "above",
    *,
    nonnegative: bool = False,
    seed: int = 7,
) -> Crossing:
    """Probability that a series reaches a threshold, by step.

    Parameters
    ----------
    path, scale : forecast and error scale, shape (h,).
    quantiles : of the scaled absolute errors.
    direction : "above": at or above the threshold; "below": at or below it.
    nonnegative : whether the series stops at zero.

    Raises
    ------
    InvalidValue : the threshold is not finite.
    """
    check_threshold(threshold)
    h = len(path)
    rng = np.random.default_rng(seed)
    beyond, first = np.zeros(h), np.zeros(h)
    size = max(1, min(DRAWS, _AT_A_TIME // h))
    drawn = 0
    while drawn < DRAWS:
        values = paths(path, scale, quantiles, dependence, rng, min(size, DRAWS - drawn), nonnegative=nonnegative)
        there = values >= threshold if direction == "above" else values <= threshold
        beyond += there.sum(axis=0)
        first += np.bincount(np.argmax(there, axis=1)[there.any(axis=1)], minlength=h)
        drawn += len(values)
    return Crossing(beyond / drawn, np.cumsum(first) / drawn)


def paths(
    path: Floats,
    scale: Floats,
    quantiles: Quantiles,
    dependence: Dependence,
    rng: np.random.Generator,
    count: int,
    *,
    nonnegative: bool = False,
) -> Floats:
    """Paths that the series may take, shape (count, h)."""
    from scipy.special import stdtrit

    common = np.sqrt(_FREEDOM / rng.chisquare(_FREEDOM, size=(count, 1)))
    drawn = common * dependence.draw(rng, count, len(path))
    shares = np.concatenate((np.linspace(0.0, 0.995, 400), 1.0 - np.geomspace(0.005, 1e-8, 60)))
    steps = stdtrit(_FREEDOM, (1.0 + shares) / 2.0)
    # The size of a scaled error that is as improbable as one of Student's: a table serves, the map is smooth.
    size = np.interp(np.abs(drawn), steps, quantiles(shares))
    values = path + np.sign(drawn) * scale * size
    return np.maximum(values, 0.0) if nonnegative else np.asarray(values)


def check_threshold(threshold: float) -> None:
    """Raise InvalidValue unless a threshold is a finite number."""
    if not np.isfinite(threshold):
        raise InvalidValue(
            f"threshold={threshold} is not possible.", remedy="Give a finite number.", field="threshold",
            value=str(threshold),
        )  # fmt: skip


def in_words(crossed: Crossing, stamps: list[Any], last: float, threshold: float, direction: Direction) -> str:
    """One sentence for people.

    Parameters
    ----------
    stamps : of the steps ahead, as they are shown.
    last : the last value seen.
    """
    word = "at or above" if direction == "above" else "at or below"
    already = last >= threshold if direction == "above" else last <= threshold
    if already:
        return f"It is already {word} {threshold:g} (last value {last:.6g})."
    chance = float(crossed.crossed[-1])
    said = [f"{percent} % by {stamps[step - 1]}" for percent, step in dates(crossed).items() if step is not None]
    if not said:
        return f"Not within the horizon: the probability of reaching {threshold:g} by {stamps[-1]} is {chance:.0%}."
    return f"It is {word} {threshold:g} with {', '.join(said)}; {chance:.0%} by {stamps[-1]}."


def row_of(
    name: str, crossed: Crossing, stamps: list[Any], last: float, threshold: float, direction: Direction
) -> dict[str, Any]:
    """A crossing as a JSON-ready row: the probability by the end of the horizon, the dates by which it is crossed with
    50, 80 and 95 % probability (null: not within the horizon), and a sentence.
    """
    by = {percent: None if step is None else stamps[step - 1] for percent, step in dates(crossed).items()}
    return {
        "unique_id": name,
        "threshold": threshold,
        "direction": direction,
        "last_value": last,
        "already": last >= threshold if direction == "above" else last <= threshold,
        "probability": float(crossed.crossed[-1]),
        **{f"by_{percent}": stamp for percent, stamp in by.items()},
        "summary": in_words(crossed, stamps, last, threshold, direction),
    }


def dates(crossed: Crossing) -> Mapping[int, int | None]:
    """Percent of `SURE` → the step by which it is crossed with that probability."""
    return {percent: crossed.by(percent) for percent in SURE}
